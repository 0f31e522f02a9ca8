"""Path-traced test frames of a known object whose pose is known exactly.

Each frame shows one object on or above a textured table among bodies of random colours, under a
panorama, rendered by Mitsuba 3 and seen by a sensor with noise: 640x480, 8-bit sRGB. An unknown
thing may hide a part of the object, the picture may be blurred. Everything follows from a seed;
what is hidden, how far away and how blurred does not change the rest of the frame.

Rendering costs 4 to 8 CPU seconds a frame, so frames are kept in a folder. Used by
``refine_pose.py``; ``scene_crops.py`` builds on its parts.
"""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pose_models import known_object, upright
from torch import Tensor

from invgraph import Camera, EnvironmentMap, Lens, Material, Mesh, Object, Scene
from invgraph.data.images import load_image
from invgraph.evaluate.image_metrics import display
from invgraph.files.atomic import write_atomically
from invgraph.files.pictures import encode_png
from invgraph.geometry.primitives import cube, icosphere, plane, torus
from invgraph.geometry.transforms import apply, exp_so3, invert, look_at, pose
from invgraph.rendering.backends import mitsuba
from invgraph.rendering.environment import panorama_directions
from invgraph.rendering.render import render
from invgraph.scene.batching import flatten
from invgraph.scene.material import ParameterKind

WIDTH, HEIGHT = 640, 480
SAMPLES = 12  # paths per pixel
BOUNCES = 3  # Mitsuba's max_depth: direct light and one bounce
MARGIN = 12.0  # px between the object and the picture's edge
FULL_WELL, READ_NOISE = 6000.0, 8.0  # electrons at white, and of an empty pixel
_RENDERER = 1  # part of the kept files' names: raise it when the same take gives another picture


@dataclass(frozen=True)
class Take:
    """What to photograph.

    Attributes:
        name: the object, one of ``pose_models.NAMES``.
        seed: of everything that is random.
        hidden: wanted share of the object's silhouette behind an unknown thing, 0 to 0.6.
        distance: of the object's centre, m; None for a random one from 0.4 to 0.8.
        defocus_px: standard deviation of a Gaussian blur.
        motion_px: length of the way that the camera shakes during the exposure.
        upright: the object stands on the table; otherwise it lies or floats any way up.
    """

    name: str
    seed: int
    hidden: float = 0.0
    distance: float | None = None
    defocus_px: float = 0.0
    motion_px: float = 0.0
    upright: bool = False

    @property
    def file_name(self) -> str:
        away = "any" if self.distance is None else f"{self.distance:g}m"
        how = f"d{self.defocus_px:g}_m{self.motion_px:g}" + "_upright" * self.upright
        return f"{self.name}_{self.seed:03d}_h{100 * self.hidden:g}_{away}_{how}_v{_RENDERER}"


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """A photograph and its truth.

    Attributes:
        take: what was asked for.
        image: ``h w 3``, linear, decoded from 8 bits.
        camera: at the world's origin.
        camera_from_object: the exact pose; the object's frame is its model file's, metres.
        hidden: share of the silhouette's pixels that something else covers.
    """

    take: Take
    image: Tensor
    camera: Camera
    camera_from_object: Tensor
    hidden: float


def pose_frame(take: Take, data: Path, folder: Path) -> PoseFrame:
    """Render a take, or read it where it has been rendered before.

    Args:
        take: what to photograph.
        data: the folder of recorded data, with ``meshes`` and ``desk_objects``.
        folder: keeps a PNG and a JSON file per take.

    Raises:
        ValueError: an unknown object, or data that is missing.
        ImportError: Mitsuba is not installed.
    """
    image, truth = kept(folder, take.file_name, lambda: photograph(take, data))
    camera = Camera(
        Lens(torch.tensor(truth["focal"]), torch.tensor(truth["principal"]), HEIGHT, WIDTH),
        torch.eye(4),
    )
    pose = torch.tensor(truth["camera_from_object"])
    return PoseFrame(take, image, camera, pose, truth["hidden"])


def kept(
    folder: Path, name: str, make: Callable[[], tuple[np.ndarray, dict[str, Any]]]
) -> tuple[Tensor, dict[str, Any]]:
    """A picture, linear, and its truth, as JSON values: read where they have been made before."""
    picture, facts = (folder / f"{name}{end}" for end in (".png", ".json"))
    if not (picture.exists() and facts.exists()):
        image, truth = make()
        write_atomically(picture, encode_png(image))
        write_atomically(facts, json.dumps(truth, indent=1).encode())
    return load_image(picture)[0], json.loads(facts.read_text())


def photograph(take: Take, data: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The 8-bit picture and its truth."""
    rng = np.random.default_rng([take.seed, zlib.crc32(take.name.encode())])
    item = known_object(take.name, data)
    stands = take.upright
    place = stand(item.mesh, upright(take.name), rng) if stands else lay_down(item.mesh, rng)
    item = replace(item, world_from_object=place)
    centre, radius = middle(item)
    camera = look(centre, radius, take.distance, rng)
    sky = panorama(panoramas(data), rng)
    items = [item, table(rng), *clutter(centre, radius, camera, rng)]
    if take.hidden:
        items.append(occluder(items, camera, centre, radius, take.hidden, take.seed))
    radiance = trace(lit(items, sky), camera, SAMPLES)
    picture = develop(radiance, take.seed, take.defocus_px, take.motion_px)
    return picture, {
        "take": asdict(take),
        "focal": camera.focal.tolist(),
        "principal": camera.principal.tolist(),
        "camera_from_object": (camera.camera_from_world @ item.world_from_object).tolist(),
        "hidden": hidden_share(items, camera),
    }


def lay_down(mesh: Mesh, rng: np.random.Generator) -> Tensor:
    """world_from_object: any way up, its lowest point on the table (y = 0) or up to 8 cm above."""
    turned = torch.eye(4)
    turned[:3, :3] = random_rotation(rng)
    lowest = apply(turned, mesh.vertices)[:, 1].amin()
    turned[1, 3] = max(rng.uniform(-0.08, 0.08), 0.0) - lowest
    return turned


def stand(mesh: Mesh, standing: Tensor, rng: np.random.Generator) -> Tensor:
    """world_from_object: its rotation ``standing``, then a random one about the vertical.

    The lowest point is on the table.
    """
    about = torch.tensor([0, rng.uniform(0, 2 * np.pi), 0]).float()
    turned = pose(exp_so3(about) @ standing, torch.zeros(3))
    turned[1, 3] = -apply(turned, mesh.vertices)[:, 1].amin()
    return turned


def middle(item: Object) -> tuple[Tensor, float]:
    """Centre of an object's bounding box in the world, and the radius of a ball around it."""
    points = apply(item.world_from_object, item.mesh.vertices)
    centre = (points.amin(0) + points.amax(0)) / 2
    return centre, (points - centre).norm(dim=-1).amax().item()


def look(
    centre: Tensor,
    radius: float,
    distance: float | None,
    rng: np.random.Generator,
    elevations: tuple[float, float] = (15, 70),
) -> Camera:
    """A camera of about 610 px above the table that has the whole object in its picture.

    ``elevations`` are the lowest and highest in degrees, seen from the object.
    """
    drawn = rng.uniform(0.4, 0.8)
    distance = drawn if distance is None else distance
    elevation, azimuth = np.radians(rng.uniform(*elevations)), rng.uniform(0, 2 * np.pi)
    toward = torch.tensor(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ]
    ).float()
    focal = torch.full((2,), float(rng.uniform(600, 620)))
    principal = torch.tensor([WIDTH / 2, HEIGHT / 2]) + torch.tensor(rng.uniform(-5, 5, 2)).float()
    border = focal[0].item() * radius / (distance - radius) + MARGIN
    low = np.minimum(border, [WIDTH / 2, HEIGHT / 2])
    place = torch.tensor(rng.uniform(low, np.array([WIDTH, HEIGHT]) - low)).float()
    # The object's centre, straight ahead of `look_at`, is turned to its place in the picture.
    ahead = look_at(centre + distance * toward, centre, torch.tensor([0.0, 1, 0]))
    slope = (place - principal) / focal
    direction = torch.nn.functional.normalize(torch.cat((slope, torch.ones(1))), dim=0)
    axis = torch.tensor([-direction[1], direction[0], 0.0])
    sine = axis.norm()
    turn = exp_so3(axis * (torch.atan2(sine, direction[2]) / sine.clamp_min(1e-9)))
    roll = exp_so3(torch.tensor([0, 0, rng.normal(0, np.radians(8))]).float())
    camera_from_world = pose(turn @ roll, torch.zeros(3)) @ ahead
    return Camera(Lens(focal, principal, HEIGHT, WIDTH), camera_from_world)


def panoramas(data: Path) -> list[Path]:
    """The recorded panoramas by name."""
    return sorted((data / "environment_maps").glob("*.hdr"))


def panorama(files: Sequence[Path], rng: np.random.Generator) -> Tensor:
    """Light from all around: one of the recorded panoramas, turned; else a sky with lamps."""
    choice, shift = rng.random(), rng.random()
    if files:
        mitsuba.find_llvm()
        import mitsuba as mi

        if mi.variant() is None:
            mi.set_variant("scalar_rgb")
        bitmap = mi.Bitmap(str(files[int(choice * len(files))]))
        bitmap = bitmap.convert(mi.Bitmap.PixelFormat.RGB, mi.Struct.Type.Float32)
        sky = torch.from_numpy(np.array(bitmap))
    else:
        directions, _ = panorama_directions(128, 256)
        sky = 0.4 + 0.3 * directions[..., 1:2] * torch.tensor([0.8, 1.0, 1.2])
        for _ in range(3):
            toward = torch.nn.functional.normalize(torch.tensor(rng.normal(0, 1, 3)).float(), dim=0)
            toward[1] = toward[1].abs()
            lamp = torch.exp(rng.uniform(8, 60) * (directions @ toward - 1))
            sky = sky + rng.uniform(2, 8) * lamp[..., None]
    return sky.roll(int(shift * sky.shape[1]), 1)


def table(rng: np.random.Generator) -> Object:
    """A plane of 1.6 m at y = 0: mottled, with planks and papers."""
    side = 768
    base, other = rng.uniform(0.1, 0.7, (2, 3))
    mottle = np.zeros((side, side))
    for octave in range(2, 8):
        cells = Image.fromarray(rng.random((2**octave, 2**octave)).astype(np.float32))
        mottle += np.asarray(cells.resize((side, side), Image.Resampling.BICUBIC)) / octave
    mottle = (mottle - mottle.min()) / np.ptp(mottle)
    texture = base + (other - base) * mottle[..., None]
    planks = rng.uniform(0.8, 1.1, 12)
    texture *= np.repeat(planks, side // 12)[None, :, None]
    for _ in range(60):
        low, size = rng.integers(0, side, 2), rng.integers(8, 70, 2)
        part = texture[low[0] : low[0] + size[0], low[1] : low[1] + size[1]]
        lines = 1 - 0.6 * (np.arange(len(part)) % 5 < 1) * rng.integers(0, 2)
        part[:] = rng.uniform(0.05, 0.85, 3) * lines[:, None, None]
    flat = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    mesh = plane()
    mesh = replace(mesh, vertices=0.8 * mesh.vertices)
    return Object(mesh, flat, matter(torch.from_numpy(texture.clip(0, 1)).float(), 0.7, "texture"))


def clutter(
    centre: Tensor, radius: float, camera: Camera, rng: np.random.Generator
) -> list[Object]:
    """Bodies that stand on the table beside and behind the object."""
    front = camera.centre - centre
    bearing = np.arctan2(front[0].item(), front[2].item())
    found = []
    for _ in range(8):
        size = rng.uniform(0.02, 0.06)
        angle = bearing + rng.uniform(np.radians(70), np.radians(290))
        away = radius + 2 * size + abs(rng.normal(0, 0.15))
        mesh = body(rng)
        stretch = torch.tensor(size * rng.uniform(0.5, 1, 3)).float()
        mesh = replace(mesh, vertices=mesh.vertices * stretch)
        placed = torch.eye(4)
        placed[:3, :3] = exp_so3(torch.tensor([0, rng.uniform(0, 6.28), 0]).float())
        place = np.array([np.sin(angle), 0, np.cos(angle)]) * away
        placed[:3, 3] = centre * torch.tensor([1.0, 0, 1]) + torch.tensor(place)
        placed[1, 3] = -mesh.vertices[:, 1].amin()
        color = torch.tensor(rng.uniform(0.03, 0.85, 3)).float()
        found.append(Object(mesh, placed, matter(color, rng.uniform(0.3, 0.9))))
    return found


def body(rng: np.random.Generator) -> Mesh:
    """A box, a ball or a ring of about unit radius."""
    kind = rng.integers(3)
    return (box(), icosphere(3), torus(0.75, 0.3, 16, 48))[kind]


def occluder(
    items: list[Object], camera: Camera, centre: Tensor, radius: float, wanted: float, seed: int
) -> Object:
    """A box or a hand between camera and object, pushed in from a side until it hides enough."""
    rng = np.random.default_rng([seed, 1])
    mesh = hand() if rng.random() < 0.5 else box()
    near = rng.uniform(0.55, 0.75)  # of the way from the camera to the object
    size = 0.7 * near * radius
    spin, bearing = random_rotation(rng), rng.uniform(0, 2 * np.pi)
    color = torch.tensor(rng.uniform(0.05, 0.8, 3)).float()
    start = apply(camera.camera_from_world, centre[None])[0] * near
    aside = torch.tensor([np.cos(bearing), np.sin(bearing), 0]).float()
    world_from_camera = invert(camera.camera_from_world)
    target = shows(items, camera)

    def placed(offset: float) -> Object:
        here = pose(spin, start + offset * aside)
        shape = replace(mesh, vertices=mesh.vertices * size)
        return Object(shape, world_from_camera @ here, matter(color, 0.6))

    def share(offset: float) -> float:
        return (shows([placed(offset)], camera) & target).sum().item() / target.sum().item()

    while share(0.0) < wanted:
        size *= 1.2
    inside, outside = 0.0, 4 * size + 2 * near * radius
    for _ in range(12):
        offset = (inside + outside) / 2
        inside, outside = (offset, outside) if share(offset) > wanted else (inside, offset)
    return placed(outside)


def box() -> Mesh:
    """A cube of sides 2 whose sides share no vertices, so that its edges stay sharp."""
    mesh = cube()
    count = torch.arange(36, dtype=torch.int32).reshape(-1, 3)
    return Mesh(mesh.vertices[mesh.faces.flatten().long()], count)


def hand() -> Mesh:
    """A palm and four fingers, of balls drawn long."""
    ball = icosphere(3)
    parts = [ball.vertices * torch.tensor([1.0, 0.9, 0.35]) + torch.tensor([0, -0.8, 0])]
    for finger in range(4):
        slim = ball.vertices * torch.tensor([0.24, 0.95, 0.24])
        parts.append(slim + torch.tensor([0.52 * (finger - 1.5), 0.7, 0.1]))
    faces = [ball.faces + len(ball.vertices) * number for number in range(len(parts))]
    return Mesh(torch.cat(parts), torch.cat(faces))


def shows(items: list[Object], camera: Camera) -> Tensor:
    """The pixels in which the first of some objects is seen."""
    found = render(Scene(tuple(items)), camera, outputs=("object_id",)).object_id
    assert found is not None
    return found == 0


def hidden_share(items: list[Object], camera: Camera) -> float:
    """Of the first object's silhouette in the picture, what the other objects cover."""
    alone, together = shows(items[:1], camera), shows(items, camera)
    return 1 - (alone & together).sum().item() / alone.sum().item()


def lit(items: list[Object], sky: Tensor) -> Scene:
    """Objects on the table under a panorama, which is also behind them."""
    # The table keeps light from below away; to leave it out halves the path tracer's noise.
    above = sky * (torch.arange(len(sky)) < len(sky) / 2)[:, None, None]
    return Scene(tuple(items), (EnvironmentMap(above),), EnvironmentMap(sky))


def trace(
    scene: Scene,
    camera: Camera,
    samples: int,
    first_bsdf: dict[str, Any] | None = None,
    reach: int = 3,
) -> Tensor:
    """Linear radiance ``h w 3`` by path tracing, its noise smoothed.

    Args:
        scene: the objects and their light.
        camera: which sees them.
        samples: paths per pixel.
        first_bsdf: a Mitsuba material in place of the first object's own.
        reach: of the smoothing, px.
    """
    owner = render(scene, camera, outputs=("object_id",)).object_id
    scene, camera = flatten(scene, camera, (1,))
    wanted = frozenset(["color", "alpha", "albedo"])
    bsdfs = [first_bsdf] + [None] * (len(scene.objects) - 1)
    found = mitsuba.render(scene, camera, wanted, samples=samples, max_depth=BOUNCES, bsdf=bsdfs)
    assert owner is not None and found.color is not None
    assert found.albedo is not None and found.alpha is not None
    smooth = smoothed(found.color[0], found.albedo[0], owner, reach)
    return torch.where(found.alpha[0, ..., None] > 0.999, smooth, found.color[0])


def smoothed(color: Tensor, albedo: Tensor, owner: Tensor, reach: int = 3) -> Tensor:
    """The light on each surface averaged over near pixels of the same surface, if lit alike.

    Colours of surfaces and their edges come from ``albedo``, which has no noise, and stay sharp.

    Source:
        Bilateral filter of light without texture: Dammertz et al., Edge-avoiding a-trous wavelet
        transform for fast global illumination filtering (2010).
    """
    light = color / (albedo + 0.02)
    grey = torch.nn.functional.avg_pool2d(light.mean(-1)[None], 3, 1, 1)[0]
    level = grey[..., None].clamp_min(1e-4).log()
    total, weights = torch.zeros_like(light), torch.zeros_like(level)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            there = ((down, right), (0, 1))
            unlike = (level.roll(*there) - level) / 0.3
            weight = torch.exp(-(unlike**2) - (down**2 + right**2) / reach**2)
            weight = weight * (owner.roll(*there) == owner)[..., None]
            total += weight * light.roll(*there)
            weights += weight
    return total / weights * (albedo + 0.02)


def develop(
    radiance: Tensor, seed: int, defocus_px: float = 0.0, motion_px: float = 0.0
) -> np.ndarray:
    """What an 8-bit sensor with automatic exposure makes of it: blur, shot noise, read noise."""
    from scipy import ndimage

    rng = np.random.default_rng([seed, 2])
    linear = radiance.numpy().astype(np.float64)
    linear *= 0.45 / np.quantile(linear.mean(-1), 0.75)
    linear = linear.clip(0, 2)  # light beyond that saturates and blurs no further
    if defocus_px:
        linear = ndimage.gaussian_filter(linear, (defocus_px, defocus_px, 0))
    if motion_px:
        angle = rng.uniform(0, np.pi)
        steps = np.linspace(-0.5, 0.5, 2 * int(motion_px) + 3) * motion_px
        moved = [
            ndimage.shift(
                linear, (s * np.sin(angle), s * np.cos(angle), 0), order=1, mode="nearest"
            )
            for s in steps
        ]
        linear = np.mean(moved, 0)
    electrons = rng.poisson(linear * FULL_WELL) + rng.normal(0, READ_NOISE, linear.shape)
    shown = display(torch.from_numpy(electrons / FULL_WELL))
    return (shown.numpy() * 255).round().astype(np.uint8)


def matter(albedo: Tensor, roughness: float, kind: ParameterKind = "constant") -> Material:
    return Material(albedo, torch.tensor([float(roughness)]), torch.zeros(1), kind)


def random_rotation(rng: np.random.Generator) -> Tensor:
    """Uniform over all rotations: the Q of a Gaussian matrix, made proper."""
    q, r = np.linalg.qr(rng.normal(0, 1, (3, 3)))
    q = q * np.sign(np.diag(r))
    return torch.tensor(q * np.linalg.det(q)).float()
