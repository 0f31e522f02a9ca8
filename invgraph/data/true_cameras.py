"""Captures whose cameras are the true ones: for evaluation only."""

from dataclasses import replace

from invgraph.data.capture import Capture
from invgraph.data.frame import Frame
from invgraph.geometry.camera import Camera


def with_true_cameras(capture: Capture) -> Capture:
    """Give the photos the poses that another instrument measured.

    This uses labels, so whatever is computed from the result counts as "cameras given". Photos
    without a measured pose are left out and listed in ``skipped``; the rest of the truth stays
    beside its photo. Captures whose cameras are known already come back as they are.

    Args:
        capture: with ``truth.poses`` and, per photo, ``lens``.

    Raises:
        ValueError: there are no measured poses, or intrinsics are unknown.
    """
    if capture.has_cameras:
        return capture
    truth = capture.truth
    if truth is None or not truth.poses:
        raise ValueError(
            f"{capture.name} has no measured poses; give a capture with them, such as 7-Scenes, "
            "TUM RGB-D or KITTI with its poses file."
        )
    kept: list[int] = []
    frames: list[Frame] = []
    skipped = list(capture.skipped)
    for index, (frame, pose) in enumerate(zip(capture.frames, truth.poses, strict=True)):
        if frame.lens is None:
            raise ValueError(
                f"{frame.image_path} has a measured pose but no intrinsics; add the capture's "
                "calibration file."
            )
        if pose is None:
            skipped.append(f"{frame.name}: no measured pose")
            continue
        camera = Camera(frame.lens, pose)
        kept.append(index)
        frames.append(replace(frame, camera=camera, lens=None))
    places = {old: new for new, old in enumerate(kept)}
    return replace(
        capture,
        frames=tuple(frames),
        test=tuple(places[i] for i in capture.test if i in places),
        truth=truth.only(kept),
        skipped=tuple(skipped),
    )
