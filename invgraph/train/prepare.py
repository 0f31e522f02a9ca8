"""What a training works on: frames, and what they teach about each other."""

from collections.abc import Sequence
from pathlib import Path

import torch

from invgraph.data import Capture
from invgraph.data.cache import cache_folder
from invgraph.runs.progress import Progress
from invgraph.train.clips import Clip, read_clip
from invgraph.train.settings import DepthSettings
from invgraph.train.stereo import in_one_unit, metres_per_unit
from invgraph.train.supervision import Teaching, teach


def prepare(
    recordings: Sequence[Capture],
    settings: DepthSettings,
    work: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[Clip], list[Teaching | None], float | None]:
    """Frames of every recording and, where motion is to be found, what they teach.

    Args:
        recordings: each of one camera, frames in their order.
        settings: of the training.
        work: folder for what is found, where the next call finds it; the user's cache when left
            out.
        progress: hears the stages.

    Returns:
        A clip for each recording; its teaching, or None where motion is learned; metres per unit of
        depth, if stereo pairs tell.

    Raises:
        ValueError: a recording that cannot be learned from.
    """
    clips: list[Clip] = []
    teachings: list[Teaching] = []
    progress = progress or Progress()
    for index, capture in enumerate(recordings):
        part = progress.part((index + 1) / len(recordings), capture.name)
        if settings.motion == "found":
            from invgraph.fitting.motion import follow_camera

            kept = (cache_folder() if work is None else work) / "motions"
            capture = follow_camera(capture, kept, progress=part.part(0.4))
        clip = read_clip(
            capture.name,
            capture.frames,
            (settings.height, settings.width),
            work=work and work / "clips",
            progress=part.part(0.5 if settings.motion == "found" else 1.0),
        )
        clips.append(clip)
        if settings.motion != "found":
            continue
        poses = torch.stack([frame.known_camera.camera_from_world for frame in clip.frames])
        assert capture.points is not None
        teachings.append(
            teach(
                clip,
                poses.double(),
                capture.points,
                work=work and work / "teachings",
                progress=part.part(),
            )
        )
    if settings.motion != "found":
        return clips, [None] * len(clips), metres_per_unit(clips)
    scaled, metres = in_one_unit(clips, teachings)
    return clips, list(scaled), metres
