"""Decoded frames of a video as a viewer shows them."""

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invgraph.files.opening import require_memory
from invgraph.geometry.color import linear_from_srgb, srgb_bytes_from_linear

# Numbers of ITU-T H.273. Transfer curves that displays of standard range show as they are:
_STANDARD_CURVES = (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
_CURVES = {8: "linear", 9: "logarithmic", 10: "logarithmic", 16: "PQ", 17: "DCI", 18: "HLG"}
# FFmpeg's number of the matrix that makes luma and colour differences, by that of H.273.
_MATRICES = {0: 1, 1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_UNKNOWN = (2, 3)
_HD_ROWS = 720
# Chromaticities of red, green, blue: of BT.709, and of wider ones by the number of H.273.
_BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_WIDER = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_D65 = (0.3127, 0.3290)


@dataclass(frozen=True)
class Look:
    """What a stream says of all its frames.

    Args:
        aspect: width of a stored pixel over its height.
        primaries: number of its primary colours in H.273.
    """

    aspect: float
    primaries: int


def look_of(stream: Any, path: Path) -> Look:
    """What to know of a video stream, of which a frame was decoded, to show it.

    Raises:
        ValueError: high dynamic range.
    """
    context = stream.codec_context
    curve = int(context.color_trc)
    if curve not in _STANDARD_CURVES:
        name = _CURVES.get(curve, f"number {curve}")
        raise ValueError(f"{path} has the transfer curve {name}; {_conversion(path)}")
    return Look(float(stream.sample_aspect_ratio or 1), int(context.color_primaries))


def small_grey(frame: Any, most: int, path: Path) -> np.ndarray:
    """Luma of a frame as it is stored, ``h w`` float32, at most so many pixels wide.

    Raises:
        ValueError: as for :func:`upright`.
    """
    width = min(frame.width, most)
    height = max(1, round(frame.height * width / frame.width))
    matrix = _matrix(frame, path)
    small = frame.reformat(
        width=width,
        height=height,
        format="gray",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        interpolation="AREA",
    )
    return small.to_ndarray().astype(np.float32)


def upright(frame: Any, look: Look, path: Path) -> np.ndarray:
    """sRGB levels of a frame: square pixels, turned and mirrored as its metadata says.

    Colours of BT.2020 and Display P3 beyond those of sRGB are clamped.

    Args:
        frame: of PyAV.
        look: of its stream.
        path: the video, for messages.

    Returns:
        ``h w 3`` bytes.

    Raises:
        ValueError: a matrix that we do not know, or too large for the memory.

    Source:
        ITU-T H.273 (2021), tables 2 to 4.
    """
    width = max(1, round(frame.width * look.aspect))
    require_memory(path, frame.height, width)
    matrix = _matrix(frame, path)
    levels = frame.reformat(
        width=width, format="rgb24", src_colorspace=matrix, dst_colorspace=matrix
    )
    pixels = levels.to_ndarray()
    wider = _WIDER.get(look.primaries)
    if wider is not None:
        pixels = _in_bt709(pixels, wider)
    return np.ascontiguousarray(_turned(pixels, frame))


def _matrix(frame: Any, path: Path) -> int:
    """FFmpeg's number of the matrix of a frame whose colours we understand."""
    matrix = int(frame.colorspace)
    if matrix not in _MATRICES and matrix not in _UNKNOWN:
        raise ValueError(f"{path} has a colour matrix of number {matrix}; {_conversion(path)}")
    # Frames that do not say their colour matrix follow television: BT.601 in standard definition.
    return _MATRICES.get(matrix, 1 if frame.height >= _HD_ROWS else 5)


def _conversion(path: Path) -> str:
    """What to do about a video whose colours we do not convert."""
    filters = (
        "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=clip,"
        "zscale=t=iec61966-2-1:m=bt709:r=tv,format=yuv420p"
    )
    name, out = (shlex.quote(str(p)) for p in (path, path.with_name(f"{path.stem}_sdr.mp4")))
    return f"convert it by: ffmpeg -i {name} -vf {filters} -crf 16 {out}"


def _in_bt709(pixels: np.ndarray, primaries: tuple) -> np.ndarray:
    """sRGB levels of colours that are given by other primaries."""
    matrix = np.linalg.solve(_xyz_from_rgb(_BT709), _xyz_from_rgb(primaries))
    found = np.empty_like(pixels)
    for row, levels in enumerate(pixels):  # by rows: a frame in floats is large
        linear = linear_from_srgb(torch.from_numpy(levels.astype(np.float32) / 255))
        mixed = linear @ torch.from_numpy(matrix.T.astype(np.float32))
        found[row] = srgb_bytes_from_linear(mixed).numpy()
    return found


def _xyz_from_rgb(primaries: tuple) -> np.ndarray:
    """XYZ of linear RGB whose white is D65 (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, (x / y, 1, (1 - x - y) / y))


def _turned(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Apply the display matrix, to the nearest of the eight ways to lay an image."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    # FFmpeg's libavutil/display.h: x' = a x + c y, y' = b x + d y.
    (a, b), (c, d) = np.frombuffer(bytes(data), np.int32)[:9].reshape(3, 3)[:2, :2].tolist()
    if math.hypot(b, c) > math.hypot(a, d):
        pixels, right, down = pixels.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
