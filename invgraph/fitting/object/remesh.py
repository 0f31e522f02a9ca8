"""New triangulations of a surface: even triangles, and a texture atlas."""

import warnings
from dataclasses import replace

import numpy as np
import torch

from invgraph.geometry.mesh import Mesh, face_areas

FILL = 0.7  # share of an atlas that charts usually cover


def remesh(mesh: Mesh, edge: float, rounds: int = 5) -> Mesh:
    """Triangulate a surface anew with edges of about one length.

    Args:
        mesh: closed manifold surface, without batch axes; its texture coordinates are dropped.
        edge: target edge length, world units.
        rounds: of splitting, collapsing, flipping and tangential smoothing.

    Source:
        Botsch, Kobbelt, A Remeshing Approach to Multiresolution Modeling (2004).
    """
    with warnings.catch_warnings():  # its import names a module that scipy has deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        from gpytoolbox import remesh_botsch

    vertices, faces = remesh_botsch(
        mesh.vertices.detach().double().numpy(),
        mesh.faces.to(torch.int32).numpy(),
        rounds,
        edge,
        True,
    )
    return Mesh(
        torch.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        torch.from_numpy(np.ascontiguousarray(faces, np.int32)),
    )


def mean_edge(mesh: Mesh) -> float:
    """Mean edge length, world units; an inner edge counts twice."""
    corners = mesh.vertices.detach()[mesh.faces.long()]
    return float((corners - corners.roll(1, 1)).norm(dim=-1).mean())


def unwrap(mesh: Mesh, size: int) -> tuple[Mesh, tuple[int, int]]:
    """Lay the surface out as charts of a square texture.

    Args:
        mesh: without batch axes.
        size: wanted side of the texture in texels; charts keep two texels apart.

    Returns:
        The same vertices and faces with ``uv`` in [0, 1] and ``uv_faces``; and the texture's height
        and width, which come close to ``size``.
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices.detach().numpy(), mesh.faces.numpy().astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.padding, packing.bilinear = 2, True
    packing.texels_per_unit = size * (FILL / float(face_areas(mesh).detach().sum())) ** 0.5
    atlas.generate(pack_options=packing)
    _, uv_faces, uv = atlas[0]
    laid_out = replace(
        mesh,
        uv=torch.from_numpy(uv.astype(np.float32)),
        uv_faces=torch.from_numpy(uv_faces.astype(np.int32)),
    )
    return laid_out, (atlas.height, atlas.width)
