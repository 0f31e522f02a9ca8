"""Which input gets gradients from which output: the table in docs/gradients.md, made here.

Every input is looked at in a scene that has it. A gradient that is there is compared with renders
on either side of a step; one that is not there has to be absent or zero.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from scenes import ball
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.gaussians import Gaussians
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.rendering.visibility import visibility
from invgraph.scene import (
    BackgroundImage,
    DirectionalLight,
    EnvironmentMap,
    Material,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
    unlit,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gradients.md"
OUTPUTS = ("color", "alpha", "depth", "normal", "albedo")
SIZE = 40
MARKED = re.compile(r"(?<=<!-- table of gradients -->\n).*?(?=<!-- end -->)", re.DOTALL)

Make = Callable[[Tensor], tuple[Scene, Camera]]


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def eye(distortion: Tensor | None = None) -> Camera:
    pose = transforms.look_at(
        torch.tensor([0.4, 0.3, -3.0]), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
    )
    half = torch.full((2,), SIZE / 2 + 0.2)
    return Camera(Lens(torch.full((2,), 1.1 * SIZE), half, SIZE, SIZE, distortion), pose)


def sky() -> SphericalHarmonicLight:
    coefficients = 0.4 * random(9, 3)
    coefficients[0] += 2.0
    return SphericalHarmonicLight(coefficients)


THING = ball(Material(0.2 + 0.6 * random(3), torch.tensor([0.4]), torch.tensor([0.3])), 16)
SCENE = Scene((THING,), (sky(),), torch.tensor([0.1, 0.3, 0.2]))


def shown(change: Callable[[Object], Object]) -> tuple[Scene, Camera]:
    return replace(SCENE, objects=(change(THING),)), eye()


def painted(name: str, kind: str) -> tuple[Tensor, Make]:
    """A parameter of the material, of a kind."""
    mesh = THING.mesh
    shape = {
        "constant": (),
        "vertex": (len(mesh.vertices),),
        "face": (len(mesh.faces),),
        "texture": (8, 16),
    }[kind]
    start = 0.3 + 0.4 * random(*shape, 3 if name == "albedo" else 1)

    def make(value: Tensor) -> tuple[Scene, Camera]:
        change = {name: value, f"{name}_kind": kind}
        return shown(lambda thing: replace(thing, material=replace(thing.material, **change)))

    return start, make


def lit(light: object) -> tuple[Scene, Camera]:
    return replace(SCENE, lights=(sky(), light)), eye()


def moved(xi: Tensor) -> tuple[Scene, Camera]:
    pose = transforms.perturb(torch.eye(4), xi)
    return shown(lambda thing: replace(thing, world_from_object=pose))


def seen(change: Callable[[Camera], Camera]) -> tuple[Scene, Camera]:
    return SCENE, change(eye(torch.tensor([-0.1, 0.02, 1e-3, -2e-3, 0.0])))


def turned(xi: Tensor) -> tuple[Scene, Camera]:
    return seen(lambda c: replace(c, camera_from_world=transforms.perturb(c.camera_from_world, xi)))


COUNT = 4
CLOUD = {
    "means": 0.8 * random(COUNT, 3) - 0.4,
    "quat_wxyz": random(COUNT, 4) - 0.3,
    "scales": 0.3 + 0.3 * random(COUNT, 3),
    "opacity": 0.3 + 0.5 * random(COUNT),
}


def cloudy(name: str) -> Make:
    def make(value: Tensor) -> tuple[Scene, Camera]:
        colors = value if name == "colors" else random(COUNT, 3)
        cloud = Gaussians(**(CLOUD | ({} if name == "colors" else {name: value})))
        thing = Object(cloud, torch.eye(4), unlit(colors, "vertex"))
        return Scene((thing,), (), torch.tensor([0.1, 0.3, 0.2])), eye()

    return make


def occluded(values: Tensor) -> tuple[Scene, Camera]:
    """Vertices of a ball that shadows itself where it is dented; its table is a constant."""
    mesh = replace(THING.mesh, vertices=values)
    return shown(lambda thing: replace(thing, geometry=mesh, visibility=TABLE))


TABLE = visibility(THING.mesh, 32, 64) * (0.5 + 0.5 * random(len(THING.mesh.vertices), 32))
SHADED = replace(THING, visibility=TABLE)


def shaded(coefficients: Tensor) -> tuple[Scene, Camera]:
    scene = replace(SCENE, objects=(SHADED,), lights=(SphericalHarmonicLight(coefficients),))
    return scene, eye()


def uv(value: Tensor) -> tuple[Scene, Camera]:
    smooth = torch.linspace(0.2, 0.8, 16)[:, None, None] * torch.ones(16, 16, 3)
    material = Material(smooth, torch.tensor([0.4]), torch.tensor([0.3]), "texture")
    mesh = replace(THING.mesh, uv=value)
    return shown(lambda thing: replace(thing, geometry=mesh, material=material))


def behind(make: Callable[[Tensor], object]) -> Make:
    return lambda value: (replace(SCENE, background=make(value)), eye())


@dataclass(frozen=True)
class Row:
    """One input: where it starts, what it makes, how far steps go."""

    start: Tensor
    make: Make
    step: float = 1e-3


DISTORTION = torch.tensor([-0.1, 0.02, 1e-3, -2e-3, 0.0])
ROWS: dict[str, Row] = {
    "mesh vertices": Row(
        THING.mesh.vertices,
        lambda x: shown(lambda t: replace(t, geometry=replace(t.mesh, vertices=x))),
    ),
    "mesh vertices, with visibility": Row(THING.mesh.vertices, occluded),
    "mesh uv": Row(THING.mesh.uv, uv),  # type: ignore[arg-type]
    "object pose": Row(torch.zeros(6), moved),
    "tint": Row(0.5 + random(3), lambda x: shown(lambda t: replace(t, tint=x))),
    **{
        f"{name}, {kind}": Row(*painted(name, kind))
        for name in ("albedo", "roughness", "metallic")
        for kind in ("constant", "vertex", "face", "texture")
    },
    "unlit colour": Row(random(3), lambda x: shown(lambda t: replace(t, material=unlit(x)))),
    "Gaussian means": Row(CLOUD["means"], cloudy("means")),
    "Gaussian rotations": Row(CLOUD["quat_wxyz"], cloudy("quat_wxyz")),
    "Gaussian scales": Row(CLOUD["scales"], cloudy("scales")),
    "Gaussian opacity": Row(CLOUD["opacity"], cloudy("opacity")),
    "Gaussian colours": Row(random(COUNT, 3), cloudy("colors")),
    "spherical harmonics": Row(
        sky().coefficients, lambda x: (replace(SCENE, lights=(SphericalHarmonicLight(x),)), eye())
    ),
    "spherical harmonics, with visibility": Row(sky().coefficients, shaded),
    "direction of a sun": Row(
        torch.tensor([0.3, -0.8, 0.5]), lambda x: lit(DirectionalLight(x, torch.ones(3)))
    ),
    "irradiance of a sun": Row(
        random(3), lambda x: lit(DirectionalLight(torch.tensor([0.3, -0.8, 0.5]), x))
    ),
    "place of a lamp": Row(
        torch.tensor([1.0, 2.0, -3.0]), lambda x: lit(PointLight(x, 5 * torch.ones(3)))
    ),
    "intensity of a lamp": Row(
        random(3), lambda x: lit(PointLight(torch.tensor([1.0, 2.0, -3.0]), x))
    ),
    "panorama": Row(random(8, 16, 3), lambda x: lit(EnvironmentMap(x))),
    "background colour": Row(random(3), behind(lambda x: x)),
    "background picture": Row(random(SIZE, SIZE, 3), behind(BackgroundImage)),
    "background panorama": Row(random(8, 16, 3), behind(EnvironmentMap)),
    "camera pose": Row(torch.zeros(6), turned),
    "focal length": Row(
        torch.full((2,), 1.1 * SIZE), lambda x: seen(lambda c: c.with_lens(focal=x)), 0.02
    ),
    "principal point": Row(
        torch.full((2,), SIZE / 2 + 0.2), lambda x: seen(lambda c: c.with_lens(principal=x)), 0.002
    ),
    "distortion": Row(DISTORTION, lambda x: seen(lambda c: c.with_lens(distortion=x))),
}


def window(name: str, row: Row) -> Tensor:
    """Weights of the loss: all over for silhouettes; well inside where these would jump."""
    weights = random(SIZE, SIZE, 1)
    if name.startswith(("background", "Gaussian")):
        return weights
    with torch.no_grad():
        alpha = render(*row.make(row.start), outputs=("alpha",)).alpha
    assert alpha is not None
    hole = torch.nn.functional.max_pool2d((alpha < 1).float()[None, None], 7, 1, 3)[0, 0]
    return weights * (1 - hole)[..., None]


def loss(row: Row, value: Tensor, output: str, weights: Tensor) -> Tensor:
    scene, camera = row.make(value)
    image = getattr(render(scene, camera, outputs=(output,)), output)
    image = image if image.ndim == 3 else image[..., None]
    return (weights * image).double().sum()


def slope(row: Row, output: str, weights: Tensor) -> Tensor | None:
    """The gradient at the start; None where there is none or it is zero."""
    value = row.start.clone().requires_grad_()
    total = loss(row, value, output, weights)
    if not total.requires_grad:
        return None
    [gradient] = torch.autograd.grad(total, value, allow_unused=True)
    return gradient if gradient is not None and bool((gradient != 0).any()) else None


@pytest.fixture(autouse=True)
def _wide_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel at the edge of a Gaussian's reach jumps by a level, which small steps would feel."""
    monkeypatch.setattr("invgraph.raster.splat._REACH", 7.0)


def table() -> str:
    lines = ["| input | " + " | ".join(OUTPUTS) + " |", "|---" * (len(OUTPUTS) + 1) + "|"]
    everywhere = random(SIZE, SIZE, 1)
    for name, row in ROWS.items():
        cells = ["yes" if slope(row, o, everywhere) is not None else "" for o in OUTPUTS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_docs_is_what_is_found():
    [written] = MARKED.findall(PAGE.read_text())
    found = table()
    assert written == found, f"put this between the marks in {PAGE}:\n{found}"


@pytest.mark.parametrize("name", ROWS)
def test_gradients_match_finite_differences(name: str):
    row = ROWS[name]
    weights = window(name, row)
    checked = 0
    for output in OUTPUTS:
        gradient = slope(row, output, weights)
        if gradient is None:
            continue
        # Along the gradient nothing cancels; a part at random tells single wrong components.
        noise = torch.randn(row.start.shape, generator=torch.Generator().manual_seed(1))
        along = gradient / gradient.abs().max() + 0.3 * noise * (gradient != 0)
        with torch.no_grad():
            ends = [
                loss(row, row.start + sign * row.step * along, output, weights) for sign in (1, -1)
            ]
        expected = float((ends[0] - ends[1]) / (2 * row.step))
        assert float((gradient * along).double().sum()) == pytest.approx(expected, rel=0.03), output
        checked += 1
    assert checked or name.startswith("background")
