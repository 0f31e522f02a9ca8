"""Recordings to learn from: every frame of a video, or a folder of frames."""

from dataclasses import replace
from pathlib import Path

from invgraph.data.capture import Capture
from invgraph.data.recognise import read_capture
from invgraph.data.video import SUFFIXES, read_video


def read_recording(path: str | Path) -> Capture:
    """Read consecutive frames of one camera.

    Of a video all frames are read, but for those that repeat the one before or are much blurrier
    than their neighbours.

    Raises:
        ValueError: no such file or folder, or none that can be read.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return replace(read_video(path, stride=1), kind="video", source=path)
    return read_capture(path)
