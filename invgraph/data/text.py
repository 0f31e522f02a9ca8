"""Reading the small text files of captures, which are never trusted."""

import codecs
import json
import math
import re
from pathlib import Path

import numpy as np

from invgraph.geometry.lens import MOST_PIXELS

_LARGEST_BYTES = 256 << 20
LARGEST = 1e30  # numbers fit into float32
# What the C library of Windows prints for NaN and infinity: 1.#INF, -1.#IND00, nan(ind).
_WINDOWS = re.compile(r"[-+]?(?:\d\.#[A-Z]{3,4}\d*|nan\([a-z]*\))", re.IGNORECASE)


class MissingValue(ValueError):
    """What a file says of one photo is missing, NaN or infinite: a capture can do without it."""


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without their ends.

    Raises:
        ValueError: missing, not text (UTF-8, UTF-16 with its mark, or Windows-1252), or larger than
            256 MiB.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file; give the path of a text file.")
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"{path} is larger than 256 MiB; expected a small text file.")
        text = _decoded(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable text; restore or download it again.") from error
    if "\0" in text:
        raise ValueError(f"{path} is not readable text; restore or download it again.")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")  # Latin-1 and what Windows adds to it


def read_json(path: Path, remedy: str) -> dict:
    """The object that a JSON file holds.

    Args:
        path: of the file.
        remedy: what to do about a bad one, for the message.

    Raises:
        ValueError: missing, unreadable, larger than 256 MiB, not JSON, or no object.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file; {remedy}")
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("larger than 256 MiB")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} is not JSON ({reason}); {remedy}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object; {remedy}")
    return content


def numbers(words: list[str], count: int | None, where: str) -> np.ndarray:
    """Float64 numbers that fit into single precision, from words.

    Args:
        words: of the file.
        count: how many are expected; None for any number of them.
        where: file and line, for the message.

    Raises:
        MissingValue: nothing, NaN, infinity, or something else in the place of a number.
        ValueError: too many, too few, or 1e30 and more.
    """
    try:
        values = np.array([number_word(word) for word in words])
    except ValueError:
        values = np.empty(0)
    if (count is not None and len(values) != count) or len(values) != len(words):
        expected = "numbers" if count is None else f"{count} numbers"
        kind = MissingValue if not words or len(words) == (count or len(words)) else ValueError
        raise kind(
            f"{where}: expected {expected} but got {' '.join(words)[:60]!r}; restore the file."
        )
    if not np.isfinite(values).all():
        raise MissingValue(f"{where} holds NaN or infinity; restore the file.")
    if (np.abs(values) >= LARGEST).any():
        raise ValueError(f"{where} holds numbers too large for float32; restore the file.")
    return values


def number_word(word: str) -> float:
    """A number from a word, also NaN and infinity as the C library of Windows prints them.

    Raises:
        ValueError: no number.
    """
    return math.nan if _WINDOWS.fullmatch(word) else float(word)


def number(value: object, where: str) -> float:
    """A number of a JSON file.

    Args:
        value: as JSON has it.
        where: file and field, for the message.

    Raises:
        ValueError: no number, not finite, or too large for single precision.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -LARGEST < value < LARGEST
    ):
        raise ValueError(f"{where} is {value!r:.40}, expected a finite number below {LARGEST:g}.")
    return float(value)


def flat_numbers(value: object, count: int) -> np.ndarray | None:
    """The numbers of a list, or list of lists, of a JSON file.

    Returns:
        ``count`` finite float64 numbers that fit into single precision; None if it holds others.
    """
    flat: list = value if isinstance(value, list) else [value]
    while any(isinstance(item, list) for item in flat) and len(flat) <= count:
        flat = [x for item in flat for x in (item if isinstance(item, list) else [item])]
    if len(flat) != count:
        return None
    try:
        return np.array([number(item, "") for item in flat])
    except ValueError:
        return None


def read_numbers(path: Path, columns: int | None) -> np.ndarray:
    """All rows of a text file of numbers as ``rows columns``; blank and # lines are left out.

    Raises:
        MissingValue: no row, or one that was lost.
        ValueError: unreadable, or a row that is not of ``columns`` words.
    """
    return np.stack([numbers(words, columns, where) for words, where in _rows(path)])


def read_table(path: Path, columns: int) -> tuple[np.ndarray, dict[int, str]]:
    """The rows of a text file that has one row per photo or per moment.

    Returns:
        ``rows columns``, all NaN where one is lost; and what to say of each lost row, by its index.

    Raises:
        ValueError: unreadable, no row, or one that is not of ``columns`` words.
    """
    table, missing = [], {}
    for index, (words, where) in enumerate(_rows(path)):
        try:
            table.append(numbers(words, columns, where))
        except MissingValue as error:
            table.append(np.full(columns, math.nan))
            missing[index] = str(error)
    return np.stack(table), missing


def _rows(path: Path) -> list[tuple[list[str], str]]:
    """The words of each row, and where it stands."""
    rows = [
        (line.replace(",", " ").split(), f"{path}: line {index + 1}")
        for index, line in enumerate(read_lines(path))
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rows:
        raise MissingValue(f"{path} holds no numbers; restore or download it again.")
    return rows


def checked_intrinsics(
    matrix: np.ndarray, where: str, *, centred: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Focal lengths and principal point (corner origin) of a 3x3 calibration matrix.

    Args:
        matrix: ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``, pixels.
        where: file, for the message.
        centred: integers are pixel centres there, so that half a pixel is added.

    Raises:
        ValueError: skew, numbers that are not finite, a focal length that is not positive, or not
            such a matrix.
    """
    if not (np.abs(matrix) < LARGEST).all():
        raise ValueError(f"{where}: K holds NaN, infinity or numbers too large; calibrate again.")
    pinhole = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]])
    plain = matrix.shape == (3, 3) and np.allclose(matrix * (1 - pinhole), 0, atol=1e-6)
    if not plain or abs(matrix[2, 2] - 1) > 1e-9 or not min(matrix[0, 0], matrix[1, 1]) > 1e-9:
        raise ValueError(
            f"{where}: K is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0; "
            "rectify the photos so that skew vanishes."
        )
    half = 0.5 if centred else 0.0
    focal = (float(matrix[0, 0]), float(matrix[1, 1]))
    return focal, (float(matrix[0, 2]) + half, float(matrix[1, 2]) + half)


def scaled_to(
    focal: tuple[float, float],
    principal: tuple[float, float],
    stated: tuple[int, int],
    found: tuple[int, int],
    where: str,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Intrinsics of a photo that was resampled as a whole since its calibration.

    Args:
        stated: (height, width) that the intrinsics refer to.
        found: (height, width) of the photo.

    Raises:
        ValueError: the two differ in shape, not only in scale, or the first is no size.
    """
    if not all(1 <= side <= MOST_PIXELS for side in stated):
        raise ValueError(
            f"{where}: its calibration is of {stated[0]!s:.12}x{stated[1]!s:.12} pixels (h x w), "
            f"expected 1 to {MOST_PIXELS} along a side; correct the calibration."
        )
    if not _is_scaled(found, stated):
        remedy = size_remedy(found, stated, "restore the photo's aspect ratio")
        raise ValueError(
            f"{where} is {found[0]}x{found[1]} (h x w), not a scaled {stated[0]}x{stated[1]} as "
            f"its calibration says; {remedy}."
        )
    down, across = found[0] / stated[0], found[1] / stated[1]
    return (focal[0] * across, focal[1] * down), (principal[0] * across, principal[1] * down)


def _is_scaled(found: tuple[int, int], stated: tuple[int, int]) -> bool:
    # A downscaled size is rounded to whole pixels, so the two ratios agree to about a pixel.
    return abs(found[1] / stated[1] - found[0] / stated[0]) * max(stated) <= 2


def size_remedy(found: tuple[int, int], expected: tuple[int, int], otherwise: str) -> str:
    """What to do about an image of another (height, width) than expected, in words."""
    if min(expected) >= 1 and _is_scaled(found, (expected[1], expected[0])):
        return (
            f"{otherwise}: one of them lies on its side. A photo that EXIF turns is stored upright "
            "by mogrify -auto-orient, another has to be restored as it was"
        )
    return otherwise
