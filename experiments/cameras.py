"""How exact are cameras that are found from photos alone?

    python experiments/cameras.py [NAME ...] [--work FOLDER] [--json FILE]

Hides the cameras of recorded captures, finds them by structure from motion and compares: the mean
distance between camera centres after the best similarity, in percent of the diagonal of the true
centres' bounding box; the share of photos that got a camera; wall time. Captures: fountain_p11
(measured cameras; 11 photos, about 30 s of one core), mary_rose (turntable with masks, every second
photo; its given cameras are an estimate themselves, good to about half a degree) and desk_objects
(every sixth frame; no cameras given, its tag board is not used). COLMAP's defaults give 0.034 on
fountain_p11; 0.02 is expected here.
"""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch
from measures import command_line, row, write

from invgraph.data import Capture, read_capture
from invgraph.evaluate.similarity import camera_centre_pct
from invgraph.fitting.cameras import recover_cameras, recovered_quality
from invgraph.runs.progress import Meter

ROOT = Path(__file__).resolve().parent.parent
STRIDE = {"mary_rose": 2, "desk_objects": 6, "highway_video": 4}
FILE = {"highway_video": "test_video.mp4"}


def without_cameras(capture: Capture, stride: int) -> Capture:
    """Every ``stride``-th photo, its camera hidden."""
    frames = tuple(replace(frame, camera=None, lens=None) for frame in capture.frames[::stride])
    return replace(capture, frames=frames, test=(0,), truth=None, points=None)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument(
        "names", nargs="*", default=["fountain_p11", "mary_rose", "desk_objects"], metavar="NAME"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "cameras")
    arguments = parser.parse_args()

    data = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
    rows = []
    for name in arguments.names:
        given = read_capture(data / name / FILE.get(name, ""))
        hidden = without_cameras(given, STRIDE.get(name, 1))
        work = arguments.work / name
        shutil.rmtree(work, ignore_errors=True)
        began = time.perf_counter()
        with Meter() as progress:
            found = recover_cameras(hidden, work, progress=progress)
        quality = recovered_quality(work)
        measures = {
            "registered_pct": (100 * quality.registered / quality.photos, "%", "higher"),
            "seconds": (time.perf_counter() - began, "s", "lower"),
        }
        if given.has_cameras:
            true = {frame.name: frame.known_camera.centre for frame in given.frames}
            error = camera_centre_pct(
                torch.stack([frame.known_camera.centre for frame in found.frames]),
                torch.stack([true[frame.name] for frame in found.frames]),
            )
            measures["camera_centre_pct"] = (error, "%", "lower")
        print(f"{name}: {quality}")
        for measure, (value, unit, better) in measures.items():
            rows.append(row(f"{name}/{measure}", value, unit, better))
        write(rows, arguments.json)


if __name__ == "__main__":
    main()
