"""Is a known object found in whole photos, and is it missed where it is not there?

    python experiments/scene_photos.py [--name spot] [--model RUN] [--count 50] [--first 0]
                                       [--camera random] [--any-way-up] [--work DIR]
                                       [--json FILE]

The photos are path-traced, 640x480, of objects that stand on a table (`pose_frames.py`, upright):
spot, bob, dragon and cube in turn, under panoramas, among bodies of random colours. The model is an
encoder of one of them (`invgraph train scene`, or what `scene_pose.py train` leaves), so that three
quarters of the photos do not show what it looks for. Nothing is told but the lens.

- found_auroc: how well the score tells photos with the object from others; of random numbers 50 %.
- place_pct: photos with the object in which the finder's likeliest place is within a quarter of the
  object's diameter of its middle.
- success_pct: the pose is right: ADD below 10 % of the diameter; rotation_deg and below_10deg_pct
  are of all photos with the object.

With --camera random each photo goes through another camera's response (`camera_response.py`), and
measures are called `camera/NAME`. With --any-way-up the objects lie as they fall, for models that
`train scene --any-way-up` made, and measures are called `any_way_up/NAME`.

Seeds from 100 on are for development: the score's constants were chosen on 100 to 123.
"""

import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from camera_response import CameraResponse
from measures import Row, command_line, row, write
from pose_frames import Take, pose_frame
from pose_models import NAMES, model_file

from invgraph.evaluate.calibration_metrics import auroc
from invgraph.evaluate.pose_metrics import add_distance, pose_error
from invgraph.fitting.pose import load_object
from invgraph.fitting.scene.find import find_scene
from invgraph.fitting.scene.scene_model import load_scene_model
from invgraph.geometry.sampling import sample_surface
from invgraph.geometry.transforms import apply
from invgraph.runs.progress import Meter

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
SUCCESS = 0.1  # of the diameter


def kind(arguments: Any) -> list[str]:
    """What is special about the photos, in the names of measures and files."""
    told = (("camera", arguments.camera), ("any_way_up", arguments.any_way_up))
    return [name for name, given in told if given]


def answers(arguments: Any) -> list[dict[str, Any]]:
    """One line per photo; those in the file are not looked at again."""
    model = load_scene_model(arguments.model)
    known = load_object(model_file(arguments.name, DATA, arguments.work / "models"))
    points, _ = sample_surface(known.mesh, 5000, torch.Generator().manual_seed(0))
    parts = ["photos", *kind(arguments), arguments.model.name, str(model.facts["steps"])]
    file = arguments.work / f"{'_'.join(parts)}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    there = {line["seed"]: line for line in map(json.loads, lines)}
    seeds = range(arguments.first, arguments.first + arguments.count)
    with Meter() as progress, file.open("a") as kept:
        progress.stage(arguments.name)
        for done, seed in enumerate(seeds):
            if seed in there:
                continue
            take = Take(NAMES[seed % len(NAMES)], seed, upright=not arguments.any_way_up)
            frame = pose_frame(take, DATA, arguments.work / "frames")
            image = frame.image
            if arguments.camera is not None:
                image = CameraResponse.random(seed).photograph(image, seed)
            began = time.process_time()
            found = find_scene(model, image, frame.camera.lens)
            line = {
                "seed": seed,
                "name": take.name,
                "score": found.score,
                "agreement": found.agreement,
                "heat": float(found.heat.present),
                "cpu_s": time.process_time() - began,
            }
            if take.name == arguments.name:
                truth = frame.camera_from_object
                middle = apply(truth, known.centre[None])
                pixel, depth = frame.camera.lens.project(middle)
                places, _ = found.heat.top(1)
                size = float(frame.camera.focal.mean()) * known.diameter / float(depth)
                line["off"] = float((places[0, 0, :2] - pixel[0]).norm()) / size
                pose = found.camera_from_object
                line["add"] = add_distance(points, pose, truth) / known.diameter
                line["rotation_deg"] = pose_error(pose, truth)[1]
            there[seed] = line
            print(json.dumps(line), file=kept, flush=True)
            progress.update((done + 1) / len(seeds), f"{done + 1} of {len(seeds)} photos")
    return [there[seed] for seed in seeds]


def measures(lines: list[dict[str, Any]], name: str, of: str) -> list[Row]:
    own = [line for line in lines if line["name"] == name]
    other = [line for line in lines if line["name"] != name]
    rows = []
    for key, label in (("agreement", "found_auroc"), ("heat", "finder_auroc")):
        both = [[line[key] for line in some] for some in (own, other)]
        rows.append(row(f"{label}/{of}", 100 * auroc(*both), "%", "higher"))
    share = len(own) / 100
    right = [line for line in own if line["add"] < SUCCESS]
    confident = [line for line in other if line["score"] >= 0.5]
    return [
        *rows,
        row(f"place_pct/{of}", sum(line["off"] < 0.25 for line in own) / share, "%", "higher"),
        row(f"success_pct/{of}", len(right) / share, "%", "higher"),
        row(f"found_of_right_pct/{of}",
            100 * sum(line["score"] >= 0.5 for line in right) / max(len(right), 1), "%", "higher"),
        row(f"found_of_absent_pct/{of}", 100 * len(confident) / len(other), "%"),
        row(f"rotation_deg/{of}", median(line["rotation_deg"] for line in own), "deg"),
        row(f"below_10deg_pct/{of}", sum(line["rotation_deg"] < 10 for line in own) / share, "%",
            "higher"),
        row(f"cpu_s/{of}", median(line["cpu_s"] for line in lines), "s"),
    ]  # fmt: skip


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument("--model", type=Path, help="WORK/scene_NAME_0 when left out")
    parser.add_argument("--count", type=int, default=50, help="photos")
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--camera", choices=("random",), help="that takes the photos")
    parser.add_argument("--any-way-up", action="store_true", help="objects lie as they fall")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_pose")
    arguments = parser.parse_args()
    if arguments.model is None:
        arguments.model = arguments.work / f"scene_{arguments.name}_0"
    of = "/".join([*kind(arguments), arguments.name])
    write(measures(answers(arguments), arguments.name, of), arguments.json)


if __name__ == "__main__":
    main()
