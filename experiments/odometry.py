"""How far does the motion found in a video drift?

    python experiments/odometry.py [NAME ...] [--json FILE]

Finds the camera's motion from the pictures alone and compares it with recorded poses after the best
similarity, since one camera cannot know its scale. redkitchen (600 frames, handheld): root mean
square distance of camera centres over all frames (ate_cm/redkitchen_600) and over 200 frames: every
stretch that starts at a multiple of 50 is aligned on its own and printed, the worst one and the one
with the longest path are reported (ate_cm/redkitchen_200 is the worst). The focal length in its
files is the depth camera's, 585 px; what the colour frames want is printed. kitti_drive_a (51 grey
frames, 60 m straight ahead): KITTI's drift, over segments of 10, 20, 30, 40 and 50 m because the
drive is shorter than the benchmark's 100 m. Its recorded rotations turn steadily over the first ten
frames although the pictures show a nodding car, so r_err is given without these as well. Wall time
on two cores. About 2 minutes when the machine is quiet.
"""

import os
import time
from pathlib import Path

import torch
from measures import command_line, row, write

from invgraph.data import Capture, read_capture
from invgraph.data.trajectory_files import Trajectory
from invgraph.evaluate.trajectory_metrics import align, ate_rmse, kitti_errors, path_length
from invgraph.fitting.motion import Motion, estimate_motion
from invgraph.runs.progress import Meter

ROOT = Path(__file__).resolve().parent.parent
FRAMES = {"redkitchen": 600, "kitti_drive_a": 51}
STRETCH, STEP = 200, 50  # frames
LENGTHS = (10.0, 20.0, 30.0, 40.0, 50.0)  # metres
STEADY = 10  # first frames of the drive whose recorded rotations are not the camera's


def recorded(capture: Capture, motion: Motion) -> Trajectory:
    """The true poses of the frames that were placed."""
    assert capture.truth is not None
    poses = [capture.truth.poses[index] for index in motion.frames]
    known = torch.stack([pose.double() for pose in poses if pose is not None])
    return Trajectory(torch.linalg.inv(known), motion.trajectory.times)


def part(trajectory: Trajectory, chosen: list[int]) -> Trajectory:
    return Trajectory(trajectory.world_from_camera[chosen], trajectory.times[chosen])


def ate_cm(found: Trajectory, true: Trajectory) -> float:
    return 100 * ate_rmse(align(found, true, scale=True)[0], true)


def handheld(motion: Motion, true: Trajectory) -> dict[str, tuple[float, str]]:
    stretches = []
    for first in range(0, FRAMES["redkitchen"] - STRETCH + 1, STEP):
        rows = [k for k, index in enumerate(motion.frames) if first <= index < first + STRETCH]
        here = part(true, rows)
        metres = float(path_length(here)[-1])
        off = ate_cm(part(motion.trajectory, rows), here)
        stretches.append((off, metres))
        print(f"  frames {first:3} to {first + STRETCH - 1}: {metres:.2f} m, {off:.2f} cm")
    return {
        "ate_cm/redkitchen_200": (max(stretches)[0], "cm"),
        "ate_cm/redkitchen_200_longest": (max(stretches, key=lambda pair: pair[1])[0], "cm"),
        "ate_cm/redkitchen_600": (ate_cm(motion.trajectory, true), "cm"),
    }


def drive(motion: Motion, true: Trajectory) -> dict[str, tuple[float, str]]:
    found = align(motion.trajectory, true, scale=True)[0]
    errors = kitti_errors(found, true, LENGTHS)
    rest = list(range(STEADY, len(motion.frames)))
    later = kitti_errors(part(found, rest), part(true, rest), LENGTHS[:-1])
    print(f"  from frame {STEADY} on: {later}")
    return {
        "ate_cm/kitti_drive_a": (ate_cm(motion.trajectory, true), "cm"),
        "t_err_pct/kitti_drive_a": (errors.t_err_pct, "%"),
        "r_err_deg_per_100m/kitti_drive_a": (errors.r_err_deg_per_100m, "deg/100 m"),
        "r_err_deg_per_100m/kitti_drive_a_later": (later.r_err_deg_per_100m, "deg/100 m"),
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("names", nargs="*", default=list(FRAMES), metavar="NAME")
    arguments = parser.parse_args()

    data = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
    rows = []
    for name in arguments.names:
        capture = read_capture(data / name)
        frames = capture.frames[: FRAMES[name]]
        began, spent = time.perf_counter(), time.process_time()
        with Meter() as progress:
            motion = estimate_motion(frames, frames[0].lens, progress=progress)
        seconds = time.perf_counter() - began
        print(
            f"{name}: {len(motion.frames)} of {len(frames)} frames placed, "
            f"{len(motion.keyframes)} keyframes, focal length {motion.lens.focal[0]:.1f} px, "
            f"{time.process_time() - spent:.0f} s of processor time"
        )
        measures = (handheld if name == "redkitchen" else drive)(motion, recorded(capture, motion))
        measures[f"seconds/{name}"] = (seconds, "s")
        for measure, (value, unit) in measures.items():
            rows.append(row(measure, value, unit))
        write(rows, arguments.json)


if __name__ == "__main__":
    main()
