"""Where does the main light come from, told from one image of a known object?

    python experiments/scene_light.py [--name spot] [--model RUN] [--count 200] [--split test]
                                      [--work DIR] [--json FILE]

The crops of `scene_crops.py`, whose panoramas light the object. The truth is the mean direction of
all light that arrives where the object is, path-traced as a light probe there: the sky, what the
table and other things reflect, what they keep away. Light is solved as spherical harmonics of order
2 while the pose is found, and its main direction is that of its order 1.

Where the brightest pixels are is another question, and harder: light_angle_deg/brightest is how far
the same answers are from the middle of the brightest tenth of the panorama's upper half. Panoramas
differ, so the median of each is told, too.

light_angle_deg/mitsuba is the median over all crops; light_in_90_pct the share of crops in which
the truth is in the cone that should hold it in 90 %; light_angle_deg/up what is had by saying that
light comes from straight above. A probe takes about 7 CPU seconds, the first time only.
"""

import os
from pathlib import Path
from statistics import median

import torch
from measures import command_line, row, write
from pose_models import NAMES
from scene_crops import Crop, light_probe, scene_crop
from scene_pose import TOGETHER, Views
from torch import Tensor

from invgraph.fitting.scene.descent import descend
from invgraph.fitting.scene.main_light import believed_direction
from invgraph.fitting.scene.scene_model import load_scene_model
from invgraph.fitting.scene.sharpen import sharpened
from invgraph.geometry.transforms import rotate
from invgraph.runs.progress import Meter

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))


def degrees(a: Tensor, b: Tensor) -> list[float]:
    return (a * b).sum(-1).clamp(-1, 1).acos().rad2deg().tolist()


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument("--model", type=Path, help="WORK/scene_NAME_0 when left out")
    parser.add_argument("--count", type=int, default=200, help="crops")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_pose")
    arguments = parser.parse_args()
    model = load_scene_model(arguments.model or arguments.work / f"scene_{arguments.name}_0")

    generator = torch.Generator().manual_seed(0)
    off: list[float] = []
    up: list[float] = []
    brightest: list[float] = []
    inside: list[bool] = []
    panoramas: list[str] = []
    with Meter() as progress:
        progress.stage("light")
        for first in range(0, arguments.count, TOGETHER):
            seeds = range(first, min(first + TOGETHER, arguments.count))
            items = [
                scene_crop(Crop(arguments.name, s, arguments.split), DATA, arguments.work / "crops")
                for s in seeds
            ]
            views = Views.of_crops(items).closer(model)
            guess, _ = model(views.images, views.lens)
            prior = model.known.prior.given(views.lens)
            ends = descend(prior, guess, views.images, views.lens)
            belief = sharpened(prior, model.known.detailed, guess, ends, views.images, views.lens)
            direction, cone = believed_direction(belief, 0.9, generator)
            folder = arguments.work / "crops"
            probes = [light_probe(item.crop, DATA, folder) for item in items]
            truth, bright = (
                rotate(views.camera_from_view.mT, torch.stack(light)[:, None])[:, 0]
                for light in (probes, [item.light for item in items])
            )
            angles = degrees(direction, truth)
            off += angles
            inside += [a <= c for a, c in zip(angles, cone.rad2deg().tolist(), strict=True)]
            brightest += degrees(direction, bright)
            # The objects stand upright, y up.
            up += degrees(views.truth[:, :3, 1], truth)
            panoramas += [item.panorama for item in items]
            progress.update(seeds.stop / arguments.count, f"{seeds.stop} of {arguments.count}")
    rows = [
        row("light_angle_deg/mitsuba", median(off), "deg"),
        row("light_angle_deg/up", median(up), "deg"),
        row("light_angle_deg/brightest", median(brightest), "deg"),
        row("light_in_90_pct", 100 * sum(inside) / len(inside), "%", "higher"),
    ]
    for name in sorted(set(panoramas)):
        own = [a for a, p in zip(off, panoramas, strict=True) if p == name]
        rows.append(row(f"light_angle_deg/mitsuba/{name}", median(own), "deg"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
