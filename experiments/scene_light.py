"""Where does the main light come from, told from one image of a known object?

    python experiments/scene_light.py [--name spot] [--seeds 0 1 2] [--count 200] [--split test]
                                      [--work DIR] [--json FILE]

The encoders that `scene_pose.py train` made, one per seed, look at the crops of `scene_crops.py`,
whose panoramas light the object. The truth is the mean direction of
all light that arrives where the object is, path-traced as a light probe there: the sky, what the
table and other things reflect, what they keep away. Light is solved as spherical harmonics of order
2 while the pose is found, and its main direction is that of its order 1.

Where the brightest pixels are is another question, and harder: light_angle_deg/brightest is how far
the same answers are from the middle of the brightest tenth of the panorama's upper half. Panoramas
differ, so the median of each is told, too.

light_angle_deg/mitsuba is the median over all crops and seeds, and each seed's follows;
light_in_90_pct is the share of answers in which the truth is in the cone that should hold it in
90 %; light_angle_deg/up what is had by saying that light comes from straight above. A probe takes
about 7 CPU seconds, the first time only.
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
from invgraph.fitting.scene.scene_model import SceneModel, load_scene_model
from invgraph.fitting.scene.sharpen import sharpened
from invgraph.geometry.transforms import rotate
from invgraph.runs.progress import Meter

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))


def degrees(a: Tensor, b: Tensor) -> list[float]:
    return (a * b).sum(-1).clamp(-1, 1).acos().rad2deg().tolist()


def looked_at(model: SceneModel, views: Views, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where the main light comes from, in the views' frames, and the 90 % cones about it."""
    guess, _ = model(views.images, views.lens)
    prior = model.known.prior.given(views.lens)
    ends = descend(prior, guess, views.images, views.lens)
    belief = sharpened(prior, model.known.detailed, guess, ends, views.images, views.lens)
    return believed_direction(belief, 0.9, generator)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--name", choices=NAMES, default="spot")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="encoders")
    parser.add_argument("--count", type=int, default=200, help="crops")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "scene_pose")
    arguments = parser.parse_args()
    models = [
        load_scene_model(arguments.work / f"scene_{arguments.name}_{seed}")
        for seed in arguments.seeds
    ]

    generator = torch.Generator().manual_seed(0)
    off: dict[int, list[float]] = {seed: [] for seed in arguments.seeds}
    up: list[float] = []
    brightest: list[float] = []
    inside: list[bool] = []
    panoramas: list[str] = []
    folder = arguments.work / "crops"
    with Meter() as progress:
        progress.stage("light")
        for first in range(0, arguments.count, TOGETHER):
            seeds = range(first, min(first + TOGETHER, arguments.count))
            items = [
                scene_crop(Crop(arguments.name, s, arguments.split), DATA, folder) for s in seeds
            ]
            probes = [light_probe(item.crop, DATA, folder) for item in items]
            panoramas += [item.panorama for item in items]
            for model, seed in zip(models, arguments.seeds, strict=True):
                views = Views.of_crops(items).closer(model)
                direction, cone = looked_at(model, views, generator)
                truth, bright = (
                    rotate(views.camera_from_view.mT, torch.stack(light)[:, None])[:, 0]
                    for light in (probes, [item.light for item in items])
                )
                angles = degrees(direction, truth)
                off[seed] += angles
                inside += [a <= c for a, c in zip(angles, cone.rad2deg().tolist(), strict=True)]
                brightest += degrees(direction, bright)
                # The objects stand upright, y up.
                up += degrees(views.truth[:, :3, 1], truth)
            progress.update(seeds.stop / arguments.count, f"{seeds.stop} of {arguments.count}")
    every = [angle for angles in off.values() for angle in angles]
    rows = [
        row("light_angle_deg/mitsuba", median(every), "deg"),
        row("light_angle_deg/up", median(up), "deg"),
        row("light_angle_deg/brightest", median(brightest), "deg"),
        row("light_in_90_pct", 100 * sum(inside) / len(inside), "%", "higher"),
    ]
    rows += [
        row(f"light_angle_deg/mitsuba/seed_{seed}", median(angles), "deg")
        for seed, angles in off.items()
    ]
    for name in sorted(set(panoramas)):
        own = [a for a, p in zip(every, panoramas * len(models), strict=True) if p == name]
        rows.append(row(f"light_angle_deg/mitsuba/{name}", median(own), "deg"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
