"""Clips: the frames of a recording, decoded once, small, and kept on disk."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invgraph.data.cache import cache_folder
from invgraph.data.frame import Frame
from invgraph.files.atomic import fingerprint, write_atomically
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import bytes_from_unit, srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.photometric.warp import undistort
from invgraph.runs.progress import Progress

_DARK = 0.01  # sRGB: spread of an image below which it shows nothing
_STILL = 0.004  # sRGB: mean difference between frames below which nothing moves
_FEWEST = 3
_HELD_OUT = 4  # blocks of each clip
_HELD_SHARE = 0.1  # of its frames
_VERSION = 2  # of the files in the cache
_RIGHT = "right.npy"  # beside a clip's images


@dataclass(frozen=True, eq=False)
class RightPhotos:
    """What the right camera of a rectified pair saw, frame by frame.

    Attributes:
        images: as a clip's; black where there is none.
        store: the file of ``images``.
        there: whether there is one, ``n``.
        baseline: from the left camera to the right one, metres.
        prints: SHA-256 of the files.
    """

    images: np.ndarray
    store: Path
    there: np.ndarray
    baseline: float
    prints: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Clip:
    """Consecutive frames of one camera.

    Attributes:
        name: of the recording.
        frames: as they were read; only those that show something.
        images: sRGB, uint8, ``n h w 3``, on disk, without lens distortion if the lens is known.
        store: the file of ``images``.
        lens: at the images' size; None if unknown.
        prints: SHA-256 of each frame's file: what a model has seen.
        right: the other photos of stereo pairs; None if there are none, or the lens is unknown.
    """

    name: str
    frames: tuple[Frame, ...]
    images: np.ndarray
    store: Path
    lens: Lens | None
    prints: tuple[str, ...]
    right: RightPhotos | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def image(self, index: int) -> Tensor:
        """One frame, sRGB in [0, 1], ``h w 3``."""
        return torch.from_numpy(self.images[index].astype(np.float32) / 255)


def read_clip(
    name: str,
    frames: Sequence[Frame],
    size: tuple[int, int],
    *,
    work: Path | None = None,
    progress: Progress | None = None,
) -> Clip:
    """Decode a recording to one size, once; a later call finds the result on disk.

    Frames that show nothing (a lens cap, a dropped picture) are left out.

    Args:
        name: of the recording, for messages.
        frames: consecutive, of one size.
        size: (height, width) of the images.
        work: folder for the images; ``cache_folder() / "clips"`` when left out.
        progress: hears how many frames are read.

    Raises:
        ValueError: fewer than three frames, frames of different sizes, frames that cannot be read,
            frames that show nothing, or a camera that does not move.
    """
    progress = progress or Progress()
    progress.stage("reading frames")
    _check(name, frames)
    known = frames[0].known_lens
    prints = [fingerprint(frame.image_path) for frame in frames]
    lens = None if known is None else known.facts
    facts: list = [prints, size, lens, frames[0].as_stored, _VERSION]
    rights = [frame.right for frame in frames] if known is not None else []
    marks = {i: fingerprint(r.image_path) for i, r in enumerate(rights) if r is not None}
    if marks:
        facts.append(marks)
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    folder = (work if work is not None else cache_folder() / "clips") / key
    store, note = folder / "images.npy", folder / "frames.json"
    if not note.exists():
        kept = _decode(name, frames, size, known, store, progress, pairs=bool(marks))
        write_atomically(note, json.dumps(kept).encode())
    try:
        kept = json.loads(note.read_text())
        images = np.load(store, mmap_mode="r", allow_pickle=False)[: len(kept)]
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete it and train again.") from error
    if known is not None:
        known = known.straight().resize(*size)
    chosen = tuple(frames[i] for i in kept)
    right = None
    if marks:
        beside = store.with_name(_RIGHT)
        right = RightPhotos(
            np.load(beside, mmap_mode="r", allow_pickle=False)[: len(kept)],
            beside,
            np.array([i in marks for i in kept]),
            next(r.baseline for r in rights if r is not None),
            tuple(marks[i] for i in kept if i in marks),
        )
    return Clip(name, chosen, images, store, known, tuple(prints[i] for i in kept), right)


def split(clip: Clip) -> tuple[list[int], list[int]]:
    """Frames to learn from, and those that are held out: a few runs, spread over the recording."""
    count = len(clip)
    length = max(round(_HELD_SHARE * count / _HELD_OUT), _FEWEST)
    starts = {int((k + 0.5) * count / _HELD_OUT) - length // 2 for k in range(_HELD_OUT)}
    held = {i for start in starts for i in range(max(start, 0), min(start + length, count))}
    return sorted(set(range(count)) - held), sorted(held)


def _check(name: str, frames: Sequence[Frame]) -> None:
    if len(frames) < _FEWEST:
        raise ValueError(
            f"{name}: {len(frames)} frames, but motion shows in {_FEWEST} or more; give a longer "
            "recording."
        )
    first = frames[0]
    for frame in frames:
        if frame.size != first.size:
            raise ValueError(
                f"{frame.image_path} is {frame.size[0]}x{frame.size[1]} (h x w) but "
                f"{first.image_path} is {first.size[0]}x{first.size[1]}; one recording has one "
                "size: give the others as recordings of their own."
            )


def _decode(
    name: str,
    frames: Sequence[Frame],
    size: tuple[int, int],
    lens: Lens | None,
    store: Path,
    progress: Progress,
    *,
    pairs: bool,
) -> list[int]:
    """Write the images of a clip, with ``pairs`` also of its right camera.

    Returns:
        The indices of the frames that show something.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may decode the same recording at the same time.
    part = secrets.token_hex(4)
    targets = [store, store.with_name(_RIGHT)][: 1 + pairs]
    fresh = [target.with_name(f"{part}_{target.name}.part") for target in targets]
    shape = (len(frames), *size, 3)
    try:
        written = [np.lib.format.open_memmap(path, "w+", np.uint8, shape) for path in fresh]
        kept = _fill(name, frames, size, lens, written, progress)
        for path, target in zip(fresh, targets, strict=True):
            path.replace(target)
    except BaseException:
        for path in fresh:
            path.unlink(missing_ok=True)
        raise
    return kept


def _fill(
    name: str,
    frames: Sequence[Frame],
    size: tuple[int, int],
    lens: Lens | None,
    written: list[np.memmap],
    progress: Progress,
) -> list[int]:
    """The images of a clip, and of its right camera where there is a second array."""
    kept, moved, before = [], 0.0, None
    for index, frame in enumerate(frames):
        small = _small(frame.load()[0], lens, size)
        progress.update((index + 1) / len(frames), f"{index + 1} of {len(frames)} frames")
        if float(small.std()) < _DARK:
            continue
        written[0][len(kept)] = bytes_from_unit(small).numpy()
        if len(written) > 1 and frame.right is not None:
            beside = _small(frame.load_right(), lens, size)
            written[1][len(kept)] = bytes_from_unit(beside).numpy()
        if before is not None:
            moved = max(moved, float((small - before).abs().mean()))
        before = small
        kept.append(index)
    for images in written:
        images.flush()
    if len(kept) < _FEWEST:
        raise ValueError(
            f"{name}: {len(kept)} of {len(frames)} frames show anything, at least {_FEWEST} are "
            "needed; the others are black or of one colour."
        )
    if moved < _STILL:
        raise ValueError(
            f"{name}: no frame differs from the one before; depth shows when the camera moves, so "
            "give a recording in which it does."
        )
    return kept


def _small(image: Tensor, lens: Lens | None, size: tuple[int, int]) -> Tensor:
    """A photo (linear) without its lens's distortion, sRGB, at a clip's size."""
    if lens is not None:
        image = undistort(image, Camera(lens, torch.eye(4)))[0]
    planes = srgb_from_linear(image).clamp(0, 1).movedim(-1, 0)[None]
    planes = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
    return planes[0].movedim(0, -1)
