"""Does an encoder that only dreamt say where a known object is, and does descent sharpen it?

    python experiments/scene_pose.py [train] [wake] [score] [basin] [twins] [--seeds 0 1 2]
                                     [--minutes 90] [--count 200] [--split test] [--name spot]
                                     [--work DIR] [--json FILE]

- train: an encoder per seed from dreams alone (`invgraph train scene`), so many minutes each; a
  training that was stopped goes on.
- wake: from each of these, two go on for a ninth of the time: one dreams on, the other also wakes
  to path-traced crops without labels, of the split dev; gain_of_waking_deg says what that brings.
- score: path-traced crops (`scene_crops.py`, made and kept by the first run) of the object under
  panoramas and in a material that no training has seen, off centre, a quarter of them partly
  hidden. Answers are appended to a file as they come, and not computed twice.

- basin: descents on the likelihood alone that begin off the truth, turned about a random axis, on
  the same crops: basin_pct is the share that ends within 5 degrees of it.
- twins: an encoder of a box that looks the same when it is turned by half, dreamt for a ninth of
  the time; on dreams that it has not seen, the error to the nearer of the two right poses, and the
  probability within 20 degrees of the less probable one: half of what is near either, if right.

Four ways to the pose, with the processor seconds that one image takes each (ten are answered at a
time):

- encoder: the likeliest middle of its hypotheses. As in photos, it looks twice: the second time
  where, and as close as, it found the object at first.
- both: descent from its best hypotheses, on likelihood times belief.
- descent: the same without the encoder, from the best of evenly spread hypotheses.
- search: `estimate_pose` without an initial pose, which looks for the object any way up; a tenth of
  the crops, since it is slow.

On dreams that nobody learned from, rotation_deg/encoder/dreams is the encoder's error, and
rank_deviation says whether its beliefs are calibrated (1 if so; simulation-based calibration of the
distance, an entry of the rotation and the light from above).

rotation_deg is the median over all crops and seeds; coverage_90_pct the share of crops whose true
pose is in the smallest region that should hold it in 90 %, by the encoder alone, and with /both
after descent.
"""

import json
import math
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import trimesh
from measures import Row, command_line, row, write
from pose_models import NAMES, model_file
from scene_crops import Crop, SceneCrop, scene_crop
from torch import Tensor

from invgraph.encoders.scene_encoder import SIDE
from invgraph.evaluate.calibration_metrics import rank_deviation, ranks
from invgraph.fitting.pose import KnownObject, estimate_pose, load_object
from invgraph.fitting.scene import find
from invgraph.fitting.scene.descent import descend, spread_belief
from invgraph.fitting.scene.object_prior import LIGHT, POSE, with_shadows
from invgraph.fitting.scene.scene_model import SceneModel, load_scene_model
from invgraph.fitting.scene.sharpen import sharpened
from invgraph.geometry import transforms
from invgraph.runs.progress import Meter, Progress
from invgraph.scene.unknowns import Unknowns
from invgraph.train.dreams import dream
from invgraph.train.settings import SceneSettings
from invgraph.train.train_scene import train_scene

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
PARTS = ("train", "wake", "score", "basin", "twins")
WAYS = ("encoder", "both", "descent", "search")
LATER = ("dreams", "awake")  # how a training goes on
PHOTOS = 40  # that it wakes to
SEARCHED = 10  # one of so many crops is searched
TOGETHER = 10  # crops that are answered at a time
TWINS, DREAMS = 500, 1000  # dreams of the box, and of the object
HELD = 100  # of the latter, on which regions are tried, which takes long
OFF, HOME = (10, 20, 30, 45, 60), 5.0  # degrees that descents begin off, and at which they are home
FLAT = 100.0  # times wider than an encoder's ignorance: a belief that says nothing
SAMPLES, NEAR = 199, 20.0  # of a belief; degrees


@dataclass(frozen=True, eq=False)
class Views(find.Views):
    """Crops as cameras see them that look straight at them, and the truth in their frames."""

    items: list[SceneCrop]

    @staticmethod
    def of_crops(items: list[SceneCrop], parts: list[find.Views] | None = None) -> "Views":
        """The whole crops, or what cameras see of each."""
        seen = find.Views.join(parts or [whole(item) for item in items])
        return Views(seen.images, seen.lens, seen.camera_from_view, items)

    def closer(self, model: SceneModel) -> "Views":
        """What an encoder sees of whole crops at the second look that it takes in photos, too."""
        guess, _ = model(self.images, self.lens)
        parts = []
        for index, item in enumerate(self.items):
            side = item.lens.width
            place = torch.tensor([[side / 2, side / 2, math.log(side * find.usual_size(model))]])
            first = self[index], guess[index]
            parts.append(find.look_closer(model, item.image, item.lens, place, *first))
        return Views.of_crops(self.items, parts)

    @property
    def truth(self) -> Tensor:
        """``view_from_object``."""
        poses = torch.stack([item.camera_from_object for item in self.items])
        return transforms.invert(self.camera_from_view) @ poses


def whole(item: SceneCrop) -> find.Views:
    side = item.lens.width
    return find.Views.of(item.image, item.lens, torch.full((2,), side / 2), side)


def answer(way: str, model: SceneModel, views: Views, known: KnownObject) -> list[dict[str, Any]]:
    """One way's poses for some crops, how far they are off, and what one took."""
    began = time.process_time()
    inside: list[bool | None] = [None] * len(views.items)
    if way in ("encoder", "both"):
        views = views.closer(model)
    if way == "search":
        found = [estimate_pose(item.image, item.lens, known).pose for item in views.items]
        poses = transforms.invert(views.camera_from_view) @ torch.stack(found)
        spent = time.process_time() - began
    else:
        if way == "descent":
            belief = spread_belief(model.encoder, views.images, views.lens)
        else:
            belief, _ = model(views.images, views.lens)
        if way == "encoder":
            pose = belief.mode[POSE]
        else:
            prior = model.known.prior.given(views.lens)
            ends = descend(prior, belief, views.images, views.lens)
            pose = ends.values[POSE][0]
        poses = model.known.camera_from_object(pose)
        spent = time.process_time() - began
        if way in ("encoder", "both"):
            if way == "both":
                seen = views.images, views.lens
                belief = sharpened(prior, model.known.detailed, belief, ends, *seen)
            ours = views.truth @ transforms.pose(torch.eye(3), model.known.centre)
            generator = torch.Generator().manual_seed(0)
            held = belief.marginal([POSE]).contains({POSE: ours}, 0.9, generator)
            inside = held.tolist()
    truth = views.truth
    turns = transforms.difference(truth, poses)[:, 3:].norm(dim=-1).rad2deg()
    depth = 100 * (poses[:, 2, 3] / truth[:, 2, 3] - 1).abs()
    return [
        {
            "rotation_deg": float(turns[index]),
            "depth_pct": float(depth[index]),
            "cpu_s": spent / len(views.items),
            "inside": inside[index],
            "hidden": item.hidden,
        }
        for index, item in enumerate(views.items)
    ]


def score(arguments: Any, progress: Progress) -> list[dict[str, Any]]:
    """Every answer that is not in the file yet, and all of them."""
    file = arguments.work / f"answers_{arguments.name}_{arguments.split}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    answers = {tuple(line["key"]): line for line in map(json.loads, lines)}
    known = load_object(model_file(arguments.name, DATA, arguments.work / "models"))
    folders = [
        folder_of(arguments, seed, later) for seed in arguments.seeds for later in ("", *LATER)
    ]
    models = {folder.name: load_scene_model(folder) for folder in folders if finished(folder)}
    first_of_all = folders[0].name
    total = arguments.count
    with file.open("a") as kept:
        for first in range(0, total, TOGETHER):
            crops = range(first, min(first + TOGETHER, total))
            items = {index: crop_of(arguments, index) for index in crops}
            for name, model in models.items():
                for way in arguments.ways:
                    if way in ("search", "descent") and name != first_of_all:
                        continue
                    keys = [(way, name, index, model.facts["steps"]) for index in crops]
                    keys = [key for key in keys if key not in answers]
                    if way == "search":
                        keys = [key for key in keys if key[2] % SEARCHED == 0]
                    if not keys:
                        continue
                    views = Views.of_crops([items[index] for _, _, index, _ in keys])
                    found = answer(way, model, views, known)
                    for key, line in zip(keys, found, strict=True):
                        answers[key] = {"key": key, **line}
                        print(json.dumps(answers[key]), file=kept, flush=True)
            progress.update(crops.stop / total, f"{crops.stop} of {total} crops")
    steps = {name: model.facts["steps"] for name, model in models.items()}
    return [
        line
        for (_, name, index, taken), line in answers.items()
        if index < total and steps.get(name) == taken
    ]


def crop_of(arguments: Any, index: int) -> SceneCrop:
    crop = Crop(arguments.name, index, arguments.split)
    return scene_crop(crop, DATA, arguments.work / "crops")


def folder_of(arguments: Any, seed: int, later: str = "") -> Path:
    end = f"_{later}" if later else ""
    return arguments.work / f"scene_{arguments.name}_{seed}{end}"


def finished(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def train(arguments: Any) -> None:
    mesh = model_file(arguments.name, DATA, arguments.work / "models")
    for seed in arguments.seeds:
        out = folder_of(arguments, seed)
        if not finished(out):
            settings = SceneSettings(seed=seed)
            begun = (out / "run.json").exists()
            train_scene(mesh, out, settings, resume=begun, budget_s=60 * arguments.minutes)


def wake(arguments: Any) -> None:
    photos = [unlabelled(arguments, index) for index in range(PHOTOS)]
    for seed in arguments.seeds:
        for later in LATER:
            go_on(arguments, seed, later, photos if later == "awake" else [])


def go_on(arguments: Any, seed: int, later: str, photos: list[Path]) -> Path:
    """A copy of a training that goes on for a ninth of its time, with photos or without."""
    out = folder_of(arguments, seed, later)
    if finished(out):
        return out
    if not out.exists():
        copied = out.with_name(f"{out.name}.part")
        shutil.copytree(folder_of(arguments, seed), copied, dirs_exist_ok=True)
        (copied / "metrics.json").unlink()
        copied.rename(out)
    train_scene(
        model_file(arguments.name, DATA, arguments.work / "models"),
        out,
        SceneSettings(seed=seed),
        photos,
        wake=bool(photos),
        resume=True,
        budget_s=60 * arguments.minutes * 10 / 9,
    )
    return out


def unlabelled(arguments: Any, index: int) -> Path:
    """A folder with one crop and its lens, and nothing else."""
    crop = scene_crop(Crop(arguments.name, index, "dev"), DATA, arguments.work / "crops")
    folder = arguments.work / "photos" / crop.crop.file_name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(arguments.work / "crops" / f"{crop.crop.file_name}.png", folder / "photo.png")
    (fx, fy), (cx, cy) = crop.lens.focal.tolist(), crop.lens.principal.tolist()
    (folder / "cam.json").write_text(json.dumps({"fx": fx, "fy": fy, "cx": cx, "cy": cy}))
    return folder


def calibration(arguments: Any) -> list[Row]:
    """Whether true values have even ranks among samples of the belief, on dreams."""
    found: dict[str, list[Tensor]] = {}
    held: list[bool] = []
    off: list[Tensor] = []
    for seed in arguments.seeds:
        model = load_scene_model(folder_of(arguments, seed))
        generator = torch.Generator().manual_seed(2)
        dreams = dream(with_shadows(model.known.prior), DREAMS, SIDE, generator)
        with torch.no_grad():
            belief, _ = model.encoder(dreams.images, dreams.lens)
        drawn, there = belief.sample(SAMPLES, generator), dreams.present
        for name, path, entry in (
            ("depth", POSE, (2, 3)),
            ("rotation", POSE, (0, 2)),
            ("light", LIGHT, (1, 1)),
        ):
            truth = dreams.values[path][(..., *entry)][there]
            found.setdefault(name, []).append(ranks(truth, drawn[path][(..., *entry)][:, there]))
        off.append(degrees_between(belief.mode[POSE], dreams.values[POSE])[there])
        pose = belief.marginal([POSE])
        held += [
            bool(pose[index].contains({POSE: dreams.values[POSE][index, None]}, 0.9, generator))
            for index in range(HELD)
            if there[index]
        ]
    rows = [
        row(f"rank_deviation/{name}", rank_deviation(torch.cat(some), SAMPLES), "")
        for name, some in found.items()
    ]
    share = 100 * sum(held) / len(held)
    return [
        *rows,
        row("coverage_90_pct/dreams", share, "%", "higher"),
        row("rotation_deg/encoder/dreams", float(torch.cat(off).median()), "deg"),
    ]


def basin(arguments: Any) -> list[Row]:
    """From how far off descents come home."""
    model = load_scene_model(folder_of(arguments, arguments.seeds[0]))
    generator = torch.Generator().manual_seed(3)
    ends: dict[int, list[Tensor]] = {off: [] for off in OFF}
    for first in range(0, arguments.count, TOGETHER):
        seeds = range(first, min(first + TOGETHER, arguments.count))
        views = Views.of_crops([crop_of(arguments, index) for index in seeds])
        prior = model.known.prior.given(views.lens)
        nothing = model.encoder.ignorance(views.lens, len(seeds)).top(1)
        truth = views.truth @ transforms.pose(torch.eye(3), model.known.centre)
        for off in OFF:
            axes = torch.randn(len(seeds), 3, generator=generator)
            turn = math.radians(off) * torch.nn.functional.normalize(axes, dim=-1)
            start = transforms.perturb(truth, torch.cat([torch.zeros_like(turn), turn], -1))
            unknowns = [
                replace(each, around=start[:, None]) if each.path == POSE else each
                for each in nothing.unknowns
            ]
            scales = {path: FLAT * scale for path, scale in nothing.scales.items()}
            flat = replace(nothing, unknowns=Unknowns(tuple(unknowns)), scales=scales)
            found = descend(prior, flat, views.images, views.lens).values[POSE][0]
            ends[off].append(degrees_between(found, truth))
    return [
        row(
            f"basin_pct/{off}deg",
            100 * float((torch.cat(some) < HOME).float().mean()),
            "%",
            "higher",
        )
        for off, some in ends.items()
    ]


def twins(arguments: Any) -> list[Row]:
    """How both modes of an object with two right answers are told."""
    mesh = arguments.work / "models" / "box.ply"
    mesh.parent.mkdir(parents=True, exist_ok=True)
    box = trimesh.creation.box((0.08, 0.05, 0.12)).subdivide().subdivide().subdivide()
    side = np.abs(box.triangles_center / box.extents).argmax(1)
    box.unmerge_vertices()
    colors = np.array([[200, 60, 40], [60, 140, 60], [40, 60, 180]], np.uint8)[side]
    trimesh.Trimesh(
        box.vertices, box.faces, vertex_colors=np.repeat(colors, 3, 0), process=False
    ).export(mesh)
    out = arguments.work / "scene_box"
    if not finished(out):
        begun = (out / "run.json").exists()
        train_scene(mesh, out, SceneSettings(), resume=begun, budget_s=60 * arguments.minutes / 9)
    model = load_scene_model(out)
    generator = torch.Generator().manual_seed(1)
    dreams = dream(with_shadows(model.known.prior), TWINS, SIDE, generator)
    with torch.no_grad():
        belief, _ = model.encoder(dreams.images, dreams.lens)
    half = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    truth = dreams.values[POSE][:, :3, :3]
    both = torch.stack([truth, truth @ half])
    drawn = belief.sample(SAMPLES, generator)[POSE]
    off = degrees_between(drawn[:, None], both)
    mass = (off < NEAR).float().mean(0)[:, dreams.present]
    nearer = degrees_between(belief.mode[POSE], both).amin(0)[dreams.present]
    return [
        row("twins/rotation_deg", float(nearer.median()), "deg"),
        row("twins/near_either_pct", 100 * float(mass.sum(0).mean()), "%", "higher"),
        row("twins/near_less_probable_pct", 100 * float(mass.amin(0).mean()), "%", "higher"),
    ]


def degrees_between(a: Tensor, b: Tensor) -> Tensor:
    """Of rotations, or of poses."""
    a, b = a[..., :3, :3], b[..., :3, :3]
    cosine = ((a * b).sum((-1, -2)) - 1) / 2
    return cosine.clamp(-1, 1).acos().rad2deg()


def measures(answers: list[dict[str, Any]]) -> list[Row]:
    rows = []
    later = {end: [line for line in answers if line["key"][1].endswith(f"_{end}")] for end in LATER}
    first = [line for line in answers if not any(line in some for some in later.values())]
    for label, group in (("", first), *((f"_{end}", some) for end, some in later.items())):
        for way in WAYS:
            some = [line for line in group if line["key"][0] == way]
            if some:
                rows += of_way(some, f"{way}{label}")
            inside = [line["inside"] for line in some if line["inside"] is not None]
            if inside:
                share = 100 * sum(inside) / len(inside)
                of = "" if way == "encoder" else f"/{way}"
                rows.append(row(f"coverage_90_pct{of}{label}", share, "%", "higher"))
    by_name = {entry["name"]: entry["value"] for entry in rows}
    asleep, awake = (by_name.get(f"rotation_deg/encoder_{end}") for end in LATER)
    if asleep is not None and awake is not None:
        rows.append(row("gain_of_waking_deg", asleep - awake, "deg", "higher"))
    return rows


def of_way(some: list[dict[str, Any]], label: str) -> list[Row]:
    degrees = [line["rotation_deg"] for line in some]
    below = 100 * sum(angle < 10 for angle in degrees) / len(degrees)
    return [
        row(f"rotation_deg/{label}", median(degrees), "deg"),
        row(f"below_10deg_pct/{label}", below, "%", "higher"),
        row(f"depth_pct/{label}", median(line["depth_pct"] for line in some), "%"),
        row(f"cpu_s/{label}", median(line["cpu_s"] for line in some), "s"),
    ]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS))
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=90.0, help="of training, a seed")
    parser.add_argument("--count", type=int, default=200, help="crops")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_pose")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; choose among {', '.join(PARTS)}")
    rows: list[Row] = []
    if "train" in arguments.parts:
        train(arguments)
    if "wake" in arguments.parts:
        wake(arguments)
    if "score" in arguments.parts:
        with Meter() as progress:
            progress.stage("scoring")
            answers = score(arguments, progress)
        rows = measures(answers) + calibration(arguments)
    if "basin" in arguments.parts:
        rows += basin(arguments)
    if "twins" in arguments.parts:
        rows += twins(arguments)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
