"""Does an encoder that only dreamt say where a known object is, and does descent sharpen it?

    python experiments/scene_pose.py [train] [score] [--seeds 0 1 2] [--minutes 90] [--count 200]
                                     [--split test] [--name spot] [--work DIR] [--json FILE]

- train: an encoder per seed from dreams alone (`invgraph train scene`), so many minutes each; a
  training that was stopped goes on.
- score: path-traced crops (`scene_crops.py`, made and kept by the first run) of the object under
  panoramas and in a material that no training has seen, off centre, a quarter of them partly
  hidden. Answers are appended to a file as they come, and not computed twice.

Four ways to the pose, with the processor seconds that one image takes each:

- encoder: the likeliest middle of its hypotheses.
- both: descent from its best hypotheses, on likelihood times belief.
- descent: the same without the encoder, from the best of evenly spread hypotheses.
- search: `estimate_pose` without an initial pose, which looks for the object any way up; a tenth of
  the crops, since it is slow.

rotation_deg is the median over all crops and seeds; coverage_90_pct the share of crops whose true
pose is in the smallest region that should hold it in 90 %, by the encoder alone.
"""

import json
import math
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measures import Row, command_line, row, write
from pose_models import NAMES, model_file
from scene_crops import Crop, SceneCrop, scene_crop

from invgraph.fitting.pose import estimate_pose, load_object
from invgraph.fitting.scene.descent import descend, spread_belief
from invgraph.fitting.scene.object_prior import POSE
from invgraph.fitting.scene.scene_model import SceneModel, load_scene_model
from invgraph.fitting.scene.view import look_at_window
from invgraph.geometry import transforms
from invgraph.runs.progress import Meter, Progress
from invgraph.train.settings import SceneSettings
from invgraph.train.train_scene import train_scene

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
WAYS = ("encoder", "both", "descent", "search")
SEARCHED = 10  # one of so many crops is searched


def answer(way: str, model: SceneModel, item: SceneCrop, known: Any) -> dict[str, Any]:
    """One way's pose for a crop, how far it is off, and what it took."""
    began = time.process_time()
    inside = None
    side = float(item.lens.width)
    crop, lens, camera_from_view = look_at_window(
        item.image, item.lens, torch.full((2,), side / 2), side
    )
    prior = model.known.prior.given(lens)
    truth = transforms.invert(camera_from_view) @ item.camera_from_object
    if way == "search":
        found = estimate_pose(item.image, item.lens, known).pose
        found = transforms.invert(camera_from_view) @ found
    else:
        if way == "descent":
            belief = spread_belief(model.encoder, crop[None], lens)
        else:
            belief, _ = model(crop[None], lens)
        pose = belief.mode[POSE][0]
        if way != "encoder":
            pose = descend(prior, belief, crop[None], lens).values[POSE][0, 0]
        found = model.known.camera_from_object(pose)
        if way == "encoder":
            spent = time.process_time() - began
            ours = truth @ transforms.pose(torch.eye(3), model.known.centre)
            marginal = belief.marginal([POSE])
            inside = bool(
                marginal.contains({POSE: ours[None]}, 0.9, torch.Generator().manual_seed(0))
            )
            began = time.process_time() - spent
    spent = time.process_time() - began
    cosine = ((found[:3, :3] * truth[:3, :3]).sum() - 1) / 2
    return {
        "rotation_deg": math.degrees(math.acos(min(max(float(cosine), -1.0), 1.0))),
        "depth_pct": 100 * abs(float(found[2, 3] / truth[2, 3]) - 1),
        "cpu_s": spent,
        "inside": inside,
        "hidden": item.hidden,
    }


def score(arguments: Any, progress: Progress) -> list[dict[str, Any]]:
    """Every answer that is not in the file yet, and all of them."""
    file = arguments.work / f"answers_{arguments.name}_{arguments.split}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    answers = {tuple(line["key"]): line for line in map(json.loads, lines)}
    known = load_object(model_file(arguments.name, DATA, arguments.work / "models"))
    models = {seed: load_scene_model(folder_of(arguments, seed)) for seed in arguments.seeds}
    total = arguments.count
    with file.open("a") as kept:
        for index in range(total):
            item = scene_crop(
                Crop(arguments.name, index, arguments.split), DATA, arguments.work / "crops"
            )
            for seed, model in models.items():
                for way in arguments.ways:
                    once = way in ("search", "descent")
                    if (once and seed != arguments.seeds[0]) or (
                        way == "search" and index % SEARCHED
                    ):
                        continue
                    key = (way, seed, index, model.facts["steps"])
                    if key not in answers:
                        answers[key] = {"key": key, **answer(way, model, item, known)}
                        print(json.dumps(answers[key]), file=kept, flush=True)
            progress.update((index + 1) / total, f"{index + 1} of {total} crops")
    steps = {seed: model.facts["steps"] for seed, model in models.items()}
    return [
        line
        for (_, seed, index, taken), line in answers.items()
        if index < total and steps.get(seed) == taken
    ]


def folder_of(arguments: Any, seed: int) -> Path:
    return arguments.work / f"scene_{arguments.name}_{seed}"


def train(arguments: Any) -> None:
    mesh = model_file(arguments.name, DATA, arguments.work / "models")
    for seed in arguments.seeds:
        out = folder_of(arguments, seed)
        if not (out / "metrics.json").exists():
            settings = SceneSettings(seed=seed)
            begun = (out / "run.json").exists()
            train_scene(mesh, out, settings, resume=begun, budget_s=60 * arguments.minutes)


def measures(answers: list[dict[str, Any]]) -> list[Row]:
    rows = []
    for way in WAYS:
        some = [line for line in answers if line["key"][0] == way]
        if not some:
            continue
        degrees = [line["rotation_deg"] for line in some]
        below = 100 * sum(angle < 10 for angle in degrees) / len(degrees)
        rows.append(row(f"rotation_deg/{way}", median(degrees), "deg"))
        rows.append(row(f"below_10deg_pct/{way}", below, "%", "higher"))
        rows.append(row(f"depth_pct/{way}", median(line["depth_pct"] for line in some), "%"))
        rows.append(row(f"cpu_s/{way}", median(line["cpu_s"] for line in some), "s"))
        inside = [line["inside"] for line in some if line["inside"] is not None]
        if inside:
            rows.append(row("coverage_90_pct", 100 * sum(inside) / len(inside), "%", "higher"))
    return rows


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", default=["train", "score"])
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=90.0, help="of training, a seed")
    parser.add_argument("--count", type=int, default=200, help="crops")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_pose")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {"train", "score"}
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; choose among train, score")
    rows: list[Row] = []
    if "train" in arguments.parts:
        train(arguments)
    if "score" in arguments.parts:
        with Meter() as progress:
            progress.stage("scoring")
            answers = score(arguments, progress)
        rows = measures(answers)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
