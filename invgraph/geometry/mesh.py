"""Triangle meshes, with the normals, areas, volumes that follow from them."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.geometry.tensor_tree import map_tensors
from invgraph.geometry.topology import Topology


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, with an optional unwrapping into a texture.

    Attributes:
        vertices: positions; batch axes share the faces.
        faces: vertex indices, counter-clockwise seen from outside: (b - a) x (c - a) points out.
        uv: texture coordinates in [0, 1]; v = 0 is the texture's top row.
        uv_faces: indices into ``uv``, corner by corner of ``faces``; None with ``uv`` present
            means that ``uv`` is per vertex and ``faces`` index it.
        topology: of ``faces``, as kernels read it; made when left out, kept by ``replace`` as long
            as the faces are the same tensor.
        uv_topology: likewise of ``uv_faces``.

    Raises:
        ValueError: shapes do not fit together.
    """

    vertices: Float[Tensor, "*batch v 3"]
    faces: Int[Tensor, "f 3"]
    uv: Float[Tensor, "t 2"] | None = None
    uv_faces: Int[Tensor, "f 3"] | None = None
    topology: Topology = field(default=None, repr=False)  # pyright: ignore[reportAssignmentType]
    uv_topology: Topology | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.vertices.ndim < 2 or self.vertices.shape[-1] != 3:
            raise ValueError(
                f"vertices should be (*batch, v, 3) but have shape {tuple(self.vertices.shape)}."
            )
        if self.faces.ndim != 2 or self.faces.shape[-1] != 3:
            raise ValueError(
                f"faces should be (f, 3) but have shape {tuple(self.faces.shape)}; "
                "split polygons into triangles."
            )
        if self.uv_faces is not None and self.uv is None:
            raise ValueError("uv_faces are given but uv is not; give both or neither.")
        if self.uv_faces is not None and self.uv_faces.shape != self.faces.shape:
            raise ValueError(
                f"uv_faces have shape {tuple(self.uv_faces.shape)} but faces have "
                f"{tuple(self.faces.shape)}; they should match corner by corner."
            )
        self._know("topology", self.faces)
        self._know("uv_topology", self.uv_faces)
        count = self.vertices.shape[-2]
        if self.uv is not None and self.uv_faces is None and self.uv.shape[0] != count:
            raise ValueError(
                f"uv has {self.uv.shape[0]} rows for {count} vertices; give uv_faces when they "
                "differ."
            )

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"vertices": 2}

    def _know(self, name: str, faces: Tensor | None) -> None:
        """Make a topology anew where it is of other faces."""
        known: Topology | None = getattr(self, name)
        if faces is None:
            object.__setattr__(self, name, None)
        elif known is None or known.source is not faces:
            object.__setattr__(self, name, Topology(faces))

    @property
    def batch_shape(self) -> torch.Size:
        """Batch axes of the vertices."""
        return self.vertices.shape[:-2]

    @property
    def texture_faces(self) -> Int[Tensor, "f 3"]:
        """The faces that index ``uv``."""
        return self.faces if self.uv_faces is None else self.uv_faces

    @property
    def texture_topology(self) -> Topology:
        """Of :attr:`texture_faces`."""
        return self.topology if self.uv_topology is None else self.uv_topology

    def to(self, target: torch.device | str) -> "Mesh":
        """The same mesh on another device."""
        return map_tensors(lambda tensor: tensor.to(target), self)


def check_indices(mesh: Mesh) -> None:
    """Refuse faces that point outside the vertices or the texture coordinates.

    Raises:
        ValueError: an index is negative or too large.
    """
    pairs = [("faces", mesh.topology, mesh.vertices.shape[-2], "vertices")]
    if mesh.uv is not None and mesh.uv_topology is not None:
        pairs.append(("uv_faces", mesh.uv_topology, mesh.uv.shape[0], "uv"))
    for name, known, count, target in pairs:
        if known.low < 0 or known.high >= count:
            raise ValueError(
                f"{name} hold indices from {known.low} to {known.high} but there are "
                f"{count} {target}; indices should lie in [0, {count - 1}]."
            )


def gather_vertices(
    values: Float[Tensor, "*batch v c"], faces: Int[Tensor, "f k"]
) -> Float[Tensor, "*batch f k c"]:
    """Per-vertex values at the corners of faces (or at the ends of edges)."""
    return values.index_select(-2, faces.reshape(-1)).unflatten(-2, tuple(faces.shape))


def _cross_normals(mesh: Mesh) -> Tensor:
    a, b, c = gather_vertices(mesh.vertices, mesh.faces).unbind(-2)
    return torch.linalg.cross(b - a, c - a)


def face_normals(mesh: Mesh) -> Float[Tensor, "*batch f 3"]:
    """Unit outward normal of every face; zero for a face without area."""
    return _unit(_cross_normals(mesh))


def _unit(vectors: Tensor) -> Tensor:
    """Vectors over their lengths; zero, with zero gradient, where there is no length."""
    length2 = (vectors * vectors).sum(-1, keepdim=True)
    # NaN counts as a length, so that it shows.
    some = length2 != 0
    return torch.where(some, vectors * torch.where(some, length2, 1.0).rsqrt(), 0.0)


def face_areas(mesh: Mesh) -> Float[Tensor, "*batch f"]:
    """Area of every face.

    Gradients:
        Zero, not NaN, for a face without area.
    """
    cross2 = _cross_normals(mesh).square().sum(-1)
    positive = cross2 > 0
    return torch.where(positive, 0.5 * torch.where(positive, cross2, 1.0).sqrt(), 0.0)


def vertex_normals(mesh: Mesh) -> Float[Tensor, "*batch v 3"]:
    """Unit outward normal of every vertex: the area-weighted mean of its faces' normals.

    A vertex of no face, or of faces that cancel, gets zero.

    Gradients:
        Reach ``mesh.vertices``; zero where the normal is. To first order only for float32 on the
        CPU, where a compiled kernel does the sums.
    """
    if mesh.vertices.device.type == "cpu" and mesh.vertices.dtype == torch.float32:
        from invgraph.geometry.normals_cpu import vertex_normals_cpu

        return vertex_normals_cpu(mesh.vertices, mesh.topology)
    cross = _cross_normals(mesh)
    corners = cross[..., None, :].expand(*cross.shape[:-1], 3, 3).flatten(-3, -2)
    index = mesh.faces.reshape(-1).long()
    return _unit(torch.zeros_like(mesh.vertices).index_add(-2, index, corners))


def volume(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Signed volume enclosed by a closed mesh; positive when faces point outwards."""
    a, b, c = gather_vertices(mesh.vertices, mesh.faces).unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum((-1, -2)) / 6
