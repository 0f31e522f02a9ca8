"""Vertex normals of float32 meshes on the CPU: one compiled pass forward, one backward.

Faces are visited in order by one thread, so results are the same bit for bit every time.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from invgraph.geometry.topology import Topology


@njit(nogil=True, cache=True)
def _normals(vertices, faces, normals, inverse):
    """Sum every face's (b - a) x (c - a) at its corners, then scale to unit length.

    ``inverse`` becomes one over the lengths, zero where there is none.
    """
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, vx = vertices[b, 0] - vertices[a, 0], vertices[c, 0] - vertices[a, 0]
        uy, vy = vertices[b, 1] - vertices[a, 1], vertices[c, 1] - vertices[a, 1]
        uz, vz = vertices[b, 2] - vertices[a, 2], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for v in range(vertices.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        length2 = x * x + y * y + z * z
        # Not `length2 > 0`: a NaN stays one.
        scale = np.float32(0) if length2 == 0 else np.float32(1) / np.sqrt(length2)
        inverse[v] = scale
        normals[v, 0], normals[v, 1], normals[v, 2] = x * scale, y * scale, z * scale


@njit(nogil=True, cache=True)
def _pull_back(vertices, faces, normals, inverse, g_normals, g_total, g_vertices):
    """The transpose of the derivative of :func:`_normals`; ``g_total`` is working space."""
    for v in range(vertices.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        along = x * g_normals[v, 0] + y * g_normals[v, 1] + z * g_normals[v, 2]
        g_total[v, 0] = (g_normals[v, 0] - along * x) * inverse[v]
        g_total[v, 1] = (g_normals[v, 1] - along * y) * inverse[v]
        g_total[v, 2] = (g_normals[v, 2] - along * z) * inverse[v]
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, vx = vertices[b, 0] - vertices[a, 0], vertices[c, 0] - vertices[a, 0]
        uy, vy = vertices[b, 1] - vertices[a, 1], vertices[c, 1] - vertices[a, 1]
        uz, vz = vertices[b, 2] - vertices[a, 2], vertices[c, 2] - vertices[a, 2]
        gx = g_total[a, 0] + g_total[b, 0] + g_total[c, 0]
        gy = g_total[a, 1] + g_total[b, 1] + g_total[c, 1]
        gz = g_total[a, 2] + g_total[b, 2] + g_total[c, 2]
        # d(u x v) . g = du . (v x g) + dv . (g x u)
        bx, by, bz = vy * gz - vz * gy, vz * gx - vx * gz, vx * gy - vy * gx
        cx, cy, cz = gy * uz - gz * uy, gz * ux - gx * uz, gx * uy - gy * ux
        g_vertices[b, 0] += bx
        g_vertices[b, 1] += by
        g_vertices[b, 2] += bz
        g_vertices[c, 0] += cx
        g_vertices[c, 1] += cy
        g_vertices[c, 2] += cz
        g_vertices[a, 0] -= bx + cx
        g_vertices[a, 1] -= by + cy
        g_vertices[a, 2] -= bz + cz


class VertexNormals(torch.autograd.Function):
    """Unit vertex normals of ``(b, v, 3)`` contiguous vertices."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, topology: Topology) -> Tensor:
        normals = torch.zeros_like(vertices)
        inverse = vertices.new_empty(vertices.shape[:-1])
        pieces = (vertices.detach().numpy(), normals.numpy(), inverse.numpy())
        for item, result, lengths in zip(*pieces, strict=True):
            _normals(item, topology.faces, result, lengths)
        ctx.save_for_backward(vertices, normals, inverse)
        ctx.faces = topology.faces
        return normals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_normals: Tensor) -> tuple[Tensor, None]:
        vertices, normals, inverse = (tensor.numpy() for tensor in ctx.saved_tensors)
        g_vertices = torch.zeros(vertices.shape)
        g_total = np.empty_like(vertices[0])
        g_items = g_normals.contiguous().numpy()
        for i, g_item in enumerate(g_items):
            item = vertices[i], ctx.faces, normals[i], inverse[i], g_item, g_total
            _pull_back(*item, g_vertices.numpy()[i])
        return g_vertices, None


def vertex_normals_cpu(vertices: Tensor, topology: Topology) -> Tensor:
    """Unit normals of ``(*batch, v, 3)`` float32 vertices on the CPU.

    Raises:
        ValueError: a face points outside the vertices.
    """
    count = vertices.shape[-2]
    if topology.low < 0 or topology.high >= count:
        raise ValueError(
            f"faces hold indices from {topology.low} to {topology.high} but there are "
            f"{count} vertices."
        )
    flat = vertices.reshape(-1, count, 3).contiguous()
    return VertexNormals.apply(flat, topology).reshape(vertices.shape)
