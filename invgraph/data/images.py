"""Photographs and masks on disk, decoded to linear light."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.files.opening import (
    TROUBLE,
    UnreadableImage,
    open_image,
    silently,
    unreadable,
)
from invgraph.geometry.color import linear_from_srgb

_EXIF_ORIENTATION = 274
QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_UNDOING = {6: 8, 8: 6}
_WIDTH, _HEIGHT = 256, 257  # tags of TIFF
# The last bytes of a file: end of image (ITU-T T.81, B.1.1.3) and the checksum of IEND.
_ENDINGS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"\xaeB`\x82"}


def image_header(path: Path, *, as_stored: bool = False) -> tuple[tuple[int, int], bool]:
    """(height, width) of an image, and whether it is transparent, without its pixels.

    The pixels are decoded only if a JPEG or PNG file does not end as such files do.

    Args:
        path: the file.
        as_stored: of the rows and columns as the file stores them; else of the upright image, to
            which the EXIF orientation leads.

    Raises:
        UnreadableImage: missing, cut off or not an image.
    """
    with open_image(path) as image:
        width, height = _stored_size(image)
        ending = _ENDINGS.get(image.format or "")
        turned = not as_stored and _orientation(image, path) in QUARTER_TURNS
        transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if ending is not None and not _ends_with(path, ending):
        decode(path)  # what follows the image may be the camera's own, or the image is cut off
    return (width, height) if turned else (height, width), transparent


def image_size(path: Path, *, as_stored: bool = False) -> tuple[int, int]:
    """Height and width of an image in pixels, as :func:`image_header` reads them."""
    return image_header(path, as_stored=as_stored)[0]


def orientation_of(path: Path) -> int:
    """How a photo is turned to be looked at, as EXIF counts it; 1 if it is stored upright.

    Raises:
        UnreadableImage: missing, not an image, or its EXIF is damaged.
    """
    with open_image(path) as image:
        return _orientation(image, path)


def thumbnail(path: Path, side: int, *, as_stored: bool = False) -> np.ndarray:
    """A small picture for people to look at.

    Args:
        path: the photo.
        side: most rows and columns.
        as_stored: not turned upright.

    Returns:
        ``h w 3`` levels of 8 bits, sRGB; transparency is shown on grey.

    Raises:
        UnreadableImage: missing, truncated or not an image.
    """
    from PIL import Image

    with open_image(path) as image:
        turn = _missing_turn(image, path, as_stored)
        try:
            if image.mode in ("I", "I;16", "I;16B", "I;16L"):
                levels = (decode(path, as_stored=as_stored)[..., 0] >> 8).astype(np.uint8)
                small, turn = Image.fromarray(levels), 1
            else:
                image.draft("RGB", (side, side))
                small = image
            small = small.convert("RGBA")
            small.thumbnail((side, side))
            small = Image.fromarray(_turned(np.asarray(small), turn))
        except TROUBLE as error:
            raise UnreadableImage(unreadable(path, error)) from error
    grey = Image.new("RGBA", small.size, (128, 128, 128, 255))
    return np.asarray(Image.alpha_composite(grey, small).convert("RGB"))


def load_image(
    path: Path, *, as_stored: bool = False
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]:
    """Decode a photograph.

    Args:
        path: 8- or 16-bit, grey or colour, sRGB-encoded, with or without straight alpha.
        as_stored: without applying the EXIF orientation.

    Returns:
        Linear straight (not premultiplied) RGB, and alpha in [0, 1] if the file has any.

    Raises:
        ValueError: missing, truncated or not an image.
    """
    pixels = decode(path, as_stored=as_stored)
    values = torch.from_numpy(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)
    alpha = values[..., -1].contiguous() if pixels.shape[2] in (2, 4) else None
    color = values[..., :1].expand(-1, -1, 3) if pixels.shape[2] <= 2 else values[..., :3]
    return linear_from_srgb(color), alpha


def load_mask(path: Path, *, as_stored: bool = False) -> Float[Tensor, "h w"]:
    """Decode a mask: 1 where the object is.

    Args:
        path: an image whose white marks the object; if its transparency varies, that is the mask.
        as_stored: without applying the mask's own EXIF orientation.

    Raises:
        ValueError: missing, truncated or not an image.
    """
    pixels = decode(path, as_stored=as_stored)
    if pixels.shape[2] in (2, 4) and pixels[..., -1].min() < np.iinfo(pixels.dtype).max:
        plane = pixels[..., -1]
    else:
        plane = pixels[..., :3].max(axis=2) if pixels.shape[2] >= 3 else pixels[..., 0]
    return torch.from_numpy(plane.astype(np.float32) / np.iinfo(pixels.dtype).max)


# Dark backgrounds: levels of the brightest channel of the 8-bit photograph.
_DARKEST_THRESHOLD = 12
_BRIGHTEST_THRESHOLD = 64
_BORDER_SHARE = 0.97


def border_is_dark(path: Path) -> bool:
    """Whether practically all of a photograph's outermost pixels are near black."""
    return bool((_border(_peak(path, True)) < _BRIGHTEST_THRESHOLD).mean() > _BORDER_SHARE)


def mask_dark_background(path: Path, *, as_stored: bool = False) -> Float[Tensor, "h w"]:
    """Separate an object from a near-black background.

    The border shows what the backdrop looks like (velvet is not black): the threshold lies 30 %
    above practically all of it. A closing bridges shaded creases, an opening removes glints
    on the backdrop, the largest component is kept, and enclosed holes are filled up to 0.2 % of
    the image: larger ones are openings of the object.

    Args:
        path: a photograph whose border is dark.
        as_stored: without applying the EXIF orientation.
    """
    from scipy import ndimage

    peak = ndimage.gaussian_filter(_peak(path, as_stored).astype(np.float32), 1.0)
    threshold = float(np.quantile(_border(peak), 0.999)) * 1.3
    threshold = np.clip(threshold, _DARKEST_THRESHOLD, _BRIGHTEST_THRESHOLD)
    reach = max(1, round(min(peak.shape) / 240))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.hypot(rows, columns) <= reach + 0.3
    # Padding keeps the closing from treating the image's edge as object.
    pad = 4 * reach
    bright = np.pad(peak > threshold, pad)
    bright = ndimage.binary_closing(bright, disk, iterations=2)
    bright = ndimage.binary_opening(bright, disk)[pad:-pad, pad:-pad]
    mask = _components(bright, lambda sizes: sizes == sizes.max())
    mask |= _components(~mask, lambda sizes: sizes < 0.002 * mask.size)
    return torch.from_numpy(mask.astype(np.float32))


def _border(plane: np.ndarray) -> np.ndarray:
    sides = (plane[:3], plane[-3:], plane[:, :3], plane[:, -3:])
    return np.concatenate([side.ravel() for side in sides])


def _components(binary: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The connected components of a binary image that ``choose`` picks by their pixel counts."""
    from scipy import ndimage

    labels = np.zeros(binary.shape, np.int32)
    if not ndimage.label(binary, output=labels):
        return np.zeros_like(binary)
    chosen = choose(np.bincount(labels.ravel())[1:])
    return np.concatenate([[False], chosen])[labels]


def _peak(path: Path, as_stored: bool) -> np.ndarray:
    pixels = decode(path, as_stored=as_stored)
    color = pixels[..., :1] if pixels.shape[2] <= 2 else pixels[..., :3]
    peak = color.max(axis=2)
    return peak if peak.dtype == np.uint8 else (peak >> 8).astype(np.uint8)


def _ends_with(path: Path, ending: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(-len(ending), os.SEEK_END)
        return file.read() == ending


def _orientation(image, path: Path) -> int:
    # For a PNG without EXIF in front of its pixels, getexif would decode them to look behind.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        with silently():
            stated = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception as error:  # Pillow's EXIF reader raises whatever its parsing trips over
        raise UnreadableImage(unreadable(path, error)) from error
    # Other values mean nothing; whoever looks at photos takes them for upright ones.
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def undoing(orientation: int) -> int:
    """The EXIF orientation that turns an image back."""
    return _UNDOING.get(orientation, orientation)


def _stored_size(image) -> tuple[int, int]:
    """Width and height of the rows and columns as the file stores them."""
    if image.format != "TIFF":
        return image.size
    return image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]  # Pillow's size may be the turned one


def _missing_turn(image, path: Path, as_stored: bool) -> int:
    """The EXIF orientation by which pixels have to be turned once Pillow has decoded them."""
    if image.format != "TIFF":
        return 1 if as_stored else _orientation(image, path)
    # Pillow turns the pixels of TIFF files, and only these, while it decodes them.
    return undoing(_orientation(image, path)) if as_stored else 1


def decode(path: Path, *, as_stored: bool = False) -> np.ndarray:
    """Levels of an image as the file holds them.

    Args:
        path: an image of 8 or 16 bits per channel.
        as_stored: rows and columns, too, as the file holds them; else upright, as the EXIF
            orientation says.

    Returns:
        ``h w c`` with c in 1 (grey), 2 (grey, alpha), 3, 4; uint8 or uint16.

    Raises:
        UnreadableImage: missing, truncated or not an image.
    """
    with open_image(path) as image:
        turn = _missing_turn(image, path, as_stored)
        try:
            if image.format == "PNG" and _png_is_deep_color(path):
                return _turned(_decode_deep_png(path, image.mode), turn)
            if image.mode in ("I", "I;16", "I;16B", "I;16L"):
                pixels = np.asarray(image.convert("I"))
                if pixels.min() < 0 or pixels.max() > 65535:
                    raise ValueError("expected 8 or 16 bits per channel")
                return _turned(pixels.astype(np.uint16)[..., None], turn)
            transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            if image.mode in ("1", "L", "LA"):
                image = image.convert("LA" if transparent else "L")
            else:
                image = image.convert("RGBA" if transparent else "RGB")
            pixels = np.asarray(image)
        except TROUBLE as error:
            raise UnreadableImage(unreadable(path, error)) from error
    return _turned(pixels[..., None] if pixels.ndim == 2 else pixels, turn)


def _png_is_deep_color(path: Path) -> bool:
    """Whether a PNG has 16 bits in several channels, which Pillow would cut to 8."""
    with path.open("rb") as file:
        header = file.read(26)
    return len(header) == 26 and header[24] == 16 and header[25] in (2, 4, 6)


def _decode_deep_png(path: Path, mode: str) -> np.ndarray:
    from kornia_rs import io

    kind = {"RGB": "rgb", "RGBA": "rgba"}[mode]
    try:
        return np.asarray(io.read_image_png_u16(str(path), kind))
    except Exception as error:  # kornia_rs raises nothing more precise
        raise ValueError(str(error)) from error


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to an h w c array (EXIF 2.32, tag 0x0112)."""
    if orientation in QUARTER_TURNS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
