"""Points as binary PLY, plain or with colours."""

import re

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

_HEADER = """\
ply
format binary_little_endian 1.0
element vertex {count}
property float x
property float y
property float z
end_header
"""


def encode_points(points: Float[Tensor, "n 3"]) -> bytes:
    """The bytes of a PLY file that other programs open."""
    header = _HEADER.format(count=len(points)).encode()
    return header + points.detach().float().numpy().astype("<f4").tobytes()


def encode_colored_points(
    points: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "m 3"]
) -> bytes:
    """The bytes of a PLY file of points with sRGB bytes, one colour per point.

    Raises:
        ValueError: not as many colours as points.
    """
    if len(points) != len(colors):
        raise ValueError(f"got {len(points)} points but {len(colors)} colours; give one each.")
    rows = np.empty(len(points), [("at", "<f4", 3), ("color", "u1", 3)])
    rows["at"], rows["color"] = points, colors
    channels = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    header = _HEADER.format(count=len(points)).replace("end_header", f"{channels}end_header")
    return header.encode() + rows.tobytes()


def decode_points(data: bytes) -> np.ndarray:
    """The finite points of a file that :func:`encode_points` made, ``n 3`` float32.

    Raises:
        ValueError: the bytes are something else, or cut off.
    """
    header = _HEADER.replace(".", r"\.").replace("{count}", r"(\d{1,9})").encode()
    match = re.match(header, data)
    if match is None or len(data) != match.end() + 12 * int(match[1]):
        raise ValueError("it is damaged (not whole, or not a PLY file of three floats a point)")
    points = np.frombuffer(data, "<f4", offset=match.end()).reshape(-1, 3)
    return points[np.isfinite(points).all(1)]
