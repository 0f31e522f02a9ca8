"""``follow_camera``: from a recording to the same frames with cameras."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from invgraph.data.capture import Capture
from invgraph.files.atomic import fingerprint
from invgraph.fitting.motion.estimate import Motion, estimate_motion
from invgraph.fitting.motion.motion_files import read_motion, write_motion
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.runs.progress import Progress

_VERSION = 3  # of the files in the work folder


def follow_camera(capture: Capture, work: Path, *, progress: Progress | None = None) -> Capture:
    """Give the frames of a recording the cameras that odometry finds.

    Args:
        capture: consecutive frames of one camera; cameras they have are not used.
        work: folder for what is found; the next call with the same frames finds it there.
        progress: hears the stages.

    Returns:
        The frames that were placed, with cameras and ``points``; the others are listed in
        ``skipped``. Unit and axes of the world are those of :func:`estimate_motion`.

    Raises:
        ValueError: as for :func:`estimate_motion`.
    """
    frames = capture.frames
    lens = frames[0].known_lens if frames else None
    known = None if lens is None else lens.facts
    prints = [fingerprint(frame.image_path) for frame in frames]
    facts = str((prints, known, [frame.as_stored for frame in frames[:1]], _VERSION))
    file = work / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"
    motion = read_motion(file)
    if motion is None:
        motion = estimate_motion(frames, lens, progress=progress)
        write_motion(file, motion)
    return with_motion(capture, motion)


def with_motion(capture: Capture, motion: Motion) -> Capture:
    """The frames that a motion places, with their cameras, and its points; float32."""
    frames = capture.frames
    poses = transforms.invert(motion.trajectory.world_from_camera).float()
    lens = motion.lens.to(torch.float32)
    placed = motion.frames
    held = set(capture.test)
    lost = sorted(set(range(len(frames))) - set(placed))
    reasons = [f"{frames[i].name}: odometry lost it" for i in lost]
    return replace(
        capture,
        frames=tuple(
            replace(frames[i], camera=Camera(lens, pose), lens=None)
            for i, pose in zip(placed, poses, strict=True)
        ),
        test=tuple(place for place, i in enumerate(placed) if i in held),
        truth=None if capture.truth is None else capture.truth.only(placed),
        box=None,
        points=motion.points.float(),
        skipped=(*capture.skipped, *reasons),
    )
