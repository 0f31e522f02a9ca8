"""What the 3D view shows: mesh, cameras, sparse points, and the recovered light."""

import base64
import io
import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invgraph.data.point_files import decode_points
from invgraph.files.pictures import encode_jpeg
from invgraph.runs.reader import CameraRecord, RunContents

JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
TEXTURE_SIDE = 2048
POINTS_SHOWN = 20_000


def read_points(folder: RunContents, missing: list[str]) -> np.ndarray:
    """The sparse points of a run, ``n 3``; at most ``POINTS_SHOWN``, evenly chosen.

    Args:
        missing: hears of a damaged file.
    """
    if folder.points is None:
        return np.zeros((0, 3), np.float32)
    try:
        points = decode_points(folder.points.read_bytes())
    except ValueError as error:
        missing.append(f"points.ply (the sparse points): {error}")
        return np.zeros((0, 3), np.float32)
    return points[:: max(1, -(-len(points) // POINTS_SHOWN))]


def viewer_data(
    glb: Path,
    poses: list[CameraRecord],
    points: np.ndarray,
    light: dict[str, Any] | None,
    budget: int,
) -> dict:
    """The record that ``viewer.js`` reads.

    Args:
        glb: binary glTF in world coordinates.
        points: sparse points, ``n 3``.
        light: as ``light_matrices`` gives it.
        budget: bytes; a larger GLB gets its textures shrunk and stored as JPEG.

    Raises:
        ValueError: the file is not binary glTF, or too large even so.
    """
    data = glb.read_bytes()
    if len(data) > budget:
        data = shrink_textures(data)
    if len(data) > budget:
        raise ValueError(
            f"its {len(data) / 1e6:.0f} MB are too many for this page; open it in a model viewer"
        )
    split_glb(data)
    up = world_up(poses)
    return {
        "glb": base64.b64encode(data).decode(),
        "up": up.tolist(),
        "eye": (poses[0].centre.tolist() if poses else None),
        "cameras": [
            {"test": pose.split == "test", "corners": frustum(pose).tolist()} for pose in poses
        ],
        "points": base64.b64encode(points.astype("<f4").tobytes()).decode(),
        "light": light,
    }


def light_matrices(lights: Sequence[Any]) -> dict[str, Any] | None:
    """The light as ``viewer.js`` wants it: shade = h M h with h = (normal, 1), one M per channel.

    Quadratic in the normal, it is exact for the spherical harmonics to order 2 that carry 99 % of
    the irradiance (Ramamoorthi & Hanrahan 2001, eq. 11).

    Returns:
        ``frame`` ("world" or "camera") and ``matrices`` (3x16), or None when the lights are not
        all spherical harmonics in one frame.
    """
    from invgraph.rendering.harmonics import evaluate, irradiance_coefficients
    from invgraph.scene import SphericalHarmonicLight

    frames = {light.frame for light in lights}
    if len(frames) != 1 or not all(isinstance(x, SphericalHarmonicLight) for x in lights):
        return None
    normals = torch.nn.functional.normalize(
        torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    shade = torch.zeros(len(normals), 3)
    for light in lights:
        shade += evaluate(irradiance_coefficients(light.coefficients.cpu().float()), normals)
    h = torch.cat([normals, torch.ones(len(normals), 1)], -1).double()
    products = (h[:, :, None] * h[:, None, :]).flatten(1)
    # Normals have length 1 to single precision only, and what tells lengths apart is no direction.
    solution = torch.linalg.pinv(products, rtol=1e-5) @ (shade.double() / math.pi)
    return {"frame": frames.pop(), "matrices": solution.T.tolist()}


def world_up(poses: list[CameraRecord]) -> np.ndarray:
    """The direction that most photographers' upper image edges point to; +y without cameras."""
    if not poses:
        return np.array([0.0, 1.0, 0.0])
    mean = -np.mean([pose.camera_from_world[1, :3] for pose in poses], axis=0)
    # Where cameras look straight down their upper edges cancel; the view directions then say more.
    if np.linalg.norm(mean) < 0.1:
        mean = -np.mean([pose.camera_from_world[2, :3] for pose in poses], axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 1e-6 else np.array([0.0, 1.0, 0.0])


def frustum(pose: CameraRecord) -> np.ndarray:
    """World points: the camera's centre and its image's corners at unit depth, clockwise (5x3)."""
    lens = pose.camera.lens
    (fx, fy), (cx, cy), (height, width) = lens.focal, lens.principal, (lens.height, lens.width)
    left, right, top, bottom = -cx / fx, (width - cx) / fx, -cy / fy, (height - cy) / fy
    corners = np.array(
        [[0, 0, 0], [left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]]
    )
    rotation, translation = pose.camera_from_world[:3, :3], pose.camera_from_world[:3, 3]
    return (corners - translation) @ rotation


def split_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk of a GLB file.

    Raises:
        ValueError: the bytes are not a whole GLB file.
    """
    if len(data) < 20 or data[:4] != b"glTF" or struct.unpack_from("<I", data, 8)[0] > len(data):
        raise ValueError("it is damaged (not a whole binary glTF file)")
    chunks = {}
    at = 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<II", data, at)
        chunks[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length
    try:
        description = json.loads(chunks[JSON_CHUNK])
    except (KeyError, ValueError, RecursionError):
        raise ValueError("it is damaged (its JSON cannot be read)") from None
    if not isinstance(description, dict):
        raise ValueError("it is damaged (its JSON is no object)")
    return description, chunks.get(BINARY_CHUNK, b"")


def join_glb(description: dict[str, Any], binary: bytes) -> bytes:
    """The inverse of ``split_glb``."""
    text = json.dumps(description, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary)),
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), BINARY_CHUNK),
            binary,
        ]
    )


def shrink_textures(data: bytes) -> bytes:
    """Store every embedded picture as a JPEG of at most ``TEXTURE_SIDE`` pixels a side.

    Raises:
        ValueError: the bytes are not a whole GLB file, or a texture in it is no picture.
    """
    from PIL import Image

    description, binary = split_glb(data)
    try:
        return _with_small_textures(description, binary)
    except (
        *(OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError),
        Image.DecompressionBombError,
    ) as error:
        reason = " ".join(str(error).split())[:80]
        raise ValueError(f"it is damaged (its textures cannot be read: {reason})") from error


def _with_small_textures(description: dict[str, Any], binary: bytes) -> bytes:
    from PIL import Image

    views = description.get("bufferViews", [])
    pictures = {
        image["bufferView"]: image
        for image in description.get("images", [])
        if "bufferView" in image
    }
    parts: list[bytes] = []
    length = 0
    for index, view in enumerate(views):
        start = view.get("byteOffset", 0)
        part = binary[start : start + view["byteLength"]]
        if index in pictures:
            with Image.open(io.BytesIO(part), formats=("PNG", "JPEG")) as image:
                image = image.convert("RGB")
            image.thumbnail((TEXTURE_SIDE, TEXTURE_SIDE), Image.Resampling.LANCZOS)
            part = encode_jpeg(np.asarray(image))
            pictures[index]["mimeType"] = "image/jpeg"
        view.update(buffer=0, byteOffset=length, byteLength=len(part))
        parts.append(part + b"\0" * (-len(part) % 4))
        length += len(parts[-1])
    description["buffers"] = [{"byteLength": length}]
    return join_glb(description, b"".join(parts))
