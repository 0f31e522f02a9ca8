"""``follow_camera``: from a recording to the same frames with cameras."""

import hashlib
from dataclasses import replace
from pathlib import Path

from invgraph.data.capture import Capture
from invgraph.files.atomic import fingerprint
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.motion.estimate import estimate_motion
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.runs.progress import Progress

_VERSION = 1  # of the files in the work folder


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
    lens = frames[0].intrinsics if frames else None
    known = [] if lens is None else [*lens.focal.tolist(), *lens.principal.tolist()]
    facts = str(([fingerprint(frame.image_path) for frame in frames], known, _VERSION))
    file = work / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"
    remedy = "delete it to find the motion again"
    kept = read_tensors(file, remedy)
    if kept is None:
        found = estimate_motion(frames, lens, progress=progress)
        tensors = {
            "poses": transforms.invert(found.trajectory.world_from_camera),
            "points": found.points,
            "focal": found.lens.focal,
            "principal": found.lens.principal,
        }
        if found.lens.distortion is not None:
            tensors["distortion"] = found.lens.distortion
        tensors = {name: tensor.float() for name, tensor in tensors.items()}
        write_tensors(file, tensors, {"placed": list(found.frames)})
        kept = tensors, {"placed": list(found.frames)}
    tensors, placed = kept[0], kept[1]["placed"]
    cameras = [
        Camera(pose, tensors["focal"], tensors["principal"], *frames[0].size,
               tensors.get("distortion"))
        for pose in tensors["poses"]
    ]  # fmt: skip
    held = set(capture.test)
    lost = sorted(set(range(len(frames))) - set(placed))
    reasons = [f"{frames[i].name}: odometry lost it" for i in lost]
    return replace(
        capture,
        frames=tuple(
            replace(frames[i], camera=camera, lens=None)
            for i, camera in zip(placed, cameras, strict=True)
        ),
        test=tuple(place for place, i in enumerate(placed) if i in held),
        truth=None if capture.truth is None else capture.truth.only(placed),
        box=None,
        points=tensors["points"],
        skipped=(*capture.skipped, *reasons),
    )
