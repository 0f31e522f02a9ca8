"""Which vertices the triangles of a mesh join, as kernels read it."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor


class Topology:
    """Triangles, checked and copied once.

    Functions that take faces take a ``Topology`` as well, and do then not look at every index
    again. A :class:`~invgraph.geometry.mesh.Mesh` has its own.

    Args:
        faces: ``f 3`` integers, three vertices each, on any device. Changes that are made to the
            tensor afterwards are not seen.

    Attributes:
        source: the tensor it was made from; None if it was joined.

    Raises:
        ValueError: no integers, no triangles, or an index beyond 32 bits.
    """

    def __init__(self, faces: Tensor) -> None:
        whole = not (faces.dtype.is_floating_point or faces.dtype.is_complex)
        if faces.ndim != 2 or faces.shape[1] != 3 or not whole or faces.dtype == torch.bool:
            raise ValueError(
                f"faces are {faces.dtype} of shape {tuple(faces.shape)}, expected integers of "
                "shape (faces, 3): three vertices each."
            )
        self.source: Tensor | None = faces
        self._parts: list[tuple[Topology, int, int]] = []  # with its first vertex and face
        if faces.device.type == "cpu":
            self.faces  # noqa: B018  copied now; elsewhere it would wait for the device

    @cached_property
    def faces(self) -> Int32[np.ndarray, "f 3"]:
        """The indices, contiguous."""
        if self.source is None:
            shifted = [part.faces + np.int32(vertex) for part, vertex, _ in self._parts]
            return np.concatenate([np.zeros((0, 3), np.int32), *shifted])
        indices = self.source.detach().cpu().numpy()
        if indices.size and int(indices.max()) > np.iinfo(np.int32).max:
            raise ValueError(
                f"faces hold index {indices.max()}; at most 2**31 - 1 vertices are supported."
            )
        return np.array(indices, np.int32, order="C")

    @cached_property
    def low(self) -> int:
        """The smallest vertex index; 0 without faces."""
        return int(self.faces.min()) if self.faces.size else 0

    @cached_property
    def high(self) -> int:
        """The largest vertex index; -1 without faces."""
        return int(self.faces.max()) if self.faces.size else -1

    @staticmethod
    def join(parts: "Sequence[Topology]", counts: Sequence[int]) -> "Topology":
        """The triangles of several meshes whose vertices follow one another.

        Args:
            parts: of the meshes.
            counts: numbers of vertices.
        """
        if len(parts) == 1:
            return parts[0]
        joined = Topology(torch.zeros(0, 3, dtype=torch.int32))
        joined.source = None
        del joined.faces
        vertex = first = 0
        for part, count in zip(parts, counts, strict=True):
            joined._parts.append((part, vertex, first))
            vertex, first = vertex + count, first + len(part.faces)
        return joined

    @cached_property
    def adjacent(self) -> Int32[np.ndarray, "f 3"]:
        """The face across the edge opposite each corner, -1 where there is not just one."""
        from invgraph.geometry.topology_cpu import neighbours

        if self.source is None:
            parts = [(part.adjacent, first) for part, _, first in self._parts]
            shifted = [np.where(a < 0, a, a + np.int32(first)) for a, first in parts]
            return np.concatenate([np.zeros((0, 3), np.int32), *shifted])
        heads = np.empty(self.high + 1, np.int32)
        after = np.empty(3 * len(self.faces), np.int32)
        adjacent = np.empty_like(self.faces)
        neighbours(self.faces, self.high + 1, heads, after, adjacent)
        return adjacent
