"""Path-traced square crops of a known object that stands upright, and the truth of their scenes.

    python experiments/scene_crops.py [--name spot] [--count 200] [--split test] [--work DIR]
                                      [--json FILE]

Each crop is what a 640x480 photo of about 610 px focal length shows in a square window about the
object, in 96x96 px: its rays are those of the photo, in which the object is off the centre. The
object stands on a mottled table among bodies of random colours, under a panorama turned at random.
Its material is one of Mitsuba's, not ours, with its own colours. In every fourth crop a box or a
hand hides 10 to 40 % of the object. Everything follows from the seed.

The panoramas of the split ``dev`` are the first three by name, those of ``test`` all others.

Seconds per crop are of those rendered in this run, about 7 on one core; hidden_pct is the mean over
all crops. Crops are kept in a folder, so a run that ended early goes on where it was.
"""

import json
import os
import time
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from measures import command_line, row, write
from pose_frames import (
    BOUNCES,
    clutter,
    develop,
    hidden_share,
    kept,
    lit,
    look,
    middle,
    occluder,
    panorama,
    panoramas,
    stand,
    table,
    trace,
)
from pose_models import NAMES, known_object, upright
from torch import Tensor

from invgraph import Camera, EnvironmentMap, Lens, Object, Scene
from invgraph.files.atomic import write_atomically
from invgraph.geometry.transforms import apply, look_at, rotate
from invgraph.rendering.backends import mitsuba
from invgraph.rendering.environment import panorama_directions
from invgraph.runs.progress import Meter
from invgraph.scene.batching import flatten

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
Split = Literal["dev", "test"]
DEV_PANORAMAS = 3  # the first by name
SIZE = 96  # px, of a crop's sides
SAMPLES = 512  # paths per pixel: what noise they leave is about that of the sensor, or less
REACH = 1  # px, of the smoothing: with more the blur outweighs the noise
DISTANCES = (4.0, 8.0)  # of the camera from the object's centre, in object radii
ELEVATIONS = (5.0, 60.0)  # degrees
SIDES = (1.2, 1.8)  # of the window, in diameters of the object's ball
SHIFT = 0.12  # largest, of the window from the object's centre, in sides
HIDDEN = (0.1, 0.4)  # wanted share
EVERY = 4  # crops, of which one is with an occluder
LUMINANCE = (0.2126, 0.7152, 0.0722)
PROBE, PROBE_SAMPLES = 32, 64  # pixels of a side of a light probe, and paths through each
MAIN_LIGHT = 0.1  # of the upper half's light is what its brightest pixels hold
_VERSION = 1  # part of the kept files' names: raise it when the same crop gives another picture


@dataclass(frozen=True)
class Crop:
    """What to show.

    Attributes:
        name: the object, one of ``pose_models.NAMES``.
        seed: of everything that is random.
        split: which panoramas light it; another split of the same seed differs in everything.
    """

    name: str
    seed: int
    split: Split

    @property
    def file_name(self) -> str:
        return f"{self.split}_{self.name}_{self.seed:04d}_v{_VERSION}"


@dataclass(frozen=True, eq=False)
class SceneCrop:
    """A crop and its truth.

    Attributes:
        crop: what was asked for.
        image: ``h w 3``, linear, decoded from 8 bits.
        lens: of the crop; its principal point is far from the middle.
        camera_from_object: the exact pose; the object's frame is its model file's, metres.
        hidden: share of the silhouette's pixels in the crop that something else covers.
        panorama: name of the one that lights it.
        light: unit direction towards the main light, camera frame; ``main_light`` says which.
        centre: of the object's bounding box, in the object's frame.
        radius: of the ball about the centre that holds the object, m.
    """

    crop: Crop
    image: Tensor
    lens: Lens
    camera_from_object: Tensor
    hidden: float
    panorama: str
    light: Tensor
    centre: Tensor
    radius: float


def scene_crop(crop: Crop, data: Path, folder: Path) -> SceneCrop:
    """Render a crop, or read it where it has been rendered before.

    Args:
        crop: what to show.
        data: the folder of recorded data, with ``meshes``, ``desk_objects`` and
            ``environment_maps``.
        folder: keeps a PNG and a JSON file per crop.

    Raises:
        ValueError: an unknown object, or data that is missing.
        ImportError: Mitsuba is not installed.
    """
    image, truth = kept(folder, crop.file_name, lambda: photograph(crop, data))
    return SceneCrop(
        crop,
        image,
        Lens(torch.tensor(truth["focal"]), torch.tensor(truth["principal"]), SIZE, SIZE),
        torch.tensor(truth["camera_from_object"]),
        truth["hidden"],
        truth["panorama"],
        torch.tensor(truth["light"]),
        torch.tensor(truth["centre"]),
        truth["radius"],
    )


@dataclass(frozen=True, eq=False)
class Stage:
    """What stands where before a crop's camera, under which sky.

    Attributes:
        item: the object, standing.
        centre: of its bounding box, in its own frame.
        radius: of the ball about the centre that holds it, m.
        camera: of the crop.
        sky: the panorama, turned.
        panorama: its name.
        rng: for all that comes after.
    """

    item: Object
    centre: Tensor
    radius: float
    camera: Camera
    sky: Tensor
    panorama: str
    rng: np.random.Generator

    @staticmethod
    def of(crop: Crop, data: Path) -> "Stage":
        words = f"{crop.name} {crop.split}"
        rng = np.random.default_rng([crop.seed, zlib.crc32(words.encode())])
        item = known_object(crop.name, data)
        middle_of_object, radius = middle(item)
        item = replace(item, world_from_object=stand(item.mesh, upright(crop.name), rng))
        centre = apply(item.world_from_object, middle_of_object[None])[0]
        distance = radius * rng.uniform(*DISTANCES)
        photo = look(centre, radius, distance, rng, ELEVATIONS)
        camera = window(photo, centre, radius, rng)
        files = of_split(crop.split, data)
        file = files[rng.integers(len(files))]
        sky = panorama([file], rng)
        return Stage(item, middle_of_object, radius, camera, sky, file.stem, rng)

    def seen(self, direction: Tensor) -> Tensor:
        """A direction of the world in the camera's frame."""
        return rotate(self.camera.camera_from_world, direction[None])[0]


def photograph(crop: Crop, data: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The 8-bit picture and its truth."""
    stage = Stage.of(crop, data)
    item, camera, radius = stage.item, stage.camera, stage.radius
    items, material, own_seed = arranged(crop, stage)
    picture = develop(trace(lit(items, stage.sky), camera, SAMPLES, material, REACH), own_seed)
    return picture, {
        "crop": asdict(crop),
        "focal": camera.focal.tolist(),
        "principal": camera.principal.tolist(),
        "camera_from_object": (camera.camera_from_world @ item.world_from_object).tolist(),
        "hidden": hidden_share(items, camera),
        "panorama": stage.panorama,
        "light": stage.seen(main_light(stage.sky)).tolist(),
        "centre": stage.centre.tolist(),
        "radius": radius,
        "material": material,
    }


def arranged(crop: Crop, stage: Stage) -> tuple[list[Object], dict[str, Any], int]:
    """All things, of which the object is the first, its material, and a seed for the rest.

    A stage can be arranged once: its numbers are drawn here.
    """
    item, camera, radius, rng = stage.item, stage.camera, stage.radius, stage.rng
    centre = apply(item.world_from_object, stage.centre[None])[0]
    material = unlike_ours(rng)
    items = [item, table(rng), *clutter(centre, radius, camera, rng)]
    wanted, own_seed = rng.uniform(*HIDDEN), int(rng.integers(2**31))
    if crop.seed % EVERY == 0:
        items.append(occluder(items, camera, centre, radius, wanted, own_seed))
    return items, material, own_seed


def light_probe(crop: Crop, data: Path, folder: Path) -> Tensor:
    """Unit direction towards the mean of all light that arrives where the object is, camera frame.

    What a mirrored ball in the object's place would show is path-traced: sky, table and the things
    around. Kept, as crops are.

    Source:
        Debevec, Rendering synthetic objects into real scenes (1998), for probes; Sloan, Stupid
        Spherical Harmonics Tricks (2008), "optimal linear direction".
    """
    file = folder / f"{crop.file_name}_probe.json"
    if not file.exists():
        stage = Stage.of(crop, data)
        items, _, _ = arranged(crop, stage)
        centre = apply(stage.item.world_from_object, stage.centre[None])[0]
        scene = lit(items[1:], stage.sky)
        [sky] = scene.lights
        assert isinstance(sky, EnvironmentMap)
        mean = stage.seen(mean_of_probe(replace(scene, background=sky), centre))
        write_atomically(file, json.dumps({"mean_light": mean.tolist()}).encode())
    return torch.tensor(json.loads(file.read_text())["mean_light"])


def mean_of_probe(scene: Scene, centre: Tensor) -> Tensor:
    """Mean direction of the light that arrives at a point, by its six views along the axes."""
    total = torch.zeros(3)
    lens = Lens(torch.full((2,), PROBE / 2), torch.full((2,), PROBE / 2), PROBE, PROBE)
    for axis in torch.cat([torch.eye(3), -torch.eye(3)]):
        up = torch.eye(3)[2 if axis[1] else 1]
        camera = Camera(lens, look_at(centre, centre + axis, up))
        flat, cameras = flatten(scene, camera, (1,))
        color = mitsuba.render(
            flat, cameras, frozenset(["color"]), samples=PROBE_SAMPLES, max_depth=BOUNCES
        ).color
        assert color is not None
        _, ways = camera.rays()
        # A pixel's solid angle falls with the third power of the cosine of its angle.
        ahead = ways @ axis
        light = (color[0] @ torch.tensor(LUMINANCE)) * ahead**3
        total += (light[..., None] * ways).sum((0, 1))
    return torch.nn.functional.normalize(total, dim=0)


def of_split(split: Split, data: Path) -> list[Path]:
    """The panoramas of a split."""
    if split not in get_args(Split):
        raise ValueError(f"{split!r} is not a split; choose among {', '.join(get_args(Split))}.")
    files = panoramas(data)
    files = files[:DEV_PANORAMAS] if split == "dev" else files[DEV_PANORAMAS:]
    if not files:
        raise ValueError(
            f"{data / 'environment_maps'} has no panoramas (*.hdr) for the split {split!r}; set "
            "INVGRAPH_DATA to the folder of recorded data."
        )
    return files


def window(photo: Camera, centre: Tensor, radius: float, rng: np.random.Generator) -> Camera:
    """The camera of a square window about the object in a photo, resampled to the crop's size."""
    place, depth = (part[0] for part in photo.project(centre[None]))
    diameter = (2 * photo.focal[0] * radius / depth).item()
    side = round(rng.uniform(*SIDES) * diameter)
    corner = place.numpy() + side * (rng.uniform(-SHIFT, SHIFT, 2) - 0.5)
    left, top = (round(float(edge)) for edge in corner)
    lens = photo.lens.crop(top, left, side, side).resize(SIZE, SIZE)
    return Camera(lens, photo.camera_from_world)


def main_light(sky: Tensor) -> Tensor:
    """Unit direction towards the main light of a panorama, world frame.

    The centroid of the brightest pixels of the upper half that together hold a tenth of its
    luminance times solid angle, weighted by the same; the table keeps light from below away. Of two
    lamps alike it is between them, and in a hall with lamps all over it is near the zenith.
    """
    height, width = sky.shape[:2]
    directions, solid = panorama_directions(height, width)
    upper = slice(0, height // 2)
    directions = directions[upper].reshape(-1, 3).double()
    luminance = (sky[upper] @ torch.tensor(LUMINANCE)).flatten()
    light = (luminance * solid[upper].flatten()).double()
    falling = luminance.argsort(descending=True)
    held = light[falling].cumsum(0)
    faintest = luminance[falling[(held < MAIN_LIGHT * held[-1]).sum()]]
    brightest = luminance >= faintest
    toward = light[brightest] @ directions[brightest]
    return torch.nn.functional.normalize(toward, dim=0).float()


def unlike_ours(rng: np.random.Generator) -> dict[str, Any]:
    """A material of Mitsuba's in the object's own colours."""
    roughness, specular, coat, gloss = rng.uniform((0.15, 0, 0, 0), (0.7, 1, 1, 1)).tolist()
    own_color = {"type": "ref", "id": "albedo"}
    if rng.random() < 0.5:
        return {
            "type": "principled",
            "base_color": own_color,
            "roughness": roughness,
            "specular": specular,
            "clearcoat": coat,
            "clearcoat_gloss": gloss,
        }
    return {
        "type": "roughplastic",
        "diffuse_reflectance": own_color,
        "distribution": "ggx",
        "alpha": roughness**2,  # as the other takes its roughness
        "int_ior": 1.3 + 0.4 * specular,
        "nonlinear": True,
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_crops")
    arguments = parser.parse_args()

    hidden: list[float] = []
    seconds: list[float] = []
    with Meter() as progress:
        progress.stage(f"{arguments.name} {arguments.split}")
        for seed in range(arguments.count):
            crop = Crop(arguments.name, seed, arguments.split)
            fresh = not (arguments.work / f"{crop.file_name}.json").exists()
            began = time.perf_counter()
            hidden.append(scene_crop(crop, DATA, arguments.work).hidden)
            if fresh:
                seconds.append(time.perf_counter() - began)
            progress.update((seed + 1) / arguments.count, f"{seed + 1} of {arguments.count}")
    label = f"{arguments.name}/{arguments.split}"
    rows = [row(f"crops/{label}", len(hidden), "", "higher")]
    if seconds:
        rows.append(row(f"seconds_per_crop/{label}", float(np.mean(seconds)), "s", "lower"))
    if hidden:
        rows.append(row(f"hidden_pct/{label}", 100 * float(np.mean(hidden)), "%", "lower"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
