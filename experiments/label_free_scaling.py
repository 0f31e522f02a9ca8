"""How many labels is a training without any worth, and how many photos?

    python experiments/label_free_scaling.py [--photos 0 10 40] [--labels 10 40 160] [--minutes 90]
                                             [--count 60] [--name spot] [--work DIR] [--json FILE]

Two ways to an encoder that tells the pose of a known object:

- label_free: dreams, and photos without labels to wake to: the encoder that `scene_pose.py train`
  leaves in the same folder goes on for a ninth of its time, with so many photos; with 0 of them it
  dreams on.
- supervised: the same network from so many photos with their true poses, in the same ninth of the
  time, from nothing. Windows of the photos are cut and photographed anew as dreams are, so that it
  has as many variations of each as ours has.

The photos are path-traced crops of the split dev (`scene_crops.py`). rotation_deg/WAY/NUMBER is the
median error of the encoder's likeliest pose, below_10deg_pct the share below 10 degrees, both on
the same crops of the split test, whose panoramas and material neither has seen. The curve is drawn
to label_free_scaling.svg. Answers are kept, and not computed twice.
"""

import json
import math
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measures import Row, command_line, drawing, row, write
from pose_models import NAMES, model_file
from scene_crops import Crop, scene_crop
from scene_pose import DATA, PHOTOS, ROOT, TOGETHER, Views, answer, crop_of, go_on, unlabelled

from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.pose import load_object
from invgraph.fitting.scene.memory import Memory, recall
from invgraph.fitting.scene.object_prior import POSE, ObjectPrior, object_prior
from invgraph.fitting.scene.scene_model import SceneModel, load_scene_model
from invgraph.geometry import transforms
from invgraph.report.charts import Axis, line_chart
from invgraph.runs.progress import Meter, Progress
from invgraph.train.dreams import photograph
from invgraph.train.settings import SceneSettings

SEED = 0


def supervised(arguments: Any, labels: int, progress: Progress) -> SceneModel:
    """An encoder from labelled photos alone."""
    file = model_file(arguments.name, DATA, arguments.work / "models")
    known, settings = object_prior(load_object(file)), SceneSettings()
    memories = [labelled(arguments, known, index) for index in range(labels)]
    torch.manual_seed(SEED)
    encoder = SceneEncoder(known.prior)
    optimizer = torch.optim.AdamW(encoder.parameters(), settings.rate, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(SEED)
    began, budget, share = time.monotonic(), 60 * arguments.minutes / 9, 0.0
    while share < 1:
        images, lens, values, _ = recall(memories, known.prior, settings.batch, generator)
        shown = photograph(images.movedim(-1, 1), generator)
        with torch.autocast("cpu", torch.bfloat16):
            belief, _ = encoder(shown.contiguous(memory_format=torch.channels_last), lens)
        loss = -belief.marginal([POSE]).log_prob(values).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (0.5 + 0.5 * math.cos(math.pi * share))
        optimizer.step()
        share = min((time.monotonic() - began) / budget, 1.0)
        progress.update(share, f"{labels} labels, loss {float(loss.detach()):.2f}")
    return SceneModel.of(encoder.eval(), Finder(), known, {})


def labelled(arguments: Any, known: ObjectPrior, index: int) -> Memory:
    """A crop and its true pose, which is all that is told: the rest is as the prior has it."""
    item = scene_crop(Crop(arguments.name, index, "dev"), DATA, arguments.work / "crops")
    middle = transforms.pose(torch.eye(3), known.centre)
    values = known.prior.given(item.lens).sample(1, torch.Generator().manual_seed(SEED))
    values = {**values, POSE: (item.camera_from_object @ middle)[None]}
    return Memory(item.image, item.lens, values, torch.ones(1), 1.0)


def errors(arguments: Any, model: SceneModel) -> list[float]:
    """Degrees, on the crops that are scored."""
    known = load_object(model_file(arguments.name, DATA, arguments.work / "models"))
    found: list[float] = []
    for first in range(0, arguments.count, TOGETHER):
        which = range(first, min(first + TOGETHER, arguments.count))
        views = Views.of_crops([crop_of(arguments, index) for index in which])
        found += [line["rotation_deg"] for line in answer("encoder", model, views, known)]
    return found


def curves(found: dict[tuple[str, int], list[float]]) -> str:
    """Both curves, as an SVG file; 0 photos are drawn at 1."""
    points = sorted((way, max(number, 1), median(some)) for (way, number), some in found.items())
    stages, x, y = zip(*points, strict=True)
    axes = Axis("photos, or labels"), Axis("error", "deg", log=True)
    return drawing(line_chart(x, y, stages, *axes, smooth=False))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--photos", type=int, nargs="*", default=[0, 10, 40])
    parser.add_argument("--labels", type=int, nargs="*", default=[10, 40, 160])
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument(
        "--minutes", type=float, default=90.0, help="of the training without labels"
    )
    parser.add_argument("--count", type=int, default=60, help="crops that are scored")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_pose")
    arguments = parser.parse_args()
    arguments.split = "test"
    file = arguments.work / f"scaling_{arguments.name}.jsonl"
    kept = map(json.loads, file.read_text().splitlines() if file.exists() else [])
    found = {(line["way"], line["number"]): line["degrees"] for line in kept}
    wanted = [("label_free", n) for n in arguments.photos]
    wanted += [("supervised", n) for n in arguments.labels]
    for way, number in wanted:
        if len(found.get((way, number), [])) == arguments.count:
            continue
        if way == "label_free":
            photos = [unlabelled(arguments, index) for index in range(number)]
            later = {0: "dreams", PHOTOS: "awake"}.get(number, f"photos_{number}")
            model = load_scene_model(go_on(arguments, SEED, later, photos))
        else:
            with Meter() as progress:
                progress.stage("learning from labels")
                model = supervised(arguments, number, progress)
        degrees = found[way, number] = errors(arguments, model)
        with file.open("a") as lines:
            print(json.dumps({"way": way, "number": number, "degrees": degrees}), file=lines)
    rows: list[Row] = []
    for way, number in wanted:
        some = found[way, number]
        below = 100 * sum(angle < 10 for angle in some) / len(some)
        rows.append(row(f"rotation_deg/{way}/{number}", median(some), "deg"))
        rows.append(row(f"below_10deg_pct/{way}/{number}", below, "%", "higher"))
    if len(found) > 1:
        (arguments.work / "label_free_scaling.svg").write_text(curves(found))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
