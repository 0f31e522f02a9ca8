"""``invgraph odometry``: how a camera moved, from its video alone."""

from pathlib import Path
from typing import Annotated

import tyro

from invgraph.cli.console import busy, say
from invgraph.cli.options import option


def odometry(
    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    /,
    out: Annotated[Path | None, option("RUN")] = None,
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    camera: Annotated[Path | None, option("FILE")] = None,
) -> None:
    """Find how the camera of a video moved, from the pictures alone.

    Writes the trajectory in TUM's and KITTI's format, points.ply, cameras.json, log.csv with the
    place of each frame and how well it agrees with others, a report, and recording.rrd for rerun's
    viewer. The unit of length is the usual depth, as one camera cannot tell metres. The focal
    length and the lens's distortion are found as well.

    Typical uses:
        invgraph odometry walk.mp4
        invgraph odometry frames --out runs/second_try --camera cam.json
        invgraph eval odometry runs/walk/trajectory_tum.txt groundtruth.txt

    Args:
        video: video, or folder of frames.
        out: run folder to write; runs/odometry_NAME_OF_THE_VIDEO when left out.
        resume: go on with the run in the run folder.
        camera: JSON file with the intrinsics to start from: px, py, u0, v0 (ViSP), K or cam_K, fx,
            fy, cx, cy (BOP), or fl_x (transforms.json).
    """
    say(f"reading {video}")
    from invgraph.data.recordings import read_recording
    from invgraph.fitting.motion.run_odometry import run_odometry
    from invgraph.report.measures import number
    from invgraph.runs.reader import finite

    with busy("decoding frames that are not in the cache yet"):
        capture = read_recording(video)
    folder = out if out is not None else Path("runs") / f"odometry_{capture.name}"
    result = run_odometry(capture, folder, camera=camera, resume=resume)
    found = result.metrics
    print(f"{'Placed':24} {found.get('placed')} of {found.get('frames')} frames")
    if (focal := finite(found.get("focal_px"))) is not None:
        print(f"{'Focal length':24} {number(focal, 'px')} px")
    for note in found.get("notes", []):
        print(f"{'Left out':24} {note}")
    print(f"{'Report':24} {result.report}")
