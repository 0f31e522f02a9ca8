"""What readers of every format have in common: what is left out, held out, refused."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from invgraph.data.frame import Frame
from invgraph.data.images import UnreadableImage
from invgraph.data.listing import unopened
from invgraph.data.text import MissingValue

FARTHEST = 1e12  # from a world's origin: squares of it fit into float32


@dataclass
class Unreadable:
    """What a reader had to leave out.

    Args:
        source: the file or folder that is read, for messages.
    """

    source: Path
    reasons: list[str] = field(default_factory=list)
    _taken: set[Path] = field(default_factory=set)

    @contextmanager
    def skipping(self, name: str) -> Iterator[None]:
        """Note an unreadable image, or a row that was lost, in the ``with`` block and go on."""
        try:
            yield
        except (UnreadableImage, MissingValue) as error:
            self.reasons.append(f"{name}: {error}")

    def note(self, name: str, reason: str) -> None:
        """Note something that was left out."""
        self.reasons.append(f"{name}: {reason}")

    def once(self, photo: Path, source: Path) -> None:
        """Let a photo be read once only, lest it is held out and learnt from.

        Raises:
            UnreadableImage: ``source`` lists it a second time.
        """
        if photo.resolve() in self._taken:
            raise UnreadableImage(f"{photo} is listed twice in {source}; remove one of its rows.")
        self._taken.add(photo.resolve())

    def note_others(self, files: Iterable[Path], known: Container[Path], reason: str) -> None:
        """Note photos or masks that lie there but belong to nothing."""
        for file in files:
            if file not in known:
                self.note(file.name, reason)

    def note_unopened(self, *folders: Path) -> None:
        """Note what looks like a photo or a mask in a folder but is of a kind we do not open."""
        known = {reason.partition(": ")[0].rpartition("/")[2] for reason in self.reasons}
        for folder in dict.fromkeys(folders):
            if folder.is_dir():
                for name, reason in unopened(folder):
                    if name not in known:
                        self.note(name, reason)

    def require(self, count: int, least: int) -> None:
        """Refuse a capture of which too little could be read.

        Raises:
            ValueError: fewer than ``least`` photos are left.
        """
        if count >= least:
            return
        found = f"{self.source}: {count} photo{'' if count == 1 else 's'} found"
        if self.reasons:
            raise ValueError(
                f"{found} that can be read, a capture needs at least {least} "
                f"({len(self.reasons)} left out; first {self.reasons[0]})"
            )
        raise ValueError(
            f"{found}, a capture needs at least {least} to hold one out; add photos taken from "
            "other directions."
        )


def checked_pose(matrix: object, where: str) -> np.ndarray:
    """Validate a pose read from a file and make it exactly rigid.

    Args:
        matrix: 4x4 or 3x4 numbers, nested lists or an array.
        where: file and frame, for the message.

    Returns:
        4x4 float64 whose rotation is orthonormal to machine precision.

    Raises:
        MissingValue: None, NaN or infinity.
        ValueError: wrong shape, not numbers, too large, a mirror, not a rotation to 1 %, or a last
            row other than 0, 0, 0, 1.
    """
    try:
        pose = np.asarray(matrix)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape not in ((4, 4), (3, 4)) or pose.dtype.kind not in "fiu":
        kind = MissingValue if matrix is None else ValueError
        raise kind(f"{where}: the pose is no 4x4 matrix of numbers; export the poses again.")
    pose = pose.astype(np.float64)
    if not (np.abs(pose) < FARTHEST).all():
        kind = ValueError if np.isfinite(pose).all() else MissingValue
        raise kind(
            f"{where}: the pose holds NaN, infinity or numbers too large; remove the photo or redo "
            "its pose."
        )
    rotation = pose[:3, :3]
    gram = rotation @ rotation.T
    if np.abs(gram - np.eye(3)).max() > 0.02 or np.linalg.det(rotation) < 0:
        raise ValueError(
            f"{where}: the pose is not rigid (determinant {np.linalg.det(rotation):.4g}, expected "
            "a rotation with determinant 1); remove scale, shear or mirroring from the poses."
        )
    if np.abs(pose[3:] - (0, 0, 0, 1)).max(initial=0.0) > 1e-6:
        last = ", ".join(f"{value:g}" for value in pose[3])
        raise ValueError(
            f"{where}: the last row of the pose is {last}, expected 0, 0, 0, 1; transpose it?"
        )
    u, _, vt = np.linalg.svd(rotation)
    rigid = np.eye(4)
    rigid[:3, :3] = u @ vt
    rigid[:3, 3] = pose[:3, 3]
    return rigid


def held_out(count: int, unreadable: Unreadable) -> tuple[int, ...]:
    """The default test split: every 8th photo, starting with the first.

    Raises:
        ValueError: fewer than two photos, so that nothing could be learnt and tested.
    """
    unreadable.require(count, 2)
    return tuple(range(0, count, 8))


def unique_names(paths: list[Path], folder: Path) -> list[str]:
    """Names that are unique and safe inside file names, from the photographs' paths."""
    counts = Counter(path.stem for path in paths)
    names = []
    used: set[str] = set()
    tried: dict[str, int] = {}
    for path in paths:
        text = path.stem
        if counts[text] > 1:
            text = "_".join(path.relative_to(folder).with_suffix("").parts)
        text = "".join(c if c.isalnum() or c in "-_." else "_" for c in text).lstrip(".")[:80]
        name = text or "photo"
        base = name
        while name.casefold() in used:
            tried[base] = tried.get(base, 1) + 1
            name = f"{base}_{tried[base]}"
        used.add(name.casefold())
        names.append(name)
    return names


def named(frames: list[Frame], folder: Path) -> tuple[Frame, ...]:
    """The frames with names that are unique and safe inside file names."""
    names = unique_names([frame.image_path for frame in frames], folder)
    return tuple(replace(frame, name=name) for frame, name in zip(frames, names, strict=True))
