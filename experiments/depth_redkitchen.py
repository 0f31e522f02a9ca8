"""Does depth that is learned from one video without labels beat the published recipe?

    python experiments/depth_redkitchen.py [--minutes 40] [--seed 0] [--work FOLDER] [--json FILE]

Frames 0-599 of redkitchen (7-Scenes) are learned from at 256x192, without their depth and poses.
Frames 600-699 are the test; every fifth has a sensor's depth. abs_rel and d1 are those of the
published protocol: each image scaled by its median, compared pixel by pixel at the sensor's size.

The sensor's focal length is 585 px, the colour camera's about 518: equal pixels are not equal rays.
abs_rel compares pixels all the same, as published figures on this data do; abs_rel_registered looks
at the estimate through the sensor's lens first.

- flat: the same depth everywhere.
- monodepth2_recipe: the published loss from our own pieces, a motion network beside the depth
  network; all its minutes are steps. It gets the lens that the files name.
- ours: motion by odometry, the depth of frames from one another, taught to the network. Its
  minutes count from the first frame on, so odometry and that depth leave fewer for steps.
- per_video: our network on the frames 0-599 themselves, wherever they have a sensor's depth: what
  training on the very video gives.
- per_video_multiview: the depth of the same frames from one another, before any network;
  per_video_multiview_frames says of how many of them.

seconds/ours and seconds/per_video are wall time from the first frame on. WORK keeps everything, so
that a stopped run goes on, and test_*.png: photo, depth and uncertainty of test frames.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measures import Row, command_line, row, write
from PIL import Image
from torch import Tensor

from invgraph.data import Capture, read_capture
from invgraph.encoders import DepthModel, load_depth_model
from invgraph.evaluate.depth_score import DepthScore, score_depth, summarise
from invgraph.geometry.color import srgb_from_linear
from invgraph.runs.progress import Meter
from invgraph.train import RECIPES, train_depth
from invgraph.train.clips import Clip
from invgraph.train.prepare import prepare
from invgraph.train.previews import panel
from invgraph.train.supervision import Teaching

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
LEARNED = 600  # frames; the others are the test
SHOWN = 5
SENSOR_FOCAL, SENSOR_SIZE = 585.0, (480, 640)  # of the depth camera, pixels


def measured(capture: Capture, first: int, last: int) -> list[tuple[int, Tensor]]:
    """Frames with a sensor's depth, for scoring."""
    assert capture.truth is not None
    found = [(i, capture.truth.depth[i]) for i in range(first, last)]
    return [(i, depth.load()) for i, depth in found if depth is not None]


def registered(values: Tensor, focal: float) -> Tensor:
    """A map of the colour camera as the sensor, at the same place, would see it.

    Args:
        values: any size.
        focal: of the colour camera, in image widths.
    """
    height, width = SENSOR_SIZE
    shrink = focal * width / SENSOR_FOCAL
    grid = torch.nn.functional.affine_grid(
        torch.tensor([[[shrink, 0.0, 0.0], [0.0, shrink, 0.0]]]),
        [1, 1, height, width],
        align_corners=False,
    )
    return torch.nn.functional.grid_sample(
        values[None, None], grid, padding_mode="border", align_corners=False
    )[0, 0]


def scored(
    depth: Tensor, sigma: Tensor | None, focal: float, truth: Tensor
) -> tuple[DepthScore, DepthScore]:
    """Scores pixel by pixel, and along the same rays."""
    turned = 1 / registered(1 / depth, focal)
    spread = None if sigma is None else registered(sigma, focal)
    return score_depth(depth, truth, sigma), score_depth(turned, truth, spread)


def tested(
    model: DepthModel, capture: Capture, first: int = LEARNED, last: int | None = None
) -> list[tuple[DepthScore, DepthScore]]:
    """Scores of a model's depth of frames; the test's when none are named."""
    scores = []
    for index, truth in measured(capture, first, last or len(capture.frames)):
        belief = model(capture.frames[index].load()[0][None])
        focal = model.facts["focal"][0]
        scores.append(scored(belief.depth[0], belief.sigma[0], focal, truth))
    return scores


def flat(capture: Capture) -> list[tuple[DepthScore, DepthScore]]:
    """Scores of the same depth everywhere, on the test frames."""
    some = measured(capture, LEARNED, len(capture.frames))
    return [scored(torch.ones_like(truth), None, 1.0, truth) for _, truth in some]


def taught(clip: Clip, teaching: Teaching, capture: Capture) -> list[tuple[DepthScore, DepthScore]]:
    """Scores of the video's own frames, as far as their depth was found."""
    assert clip.lens is not None
    focal = float(clip.lens.focal[0]) / clip.lens.width
    names = {frame.name: place for place, frame in enumerate(clip.frames)}
    scores = []
    for index, truth in measured(capture, 0, LEARNED):
        place = names.get(capture.frames[index].name)
        if place is not None and (teaching.weight[place] > 0).any():
            depth = torch.from_numpy(teaching.log_depth[place].astype(np.float32)).exp()
            scores.append(scored(depth, None, focal, truth))
    return scores


def rows(
    name: str, scores: Sequence[tuple[DepthScore, DepthScore]], seconds: float | None
) -> list[Row]:
    found, along_rays = (summarise(part) for part in zip(*scores, strict=True))
    entries = [
        row(f"abs_rel/{name}", found["abs_rel"], "", "lower"),
        row(f"d1/{name}", found["d1"], "", "higher"),
        row(f"abs_rel_registered/{name}", along_rays["abs_rel"], "", "lower"),
        row(f"d1_registered/{name}", along_rays["d1"], "", "higher"),
        row(f"scale_ratio_spread/{name}", along_rays["scale_ratio_spread"], "", "lower"),
    ]
    if seconds is not None:
        entries.append(row(f"seconds/{name}", seconds, "s", "lower"))
    return entries


def picture(model: DepthModel, capture: Capture, file: Path) -> None:
    """Photo, depth and uncertainty of some test frames."""
    chosen = range(LEARNED, len(capture.frames), (len(capture.frames) - LEARNED) // SHOWN)
    images = torch.stack([capture.frames[i].load()[0] for i in chosen])
    belief = model(images)
    Image.fromarray(panel(srgb_from_linear(images), belief)).save(file)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--minutes", type=float, default=40.0, help="for each of both trainings")
    parser.add_argument("--steps", type=int, default=20000, help="at most, for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("ours", "monodepth2_recipe"), help="train one of them")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "depth_redkitchen")
    arguments = parser.parse_args()

    capture = read_capture(DATA / "redkitchen")
    learned = replace(capture, frames=capture.frames[:LEARNED], test=(), truth=None, points=None)
    found = rows("flat", flat(capture), None)
    for name, recipe in (("ours", "multiview"), ("monodepth2_recipe", "monodepth2")):
        if arguments.only not in (None, name):
            continue
        out = arguments.work / name
        settings = replace(RECIPES[recipe], steps=arguments.steps, seed=arguments.seed)
        began, spent = time.perf_counter(), 0.0
        if name == "ours":
            with Meter() as progress:
                clips, teachings, _ = prepare([learned], settings, arguments.work, progress)
            spent = time.perf_counter() - began
            assert teachings[0] is not None
            scores = taught(clips[0], teachings[0], capture)
            found += rows("per_video_multiview", scores, spent)
            found.append(row("per_video_multiview_frames", len(scores), "", "higher"))
        trained = train_depth(
            [learned],
            out,
            settings,
            resume=True,
            budget_s=60 * arguments.minutes - spent,
            work=arguments.work,
        )
        model = load_depth_model(trained.model)
        found += rows(name, tested(model, capture), spent + trained.seconds)
        found.append(row(f"steps/{name}", trained.steps, "", "higher"))
        if name == "ours":
            scores = tested(model, capture, 0, LEARNED)
            found += rows("per_video", scores, spent + trained.seconds)
        picture(model, capture, arguments.work / f"test_{name}.png")
    write(found, arguments.json)


if __name__ == "__main__":
    main()
