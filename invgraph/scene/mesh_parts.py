"""What the readers of mesh files give: triangles of one look."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int64

from invgraph.geometry.color import linear_from_srgb
from invgraph.scene.textures import Texture


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Triangles of one material. Its colour is the product of what is there of ``texture``,
    ``factor`` and ``vertex_colors``; where there is nothing, the file states no colour.

    Attributes:
        vertices: the file's units and frame, poses applied.
        faces: vertex indices.
        uv: per vertex, for ``texture``; v = 0 is its top row.
        texture: of colours.
        factor: linear RGB of the whole part.
        vertex_colors: linear RGB; a row of NaN is a vertex without.
    """

    vertices: Float64[np.ndarray, "v 3"]
    faces: Int64[np.ndarray, "f 3"]
    uv: Float64[np.ndarray, "v 2"] | None = None
    texture: Texture | None = None
    factor: Float64[np.ndarray, "3"] | None = None
    vertex_colors: Float64[np.ndarray, "v 3"] | None = None


def with_face_colors(part: MeshPart, colors: Float64[np.ndarray, "f 3"]) -> MeshPart:
    """Three vertices for every face, in its colour (linear RGB)."""
    corners = part.faces.reshape(-1)
    return replace(
        part,
        vertices=part.vertices[corners],
        faces=np.arange(len(corners)).reshape(-1, 3),
        uv=None if part.uv is None else part.uv[corners],
        vertex_colors=np.repeat(colors, 3, 0),
    )


def linear_colors(srgb: np.ndarray) -> np.ndarray:
    """Linear RGB of sRGB in [0, 1]; NaN stays."""
    return linear_from_srgb(torch.from_numpy(np.asarray(srgb, np.float64))).numpy()
