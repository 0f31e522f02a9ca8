"""Are the gradients of whole renders right, for everything that can be differentiated?

For every input: take some directions in which to change it, render on either side of a small step
along each, and compare the difference of a loss with what autograd says. The loss is the squared
difference to a picture of a changed scene; for silhouettes, the covered area, weighted.

    python experiments/check_gradients.py [--json FILE]

Takes a minute on two cores. Expect relative errors below 0.002 where no silhouette moves, below
0.01 for the silhouettes of balls, and below 0.1 where a whole picture moves; the last column says
why errors above 0.01 are not small. A gradient of zero scores 1, one of the wrong sign up to 2, one
that is not finite infinity.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from invgraph import (
    Camera,
    DirectionalLight,
    EnvironmentMap,
    Lens,
    Material,
    Mesh,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
    render,
)
from invgraph.geometry.mesh import vertex_normals
from invgraph.geometry.primitives import icosphere, torus
from invgraph.geometry.transforms import exp_se3, look_at
from invgraph.raster import soft_silhouette

SIZE = 160  # px
FOCAL = 1.3 * SIZE
_COVERAGE = "at silhouettes, colours one pixel inside stand for those of the edge itself"
_SHADE = "the border between lit and unlit sides moves over pixel centres"


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Fields:
        name: of the input, or of the scene for silhouettes.
        loss: a number from the input.
        value: where to differentiate.
        directions: changes of ``value``, one per row, each about as large as the step should be.
        why: what an error that is not small comes from.
    """

    name: str
    loss: Callable[[Tensor], Tensor]
    value: Tensor
    directions: Tensor
    why: str = ""


@dataclass(frozen=True)
class Result:
    error: float
    predicted: Tensor
    measured: Tensor


def compare(check: Check) -> Result:
    """Relative error of autograd's slopes along the directions against central differences."""
    value = check.value.clone().requires_grad_()
    loss = check.loss(value)
    gradient = torch.zeros_like(value)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, value, allow_unused=True)[0]
        gradient = gradient if found is None else found
    predicted = (check.directions.double() * gradient.double()).flatten(1).sum(1)
    with torch.no_grad():
        measured = torch.stack(
            [
                (check.loss(check.value + step) - check.loss(check.value - step)).double() / 2
                for step in check.directions
            ]
        )
    if not (predicted.isfinite().all() and measured.isfinite().all()):
        return Result(float("inf"), predicted, measured)
    scale = max(predicted.norm().item(), measured.norm().item())
    error = (predicted - measured).norm().item() / scale if scale > 0 else 1.0
    return Result(error, predicted, measured)


def noise(shape: tuple[int, ...], seed: int, count: int = 4) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def smooth_moves(mesh: Mesh, size: float) -> Tensor:
    """Displacements of vertices that vary slowly over the surface: swelling, moving, bending."""
    points, normals = mesh.vertices, vertex_normals(mesh)
    x, y, _ = points.unbind(-1)
    bend = torch.stack([x.sin(), y.cos(), (x + y).sin()], -1)
    moves = [normals, torch.tensor([1.0, 0.3, 0]).expand_as(points), bend, normals * y[:, None]]
    return size * torch.stack(moves)


def pattern() -> Tensor:
    """Weights of the pixels: waves, so that opposite sides of a silhouette count differently."""
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return 1 + (torch.sin(u / 14) * torch.cos(v / 11)).double()


def picture(scene: Scene, camera: Camera) -> Tensor:
    color = render(scene, camera, outputs=("color",)).color
    assert color is not None
    return color.double()


def match(
    name: str,
    image: Callable[[Tensor], Tensor],
    value: Tensor,
    directions: Tensor,
    why: str = "",
) -> Check:
    """A check of the loss that fits use: squared difference to a picture from ten steps away.

    A sum over the image would not do: what its sides contribute when it moves cancels.
    """
    with torch.no_grad():
        target = image(value + 10 * directions.sum(0))
    return Check(name, lambda x: ((image(x) - target) ** 2).sum(), value, directions, why)


def stage() -> tuple[Scene, Camera]:
    """A torus with a smooth texture under every kind of light but a panorama, seen obliquely."""
    mesh = torus(1.0, 0.4, 24, 48)
    v, u = torch.meshgrid(
        torch.linspace(0, 6.2832, 33), torch.linspace(0, 6.2832, 65), indexing="ij"
    )
    albedo = 0.5 + 0.3 * torch.stack([u.sin(), (u + v).cos(), v.sin()], -1)[:32, :64]
    material = Material(albedo, torch.tensor([0.5]), torch.tensor([0.2]), "texture")
    harmonics = 0.3 * noise((9, 3), 1, 1)[0]
    harmonics[0] = 2.0
    lights = (
        SphericalHarmonicLight(harmonics),
        DirectionalLight(torch.tensor([0.3, -1.0, -0.6]), torch.tensor([1.0, 0.9, 0.8])),
        PointLight(torch.tensor([1.5, 2.0, 2.5]), torch.tensor([4.0, 5, 6])),
    )
    scene = Scene((Object(mesh, torch.eye(4), material),), lights, torch.zeros(3))
    pose = look_at(torch.tensor([0.4, 2.2, 3.0]), torch.zeros(3), torch.tensor([0.0, 1, 0]))
    centre = torch.tensor([SIZE / 2 + 0.3, SIZE / 2 - 0.4])
    return scene, Camera(Lens(torch.full((2,), FOCAL), centre, SIZE, SIZE, torch.zeros(5)), pose)


def with_material(scene: Scene, **changes: Tensor) -> Scene:
    item = scene.objects[0]
    return replace(scene, objects=(replace(item, material=replace(item.material, **changes)),))


def input_checks() -> list[Check]:
    scene, camera = stage()
    item = scene.objects[0]
    mesh, material = item.mesh, item.material
    harmonic, sun, lamp = scene.lights
    assert isinstance(harmonic, SphericalHarmonicLight)
    assert isinstance(sun, DirectionalLight) and isinstance(lamp, PointLight)
    pixel = 3.5 / FOCAL  # of the world, at the object's distance
    twist = 0.1 * torch.diag(torch.tensor([pixel] * 3 + [pixel / 2] * 3))
    texels = tuple(material.albedo.shape)
    count = len(mesh.vertices)
    per_vertex = 0.3 + 0.4 * torch.rand(count, 3, generator=torch.Generator().manual_seed(0))
    sky = 0.5 + torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(1))

    def moved(vertices: Tensor) -> Scene:
        return replace(scene, objects=(replace(item, geometry=replace(mesh, vertices=vertices)),))

    def placed(xi: Tensor) -> Scene:
        return replace(scene, objects=(replace(item, world_from_object=exp_se3(xi)),))

    def lit(
        light: SphericalHarmonicLight | DirectionalLight | PointLight | EnvironmentMap,
    ) -> Scene:
        return replace(scene, lights=(light,))

    def seen_from(xi: Tensor) -> Camera:
        return replace(camera, camera_from_world=exp_se3(xi) @ camera.camera_from_world)

    checks = [
        match("vertices", lambda x: picture(moved(x), camera), mesh.vertices,
              smooth_moves(mesh, 0.1 * pixel), _COVERAGE),
        match("albedo_texture", lambda x: picture(with_material(scene, albedo=x), camera),
              material.albedo, 0.01 * noise(texels, 2)),
        match("albedo_vertex", lambda x: picture(with_material(scene, albedo=x), camera),
              per_vertex, 0.01 * noise((count, 3), 3)),
        match("roughness", lambda x: picture(with_material(scene, roughness=x), camera),
              torch.full((*texels[:2], 1), 0.5), 0.01 * noise((*texels[:2], 1), 4).abs()),
        match("metallic", lambda x: picture(with_material(scene, metallic=x), camera),
              torch.full((*texels[:2], 1), 0.3), 0.01 * noise((*texels[:2], 1), 5).abs()),
        match("harmonic_coefficients",
              lambda x: picture(lit(SphericalHarmonicLight(x)), camera),
              harmonic.coefficients, 0.01 * noise((9, 3), 6)),
        match("sun_direction", lambda x: picture(lit(replace(sun, direction=x)), camera),
              sun.direction, 0.003 * noise((3,), 7), _SHADE),
        match("sun_irradiance", lambda x: picture(lit(replace(sun, irradiance=x)), camera),
              sun.irradiance, 0.01 * noise((3,), 8)),
        match("lamp_position", lambda x: picture(lit(replace(lamp, position=x)), camera),
              lamp.position, 0.005 * noise((3,), 9), _SHADE),
        match("lamp_intensity", lambda x: picture(lit(replace(lamp, intensity=x)), camera),
              lamp.intensity, 0.01 * noise((3,), 10)),
        match("panorama_radiance", lambda x: picture(lit(EnvironmentMap(x)), camera),
              sky, 0.01 * noise((16, 32, 3), 11)),
        match("background", lambda x: picture(replace(scene, background=x), camera),
              torch.tensor([0.1, 0.2, 0.3]), 0.01 * noise((3,), 12)),
        match("object_pose", lambda x: picture(placed(x), camera), torch.zeros(6), twist,
              _COVERAGE),
        match("camera_pose", lambda x: picture(scene, seen_from(x)), torch.zeros(6), twist,
              _COVERAGE),
        match("focal", lambda x: picture(scene, camera.with_lens(focal=x)), camera.focal,
              torch.diag(torch.tensor([0.4, 0.4])), _COVERAGE),
        match("principal", lambda x: picture(scene, camera.with_lens(principal=x)),
              camera.principal, torch.diag(torch.tensor([0.1, 0.1])),
              _COVERAGE),
        match("distortion", lambda x: picture(scene, camera.with_lens(distortion=x)),
              torch.tensor([0.05, -0.02, 0.003, -0.002, 0.01]),
              0.1 * torch.diag(torch.tensor([0.03, 0.1, 0.01, 0.01, 0.5])),
              _COVERAGE),
    ]  # fmt: skip
    return checks


def silhouette_checks() -> list[Check]:
    """The covered area of a ball against its size and place, on meshes coarse and dense."""
    pose = look_at(torch.tensor([0.0, 0, 4]), torch.zeros(3), torch.tensor([0.0, 1, 0]))
    centre = torch.tensor([SIZE / 2 + 0.3, SIZE / 2 - 0.4])
    camera = Camera(Lens(torch.full((2,), FOCAL), centre, SIZE, SIZE), pose)
    plain = Material(torch.ones(3), torch.ones(1), torch.zeros(1))
    # Size and place of the ball; steps of a quarter of a pixel. Area alone hardly feels the place.
    start = torch.tensor([1.0, 0, 0, 0])
    steps = torch.diag(torch.full((4,), 1 / FOCAL))
    checks = []
    for name, level in (("coarse_320", 2), ("medium_5k", 4), ("dense_80k", 6)):
        mesh = icosphere(level)

        def vertices(change: Tensor, mesh: Mesh = mesh) -> Tensor:
            return mesh.vertices * change[0] + change[1:]

        def hard(change: Tensor, mesh: Mesh = mesh, vertices=vertices) -> Tensor:
            item = Object(replace(mesh, vertices=vertices(change)), torch.eye(4), plain)
            alpha = render(Scene((item,)), camera, outputs=("alpha",)).alpha
            assert alpha is not None
            return (alpha.double() * pattern()).sum()

        def soft(change: Tensor, mesh: Mesh = mesh, vertices=vertices) -> Tensor:
            screen = camera.homogeneous_pixels(vertices(change))
            alpha = soft_silhouette(screen, mesh.faces, SIZE, SIZE, 1.5)
            return (alpha.double() * pattern()).sum()

        checks.append(Check(name, hard, start, steps, _COVERAGE))
        checks.append(Check(f"{name}_soft", soft, start, steps))
    return checks


def report(title: str, checks: list[Check]) -> list[Result]:
    print(f"\n{title:24} error     autograd, first direction   difference   remark")
    results = []
    for check in checks:
        result = compare(check)
        results.append(result)
        remark = check.why if result.error > 0.01 else ""
        first = f"{result.predicted[0]:20.5g} {result.measured[0]:18.5g}"
        print(f"{check.name:24} {result.error:7.4f} {first}   {remark}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Finite differences of whole renders.")
    parser.add_argument("--json", type=Path, help="write the measures to this file")
    options = parser.parse_args()
    measures = []
    for title, prefix, checks in (
        ("input", "gradient_rel_error", input_checks()),
        ("silhouette", "silhouette_gradient_rel_error", silhouette_checks()),
    ):
        for check, result in zip(checks, report(title, checks), strict=True):
            name = f"{prefix}/{check.name}"
            measures.append(
                {"name": name, "value": result.error, "unit": "ratio", "better": "lower"}
            )
    if options.json is not None:
        options.json.write_text(json.dumps(measures, indent=1) + "\n")


if __name__ == "__main__":
    main()
