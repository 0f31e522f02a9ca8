"""What a training works on: frames, and what they teach about each other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph import transforms
from invgraph.camera import Camera
from invgraph.data import Capture
from invgraph.data.cache import cache_folder
from invgraph.files import fingerprint, read_tensors, write_tensors
from invgraph.fit.progress import Meter
from invgraph.train.clips import Clip, read_clip
from invgraph.train.settings import DepthSettings
from invgraph.train.teaching import Teaching, teach

_VERSION = 1  # of the files in the cache


def prepare(
    recordings: Sequence[Capture], settings: DepthSettings, work: Path | None, meter: Meter
) -> tuple[list[Clip], list[Teaching | None]]:
    """Frames of every recording and, where motion is to be found, what they teach.

    Args:
        recordings: each of one camera, frames in their order.
        settings: of the training.
        work: folder for what is found, where the next call finds it; the user's cache when left
            out.
        meter: shows the stages.

    Returns:
        A clip for each recording and, where motion is learned, None in place of its teaching.

    Raises:
        ValueError: a recording that cannot be learned from.
    """
    clips: list[Clip] = []
    teachings: list[Teaching | None] = []
    size = (settings.height, settings.width)
    for capture in recordings:
        found, frames = None, capture.frames
        if settings.motion == "found":
            found = _motion(capture, (work or cache_folder()) / "motions", meter)
            frames = tuple(frames[i] for i in found.frames)
        show = meter.staged(f"{capture.name}: frames")
        clip = read_clip(
            capture.name,
            frames,
            size,
            lens=None if found is None else found.lens,
            work=work and work / "clips",
            progress=lambda done, total, show=show: show("decode", done, total),
        )
        clips.append(clip)
        if found is None:
            teachings.append(None)
            continue
        rows = [frames.index(frame) for frame in clip.frames]
        teachings.append(
            teach(
                clip,
                found.poses[rows],
                found.points,
                work=work and work / "teachings",
                progress=meter.staged(f"{capture.name}: depth"),
            )
        )
    return clips, teachings


@dataclass(frozen=True, eq=False)
class _Path:
    """How a camera moved.

    Attributes:
        frames: those that have a pose.
        poses: camera_from_world of each, float64.
        lens: of the camera, at the frames' size.
        points: what it saw, world frame.
    """

    frames: tuple[int, ...]
    poses: Float[Tensor, "n 4 4"]
    lens: Camera
    points: Float[Tensor, "m 3"]


def _motion(capture: Capture, folder: Path, meter: Meter) -> _Path:
    """Odometry of a recording, or what an earlier call found."""
    from invgraph.odometry import estimate_motion

    frames = capture.frames
    lens = frames[0].intrinsics
    known = [] if lens is None else lens.focal.tolist()
    facts = str(([fingerprint(frame.image_path) for frame in frames], known, _VERSION))
    file = folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"
    kept = read_tensors(file, "delete it to find the motion again")
    if kept is None:
        meter.begin(f"{capture.name}: motion")
        found = estimate_motion(frames, lens, progress=meter)
        lens = found.lens
        tensors = {
            "poses": transforms.invert(found.trajectory.world_from_camera),
            "points": found.points,
            "focal": lens.focal,
            "principal": lens.principal,
            "distortion": torch.zeros(5) if lens.distortion is None else lens.distortion,
        }
        write_tensors(file, tensors, {"frames": found.frames})
        kept = read_tensors(file, "")
        assert kept is not None
    height, width = frames[0].size
    stored = kept[0]
    focal, principal, distortion = (
        stored[name].float() for name in ("focal", "principal", "distortion")
    )
    camera = Camera(torch.eye(4), focal, principal, height, width, distortion)
    placed = tuple(kept[1]["frames"])
    return _Path(placed, stored["poses"].double(), camera, stored["points"].float())
