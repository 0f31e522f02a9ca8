"""``run_odometry``: the run that finds how a video's camera moved."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invgraph.data import Capture
from invgraph.data.intrinsics import read_intrinsics
from invgraph.data.point_files import encode_points
from invgraph.data.trajectory_files import write_kitti, write_tum
from invgraph.files.pictures import encode_png
from invgraph.fitting.motion.estimate import Motion, estimate_motion
from invgraph.fitting.motion.follow_camera import with_motion
from invgraph.fitting.motion.motion_files import read_motion, write_motion
from invgraph.geometry.lens import Lens
from invgraph.report import write_report
from invgraph.report.odometry_page import draw_points
from invgraph.report.rerun_log import write_rerun_log
from invgraph.runs.facts import RunFacts, facts_of, identity
from invgraph.runs.folder import CHECKPOINT, LOG, METRICS, RENDERS, RunFolder, check_out
from invgraph.runs.progress import Meter, Progress
from invgraph.runs.reader import KITTI, POINTS, TUM

REPORT = "report.html"
PREVIEWS = 6
SIDE = 640  # of pictures, pixels


@dataclass(frozen=True, eq=False)
class OdometryResult:
    """What came out.

    Attributes:
        motion: of the camera.
        metrics: what ``metrics.json`` holds.
        run: the run folder.
        report: the report page.
    """

    motion: Motion
    metrics: dict[str, Any]
    run: Path
    report: Path


def run_odometry(
    capture: Capture, out: str | Path, *, camera: str | Path | None = None, resume: bool = False
) -> OdometryResult:
    """Find how the camera moved, and write it: trajectory, points, cameras, report.

    ``checkpoint.safetensors`` holds the motion as soon as it is found; a run that is cut short
    before that begins anew when resumed.

    Args:
        capture: consecutive frames of one camera; cameras they have are not used.
        out: run folder to write.
        camera: JSON file with the intrinsics, in place of those of the capture.
        resume: go on with the run in ``out``; a finished one is returned as it is.

    Raises:
        ValueError: as for :func:`estimate_motion`; or the run folder is unusable.
    """
    out = Path(out)
    camera = None if camera is None else Path(camera)
    check_out(out, resume)
    frames = capture.frames
    lens = frames[0].known_lens
    if camera is not None:
        first = frames[0]
        lens = read_intrinsics(camera, first.image_path, first.size, as_stored=first.as_stored)
    known = None if lens is None else lens.facts
    facts = RunFacts(
        "odometry",
        capture.name,
        identity([capture], known),
        facts_of(capture),
        {"camera": None if camera is None else str(camera)},
    )
    with RunFolder(out, facts, resume) as folder, Meter() as progress:
        metrics = folder.finished() if resume else None
        motion = read_motion(folder.path / CHECKPOINT)
        if motion is None:
            progress.note(_opening(capture, lens))
            began = time.perf_counter()
            motion = estimate_motion(frames, lens, progress=progress.part(0.9))
            metrics = None
            spent = {"seconds": time.perf_counter() - began}
            write_motion(folder.path / CHECKPOINT, motion)
        else:
            spent = {}
        if metrics is None:
            metrics = _write(folder, capture, motion, spent, progress.part())
        report = folder.path / REPORT
        if not report.is_file():
            write_report(folder.path)
    return OdometryResult(motion, metrics, folder.path, report)


def _opening(capture: Capture, lens: Lens | None) -> str:
    height, width = capture.frames[0].size
    focal = "unknown" if lens is None else f"{float(lens.focal.mean()):.0f} px to start from"
    return f"{capture.name}: {len(capture.frames)} frames, {width}x{height}; focal length {focal}"


def _write(
    folder: RunFolder, capture: Capture, motion: Motion, spent: dict[str, float], progress: Progress
) -> dict[str, Any]:
    """Everything but the checkpoint; the result is ``metrics.json``."""
    progress.stage("writing trajectory, points and pictures")
    placed = with_motion(capture, motion)
    frames, points = placed.frames, placed.points
    assert points is not None
    folder.write(POINTS, encode_points(points))
    folder.write_cameras((frame.name, "train", frame.known_camera) for frame in frames)
    notes = _write_trajectory(folder, placed, motion)
    for shown in range(0, len(frames), -(-len(frames) // PREVIEWS)):
        picture = draw_points(frames[shown].thumbnail(SIDE), frames[shown].known_camera, points)
        name = f"{RENDERS}/preview_{motion.frames[shown]:06d}.png"
        folder.write(name, encode_png(picture))
        progress.update(shown / len(frames))
    metrics = {
        "complete": True,
        "frames": len(capture.frames),
        "placed": len(frames),
        "keyframes": len(motion.keyframes),
        "points": len(points),
        "focal_px": float(motion.lens.focal.mean()),
        "difference_median": float(motion.differences.median()),
        "skipped": list(placed.skipped),
        "notes": notes,
        **spent,
    }
    with contextlib.suppress(ImportError):
        photos = ((frame.name, frame.thumbnail(SIDE)) for frame in frames)
        write_rerun_log(folder.path, photos)
    folder.write_json(METRICS, metrics)
    write_report(folder.path)
    return metrics


def _write_trajectory(folder: RunFolder, placed: Capture, motion: Motion) -> list[str]:
    """The trajectory as TUM and KITTI have it and as ``log.csv``; the result says what is not."""
    trajectory = motion.trajectory
    write_tum(folder.path / TUM, trajectory)
    (folder.path / LOG).unlink(missing_ok=True)  # of a session that was cut short
    centres = trajectory.world_from_camera[:, :3, 3].tolist()
    for frame, second, (x, y, z), difference in zip(
        placed.frames,
        trajectory.times.tolist(),
        centres,
        motion.differences.tolist(),
        strict=True,
    ):
        folder.log(seconds=second, frame=frame.name, x=x, y=y, z=z, difference=difference)
    lost = len(placed.skipped)
    if not lost:
        write_kitti(folder.path / KITTI, trajectory)
        return []
    return [f"{KITTI} was left out: {lost} frames have no pose, which the format cannot say."]
