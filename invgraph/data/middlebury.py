"""Captures in the Middlebury multi-view format: ``*_par.txt`` beside photographs."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture, checked_pose, held_out, make_frame, unique_names
from invgraph.data.images import border_is_dark, image_size, inside

_NUMBER = r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
_CORNER = rf"\(\s*{_NUMBER}[\s,]+{_NUMBER}[\s,]+{_NUMBER}\s*\)"


def read_middlebury(source: Path) -> Capture:
    """Read a ``*_par.txt``: per line a file name, K, R and t with P = K [R t].

    The format puts integers on pixel centres, so half a pixel is added to the principal point. It
    has no masks: if the borders of the photos are near black, each mask is found by
    ``mask_dark_background``. The bounding box is taken from the README when it states two corners.

    Args:
        source: the ``*_par.txt`` file.

    Raises:
        ValueError: the file or one of its photos cannot be used; the message names it.

    Source:
        Seitz et al., A Comparison and Evaluation of Multi-View Stereo (2006), README of the data.
    """
    folder = source.parent
    try:
        lines = source.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{source} is not readable text; download it again.") from error
    lines = [line.split() for line in lines if line.strip()]
    if len(lines[:1]) == 0 or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise ValueError(f"{source} does not start with the number of photos; download it again.")
    count = int(lines[0][0])
    if count != len(lines) - 1 or count == 0:
        raise ValueError(
            f"{source} announces {count} photos but lists {len(lines) - 1}; download it again."
        )
    frames = []
    for index, words in enumerate(lines[1:]):
        where = f"{source}: line {index + 2}"
        calibration, pose = _parse(words, where)
        path = inside(folder, words[0], source)
        frames.append(
            make_frame(
                "",
                checked_pose(pose, where),
                (float(calibration[0, 0]), float(calibration[1, 1])),
                (float(calibration[0, 2]) + 0.5, float(calibration[1, 2]) + 0.5),
                image_size(path),
                path,
            )
        )
    split = held_out(count, source)
    sample = frames[:: max(1, count // 8)]
    dark = all(border_is_dark(frame.image_path) for frame in sample)
    names = unique_names([frame.image_path for frame in frames], folder)
    frames = tuple(
        replace(
            frame,
            name=name,
            mask_source="dark background" if dark else frame.mask_source,
        )
        for frame, name in zip(frames, names, strict=True)
    )
    return Capture(folder.resolve().name, frames, split, box=_bounding_box(folder))


def _parse(words: list[str], where: str) -> tuple[np.ndarray, np.ndarray]:
    """K (3x3) and the 3x4 pose of one line."""
    try:
        values = np.array([float(word) for word in words[1:]])
    except ValueError:
        values = np.empty(0)
    if len(values) != 21:
        raise ValueError(f"{where}: expected a file name and 21 numbers; download the file again.")
    calibration = values[:9].reshape(3, 3)
    pinhole = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]])
    plain = np.isfinite(values[:9]).all() and np.allclose(calibration * (1 - pinhole), 0, atol=1e-6)
    if not plain or calibration[2, 2] != 1 or min(calibration[0, 0], calibration[1, 1]) <= 0:
        raise ValueError(
            f"{where}: K is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0; "
            "rectify the photos so that skew vanishes."
        )
    return calibration, np.concatenate([values[9:18].reshape(3, 3), values[18:, None]], axis=1)


def _bounding_box(folder: Path) -> torch.Tensor | None:
    for readme in sorted(folder.glob("README*")):
        text = readme.read_text(encoding="utf-8", errors="replace")
        match = re.search(rf"bounding box.*?{_CORNER}\s*{_CORNER}", text[:100_000], re.I | re.S)
        if match:
            box = torch.tensor([float(value) for value in match.groups()]).reshape(2, 3)
            return torch.stack([box.amin(0), box.amax(0)])
    return None
