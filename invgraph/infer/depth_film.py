"""A film of a video with its depth below."""

import contextlib
import os
import secrets
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from invgraph.report.depth_view import LEVELS, colours
from invgraph.report.film import RATE, open_film

WIDTH = 640  # of a picture at most, pixels
_FOLLOW = 0.1  # how fast the colours follow a change of range, per frame
_SLOWEST, _FASTEST = 1, 60  # pictures a second


class DepthFilm:
    """Photos above, coloured depth below; near is light.

    The colours span inverse depth from its 2nd to its 98th percentile, which are followed slowly so
    that they do not flicker. The film plays as fast as the first two times say. Used as a context:
    the file appears when it ends without an error.

    Args:
        path: the mp4 to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._open = contextlib.ExitStack()
        self._add: Callable[[np.ndarray], None] | None = None
        self._first: tuple[float | None, np.ndarray] | None = None
        self._range: np.ndarray | None = None

    def __enter__(self) -> "DepthFilm":
        return self

    def add(self, time: float | None, photo: np.ndarray, depth: np.ndarray) -> None:
        """Add a frame.

        Args:
            time: seconds; None where the recording has no clock.
            photo: ``h w 3`` bytes, sRGB, of the same size for all frames.
            depth: ``h w``, of any size.
        """
        picture = self._picture(photo, depth)
        if self._first is None:
            self._first = time, picture
            return
        if self._add is None:
            self._begin(time)
        assert self._add is not None
        self._add(picture)

    def _begin(self, second: float | None) -> None:
        """Open the file, now that the rate is known, and write the first picture."""
        assert self._first is not None
        first, picture = self._first
        rate = Fraction(RATE)
        if first is not None and second is not None:
            rate = Fraction(min(max(1 / (second - first), _SLOWEST), _FASTEST))
        film = open_film(self._fresh, rate.limit_denominator(1001))
        self._add = self._open.enter_context(film)
        self._add(picture)

    def _picture(self, photo: np.ndarray, depth: np.ndarray) -> np.ndarray:
        from PIL import Image

        height, width = photo.shape[:2]
        size = (min(width, WIDTH), max(1, round(height * min(width, WIDTH) / width)))
        above = Image.fromarray(photo).resize(size, Image.Resampling.BOX)
        inverse = 1 / depth
        now = np.percentile(inverse, (2, 98))
        self._range = now if self._range is None else self._range + _FOLLOW * (now - self._range)
        low, high = self._range
        part = np.clip((inverse - low) / max(high - low, 1e-9 * high), 0, 1)
        colored = colours()[(part * (LEVELS - 1)).round().astype(int)]
        below = Image.fromarray(colored).resize(size, Image.Resampling.BILINEAR)
        return np.concatenate([np.asarray(above), np.asarray(below)])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and self._first is not None and self._add is None:
                self._begin(None)
            self._open.__exit__(kind, error, trace)
            if error is None and self._first is not None:
                os.replace(self._fresh, self._path)
        finally:
            with contextlib.suppress(OSError):
                self._fresh.unlink()
