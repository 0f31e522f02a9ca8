"""Opening image files that nobody vouches for."""

from __future__ import annotations

import contextlib
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from invgraph.files.memory import available_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# What Pillow may open; it knows others, of which EPS starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
# What Pillow's parsers trip over.
TROUBLE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, RuntimeError),
    *(LookupError, ArithmeticError, MemoryError, struct.error, zlib.error),
)
_DEEP_GREY_WITH_ALPHA = b"\x10\x04"  # depth and colour type in a PNG's header
_BYTES_PER_PIXEL = 64  # while a photo becomes linear light


class UnreadableImage(ValueError):
    """A photograph or mask is missing, damaged or superfluous: a capture can do without it."""


def open_image(path: Path) -> ImageFile:
    """A PNG, JPEG, WebP, TIFF or BMP file, whose pixels are not decoded yet.

    Raises:
        UnreadableImage: missing, no regular file, of another kind, damaged, or too large for the
            free memory.
    """
    from PIL import Image

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImage(f"{path} is no file but a folder, pipe or device; remove it.")
        with path.open("rb") as file:
            header = file.read(26)
        Image.init()
        known = (Image.OPEN[kind] for kind in FORMATS)
        factory = next(
            (make for make, accept in known if accept and accept(header[:16]) is True), None
        )
        if factory is None:
            raise ValueError("no PNG, JPEG, WebP, TIFF or BMP file")
        # Image.open would refuse or warn from a number of pixels on that is the same everywhere.
        with silently():
            image = factory(path, "")  # type: ignore[arg-type]
        if image.format == "TIFF":
            # Pillow would map the file's pixels with the size of the image that EXIF turns.
            image.filename = ""
    except FileNotFoundError:
        raise UnreadableImage(
            f"{path} is missing; restore it or remove it from the capture."
        ) from None
    except UnreadableImage:
        raise
    except TROUBLE as error:
        raise UnreadableImage(unreadable(path, error)) from error
    try:
        if image.mode == "F":
            reason = ValueError("expected 8 or 16 bits per channel, not floats")
            raise UnreadableImage(unreadable(path, reason))
        if image.format == "PNG" and header[24:26] == _DEEP_GREY_WITH_ALPHA:
            reason = ValueError("16-bit grey with alpha is not supported, save it as 16-bit RGBA")
            raise UnreadableImage(unreadable(path, reason))
        require_memory(path, image.height, image.width)
    except UnreadableImage:
        image.close()
        raise
    return image


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Without what Pillow says about EXIF that it skips."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def require_memory(path: Path, height: int, width: int) -> None:
    """Refuse an image that does not fit into the memory there is, before it is decoded.

    Raises:
        UnreadableImage: it is too large.
    """
    most = available_bytes() // _BYTES_PER_PIXEL
    if height * width > most:
        raise UnreadableImage(
            f"{path} is {height}x{width} (h x w), more than the {most / 1e6:.1f} million pixels "
            "that fit into the free memory; make it smaller."
        )


def unreadable(path: Path, error: Exception) -> str:
    """What to say of an image that Pillow cannot read."""
    reason = " ".join(str(error).split()).replace(str(path), "")[:120]
    return f"{path} cannot be decoded as an image ({reason}); export it again as PNG or JPEG."
