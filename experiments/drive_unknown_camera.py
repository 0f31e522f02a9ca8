"""What comes out of drives filmed by an unknown camera?

    python experiments/drive_unknown_camera.py [CLIP ...] [--minutes 20] [--json FILE]

camvid_drive (101 frames of a street, every second of the source's) and highway_video (221 frames of
a motorway). Nothing is known about the cameras: depth, motion and focal length are learned together
(recipe `motion`), each clip by itself. focal_over_width is the focal length in image widths;
CamVid's true one is near 1.2 to 1.3. infinite_pct is the share of pixels in the lower half of the
images, where the road and the cars are, that are further than 20 times the nearest tenth of the
image: holes that cars moving along with the camera leave in depth that is learned naively. Panels
of photo, depth and uncertainty: WORK/<clip>.png.

By odometry instead (`--found`), motion and lens are found first and depth is taught, as in the
recipe `multiview`.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measures import command_line, row, write
from PIL import Image

from invgraph.data import Capture
from invgraph.data.recordings import read_recording
from invgraph.encoders import DepthModel, load_depth_model
from invgraph.geometry.color import srgb_from_linear
from invgraph.train import RECIPES, train_depth
from invgraph.train.previews import panel

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
CLIPS = {
    "camvid_drive": ("camvid_drive", (192, 256)),
    "highway_video": ("highway_video/test_video.mp4", (160, 288)),
}
SHOWN, INFINITE = 6, 20.0


def look(model: DepthModel, capture: Capture, file: Path) -> float:
    """Write panels of a clip; the share of pixels in the lower half that are infinitely far."""
    step = max(len(capture.frames) // SHOWN, 1)
    images = torch.stack([frame.load()[0] for frame in capture.frames[::step]])
    belief = model(images)
    Image.fromarray(panel(srgb_from_linear(images), belief)).save(file)
    lower = belief.depth[:, belief.depth.shape[1] // 2 :].flatten(1).numpy()
    near = np.quantile(lower, 0.1, axis=1, keepdims=True)
    return 100 * float((lower > INFINITE * near).mean())


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("clips", nargs="*", default=list(CLIPS), metavar="CLIP")
    parser.add_argument("--minutes", type=float, default=20.0, help="for each clip")
    parser.add_argument("--steps", type=int, default=20000, help="at most")
    parser.add_argument("--found", action="store_true", help="motion by odometry, not learned")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "drive_unknown_camera")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.clips if name not in CLIPS]
    if unknown:
        parser.error(f"there is no clip {unknown[0]!r}; choose among {', '.join(CLIPS)}")

    rows = []
    recipe = RECIPES["multiview" if arguments.found else "motion"]
    for name in arguments.clips:
        place, (height, width) = CLIPS[name]
        capture = read_recording(DATA / place)
        settings = replace(
            recipe, steps=arguments.steps, seed=arguments.seed, height=height, width=width
        )
        out = arguments.work / (f"{name}_found" if arguments.found else name)
        trained = train_depth(
            [capture],
            out,
            settings,
            resume=True,
            budget_s=60 * arguments.minutes,
            work=arguments.work,
        )
        model = load_depth_model(trained.model)
        suffix = f"{name}/found" if arguments.found else name
        holes = look(model, capture, arguments.work / f"{suffix.replace('/', '_')}.png")
        rows.append(row(f"focal_over_width/{suffix}", model.facts["focal"][0], "", "higher"))
        rows.append(row(f"infinite_pct/{suffix}", holes, "%", "lower"))
        rows.append(row(f"seconds/{suffix}", trained.seconds, "s", "lower"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
