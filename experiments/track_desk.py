"""How well, and how fast, are known objects followed through a real video?

    python experiments/track_desk.py [dragon] [cube] [--json FILE]

All 99 frames of desk_objects (640x480), from the pose in the first frame alone. No colours are
told, as the cube's file has none and the dragon's says red of a yellow one; the tracker learns them
from the first frame. The model files have y up and the given poses z up, so these are turned.

translation_mm is the median distance to where the tag board says the object is: its pose in frame i
is grid_i inverse(grid_0) init. The board itself is good to about 1 cm, less when the camera moves;
agreement_mm tells how far the dragon is, relative to the cube, from where it was in the first frame
(median), and says the same of both trackers without the board. silhouette_iou compares what the
dragon covers at its pose with the pixels that are yellow: hue 36 to 58 degrees, saturation above
0.3, value above 0.3, the largest connected region of those within 30 px of it.
seconds_per_frame is the median time of both trackers together, decoding left out.
"""

import json
import os
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measures import command_line, row, write
from PIL import Image
from scipy import ndimage
from torch import Tensor

from invgraph.data import read_capture
from invgraph.fitting.pose import KnownObject, load_object, track
from invgraph.fitting.pose.window import crop_window
from invgraph.geometry.camera import Camera
from invgraph.geometry.transforms import difference
from invgraph.runs.progress import Meter

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data")) / "desk_objects"
BESIDE_PX = 30


def start(name: str) -> Tensor:
    """``camera_from_object`` in the first frame, of the frame of the model's file."""
    given = torch.tensor(json.loads((DATA / "init" / f"{name}.json").read_text())).reshape(4, 4)
    z_up_from_y_up = torch.tensor(
        [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
    return given @ z_up_from_y_up


def colorless(name: str) -> KnownObject:
    """The object's shape."""
    return load_object(DATA / "models" / name / f"{name}.obj").painted(None)


def by_board(init: Tensor) -> Tensor:
    """The object's pose in every frame, from the tag board."""
    grid = torch.tensor(json.loads((DATA / "apriltag_data.json").read_text())["grid"])
    return grid @ torch.linalg.inv(grid[0]) @ init


def covered(model: KnownObject, camera: Camera, pose: Tensor) -> np.ndarray:
    """Pixels that the object covers."""
    mask = np.zeros((camera.height, camera.width), bool)
    window = crop_window(model, camera, pose, 0)
    if window is not None:
        rows = slice(window.top, window.top + window.camera.height)
        mask[rows, window.left : window.left + window.camera.width] = window.covered.numpy()
    return mask


def yellow(path: Path, near: np.ndarray) -> np.ndarray:
    """The largest yellow region near a mask."""
    hue, saturation, value = np.moveaxis(np.asarray(Image.open(path).convert("HSV")) / 255, -1, 0)
    is_yellow = (hue > 0.1) & (hue < 58 / 360) & (saturation > 0.3) & (value > 0.3)
    is_yellow &= ndimage.binary_dilation(near, iterations=BESIDE_PX)
    labelled: Any = ndimage.label(is_yellow)
    regions = labelled[0]
    sizes = np.bincount(regions.ravel())
    return is_yellow & (regions == 1 + sizes[1:].argmax()) if len(sizes) > 1 else is_yellow


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("objects", nargs="*", default=["dragon", "cube"])
    options = parser.parse_args()
    if unknown := set(options.objects) - {"dragon", "cube"}:
        parser.error(f"{', '.join(sorted(unknown))}: choose among dragon and cube")
    capture = read_capture(DATA)
    lens = capture.frames[0].lens
    assert lens is not None
    poses, seconds, rows = {}, {}, []
    with Meter() as progress:
        for count, name in enumerate(options.objects, 1):
            progress.stage(name, count / len(options.objects))
            model = colorless(name)
            init = start(name)
            reference, found, overlaps = by_board(init), [], []
            seconds[name] = []
            for index, tracked in enumerate(track(capture.frames, lens, model, init)):
                found.append(tracked.belief.pose)
                seconds[name].append(tracked.seconds)
                if name == "dragon":
                    mine = covered(model, Camera(lens, torch.eye(4)), tracked.belief.pose)
                    theirs = yellow(tracked.frame.image_path, mine)
                    overlaps.append((mine & theirs).sum() / max((mine | theirs).sum(), 1))
                progress.update(
                    (index + 1) / len(capture.frames), f"score {tracked.belief.score:.2f}"
                )
            poses[name] = torch.stack(found)
            away = difference(poses[name], reference)
            rows += [
                row(f"translation_mm/{name}", 1e3 * float(away[:, :3].norm(dim=1).median()), "mm"),
                row(
                    f"rotation_deg/{name}",
                    float(away[:, 3:].norm(dim=1).median().rad2deg()),
                    "deg",
                ),
            ]
            if overlaps:
                rows.append(row("silhouette_iou/dragon", median(overlaps), "", "higher"))
    together = [sum(times) for times in zip(*seconds.values(), strict=True)]
    rows.append(row("seconds_per_frame", median(together), "s"))
    if len(poses) == 2:
        relative = torch.linalg.inv(poses["cube"]) @ poses["dragon"]
        moved = difference(relative[:1], relative)
        rows.append(row("agreement_mm", 1e3 * float(moved[:, :3].norm(dim=1).median()), "mm"))
    write(rows, options.json)


if __name__ == "__main__":
    main()
