"""Captures in the Middlebury multi-view format: ``*_par.txt`` beside photographs."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.images import UnreadableImage, border_is_dark, image_size
from invgraph.data.listing import inside, inside_file, pictures
from invgraph.data.reading import FARTHEST, Unreadable, checked_pose, held_out, named
from invgraph.data.text import MissingValue, checked_intrinsics, number_word, read_lines

_NUMBER = r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
_README_BYTES = 100_000
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
    inside_file(source, folder)
    lines = [line.split() for line in read_lines(source) if line.strip()]
    if len(lines[:1]) == 0 or len(lines[0]) != 1 or not re.fullmatch("[0-9]{1,9}", lines[0][0]):
        raise ValueError(f"{source} does not start with the number of photos; download it again.")
    count = int(lines[0][0])
    if count != len(lines) - 1 or count == 0:
        raise ValueError(
            f"{source} announces {count} photos but lists {len(lines) - 1}; download it again."
        )
    frames = []
    listed: set[Path] = set()
    unreadable = Unreadable(source)
    for index, words in enumerate(lines[1:]):
        where = f"{source}: line {index + 2}"
        path = inside(folder, words[0], source)
        listed.add(path)
        with unreadable.skipping(words[0]):
            focal, principal, pose = _parse(words, where)
            unreadable.once(path, source)
            size = image_size(path, as_stored=True)
            lens = make_lens(focal, principal, size, where=where)
            camera = make_camera(checked_pose(pose, where), lens)
            frames.append(make_frame(path, camera, as_stored=True))
    unreadable.note_others(pictures(folder, folder), listed, f"{source.name} has no row for it")
    unreadable.note_unopened(folder)
    split = held_out(len(frames), unreadable)
    sample = frames[:: max(1, len(frames) // 8)]
    if all(_is_dark(frame.image_path) for frame in sample):
        frames = [replace(frame, mask_source="dark background") for frame in frames]
    return Capture(
        folder.resolve().name,
        named(frames, folder),
        split,
        box=_bounding_box(folder),
        skipped=tuple(unreadable.reasons),
    )


def _parse(
    words: list[str], where: str
) -> tuple[tuple[float, float], tuple[float, float], np.ndarray]:
    """Focal lengths, principal point (corner origin) and 3x4 pose of one line."""
    try:
        values = np.array([number_word(word) for word in words[1:]])
    except ValueError:
        values = np.empty(0)
    if len(values) != 21:
        kind = MissingValue if len(words) == 22 else ValueError
        raise kind(f"{where}: expected a file name and 21 numbers; download the file again.")
    if not np.isfinite(values).all():
        raise MissingValue(f"{where} holds NaN or infinity; download the file again.")
    focal, principal = checked_intrinsics(values[:9].reshape(3, 3), where, centred=True)
    pose = np.concatenate([values[9:18].reshape(3, 3), values[18:, None]], axis=1)
    return focal, principal, pose


def _is_dark(photo: Path) -> bool:
    """Whether a photo's border is; one that cannot be decoded is not asked."""
    try:
        return border_is_dark(photo)
    except UnreadableImage:
        return True


def _bounding_box(folder: Path) -> torch.Tensor | None:
    for readme in sorted(folder.glob("README*")):
        if inside_file(readme, folder) is None:
            continue
        with readme.open("rb") as file:
            text = file.read(_README_BYTES).decode("utf-8", errors="replace")
        # From the first mention on, not from each: the time would grow with their number.
        mention = re.search("bounding box", text, re.IGNORECASE)
        corners = re.compile(rf"{_CORNER}\s*{_CORNER}")
        match = corners.search(text, mention.end()) if mention else None
        if match:
            box = torch.tensor([float(value) for value in match.groups()]).reshape(2, 3)
            if not bool((box.abs() < FARTHEST).all()):
                raise ValueError(f"{readme}: the bounding box holds numbers too large; correct it.")
            return torch.stack([box.amin(0), box.amax(0)])
    return None
