"""Triangle meshes: the data, primitive shapes, normals, area, subdivision."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.geometry.tree import map_tensors


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, with an optional unwrapping into a texture.

    Attributes:
        vertices: positions; batch axes share the faces.
        faces: vertex indices, counter-clockwise seen from outside: (b - a) x (c - a) points out.
        uv: texture coordinates in [0, 1]; v = 0 is the texture's top row.
        uv_faces: indices into ``uv``, corner by corner of ``faces``; None with ``uv`` present
            means that ``uv`` is per vertex and ``faces`` index it.

    Raises:
        ValueError: shapes do not fit together.
    """

    vertices: Float[Tensor, "*batch v 3"]
    faces: Int[Tensor, "f 3"]
    uv: Float[Tensor, "t 2"] | None = None
    uv_faces: Int[Tensor, "f 3"] | None = None

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
        count = self.vertices.shape[-2]
        if self.uv is not None and self.uv_faces is None and self.uv.shape[0] != count:
            raise ValueError(
                f"uv has {self.uv.shape[0]} rows for {count} vertices; give uv_faces when they "
                "differ."
            )

    @property
    def batch_shape(self) -> torch.Size:
        """Batch axes of the vertices."""
        return self.vertices.shape[:-2]

    @property
    def texture_faces(self) -> Int[Tensor, "f 3"]:
        """The faces that index ``uv``."""
        return self.faces if self.uv_faces is None else self.uv_faces

    def to(self, target: torch.device | str) -> "Mesh":
        """The same mesh on another device."""
        return map_tensors(lambda tensor: tensor.to(target), self)


def check_indices(mesh: Mesh) -> None:
    """Refuse faces that point outside the vertices or the texture coordinates.

    Raises:
        ValueError: an index is negative or too large.
    """
    pairs = [("faces", mesh.faces, mesh.vertices.shape[-2], "vertices")]
    if mesh.uv is not None and mesh.uv_faces is not None:
        pairs.append(("uv_faces", mesh.uv_faces, mesh.uv.shape[0], "uv"))
    for name, faces, count, target in pairs:
        if faces.numel() and (int(faces.min()) < 0 or int(faces.max()) >= count):
            raise ValueError(
                f"{name} hold indices from {int(faces.min())} to {int(faces.max())} but there are "
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

        return vertex_normals_cpu(mesh.vertices, mesh.faces)
    cross = _cross_normals(mesh)
    corners = cross[..., None, :].expand(*cross.shape[:-1], 3, 3).flatten(-3, -2)
    index = mesh.faces.reshape(-1).long()
    return _unit(torch.zeros_like(mesh.vertices).index_add(-2, index, corners))


def volume(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Signed volume enclosed by a closed mesh; positive when faces point outwards."""
    a, b, c = gather_vertices(mesh.vertices, mesh.faces).unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum((-1, -2)) / 6


def edges(mesh: Mesh) -> Int[Tensor, "e 2"]:
    """Every undirected edge once, as a sorted pair of vertices, in lexicographic order."""
    return _edges_and_corners(mesh.faces)[0].to(mesh.faces.dtype)


def _edges_and_corners(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Unique edges, and per face the index of the edge opposite to each of its corners."""
    pairs = torch.stack((faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]), 1).long()
    low, high = pairs.amin(-1), pairs.amax(-1)
    count = int(high.max()) + 1 if high.numel() else 1
    keys, inverse = torch.unique(low * count + high, return_inverse=True)
    return torch.stack((keys // count, keys % count), -1), inverse


def icosphere(level: int = 2) -> Mesh:
    """Unit sphere of 20 * 4**level nearly equal triangles.

    Raises:
        ValueError: ``level`` is negative.
    """
    if level < 0:
        raise ValueError(f"icosphere level should be at least 0 but is {level}.")
    g = (1 + math.sqrt(5)) / 2
    points = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g)]
    points += [(0, -1, -g), (0, 1, -g), (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    fan = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11)]
    belt = [(1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8)]
    belt += [(4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)]
    base = [(3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9)]
    vertices = torch.nn.functional.normalize(torch.tensor(points, dtype=torch.float64), dim=-1)
    mesh = Mesh(vertices, torch.tensor(fan + belt + base, dtype=torch.int32))
    for _ in range(level):
        mesh = subdivide(mesh)
        mesh = replace(mesh, vertices=torch.nn.functional.normalize(mesh.vertices, dim=-1))
    return replace(mesh, vertices=mesh.vertices.float())


def _grid_faces(rows: int, columns: int) -> Tensor:
    """Two triangles per cell of a (rows + 1) x (columns + 1) grid, seen with rows going down."""
    top = torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)
    a, b = top, top + 1
    c, d = top + columns + 1, top + columns + 2
    triangles = torch.stack((torch.stack((a, c, d), -1), torch.stack((a, d, b), -1)), 2)
    return triangles.reshape(-1, 3).int()


def _grid_uv(rows: int, columns: int) -> Tensor:
    v, u = torch.meshgrid(
        torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, columns + 1), indexing="ij"
    )
    return torch.stack((u, v), -1).reshape(-1, 2)


def uv_sphere(rows: int = 32, columns: int = 64) -> Mesh:
    """Unit sphere in latitudes and longitudes, unwrapped like a world map.

    The poles are at y = +1 (top row of the texture) and y = -1; u = 0 is towards -z, a quarter is
    -x, the middle is +z. Vertices are shared across the seam, texture coordinates are not.

    Raises:
        ValueError: fewer than 2 rows or 3 columns.
    """
    if rows < 2 or columns < 3:
        raise ValueError(f"uv_sphere needs 2 rows and 3 columns but got {rows} and {columns}.")
    theta = torch.arange(1, rows, dtype=torch.float64)[:, None] * (math.pi / rows)
    phi = torch.arange(columns, dtype=torch.float64)[None] * (2 * math.pi / columns)
    ring = torch.stack(
        (-theta.sin() * phi.sin(), theta.cos().expand(-1, columns), -theta.sin() * phi.cos()), -1
    )
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    vertices = torch.cat((poles[:1], ring.reshape(-1, 3), poles[1:])).float()
    uv_faces = _grid_faces(rows, columns)
    row, column = uv_faces // (columns + 1), uv_faces % (columns + 1)
    faces = 1 + (row - 1) * columns + column % columns
    faces = torch.where(row == 0, 0, torch.where(row == rows, len(vertices) - 1, faces))
    # The two triangles of a cell at a pole: one of them has no area.
    whole = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    return Mesh(vertices, faces[whole].int(), _grid_uv(rows, columns), uv_faces[whole])


def torus(major: float = 1.0, minor: float = 0.4, rows: int = 32, columns: int = 64) -> Mesh:
    """Torus around the y axis, unwrapped with u around the axis and v around the tube.

    Raises:
        ValueError: fewer than 3 rows or columns, or radii that make it cross itself.
    """
    if rows < 3 or columns < 3:
        raise ValueError(f"torus needs 3 rows and 3 columns but got {rows} and {columns}.")
    if not 0 < minor < major:
        raise ValueError(f"torus needs 0 < minor < major but got {minor} and {major}.")
    theta = torch.arange(rows, dtype=torch.float64)[:, None] * (2 * math.pi / rows)
    phi = torch.arange(columns, dtype=torch.float64)[None] * (2 * math.pi / columns)
    radius = major + minor * theta.sin()
    height = (minor * theta.cos()).expand(-1, columns)
    vertices = torch.stack((-radius * phi.sin(), height, -radius * phi.cos()), -1)
    uv_faces = _grid_faces(rows, columns)
    row, column = uv_faces // (columns + 1), uv_faces % (columns + 1)
    faces = (row % rows) * columns + column % columns
    return Mesh(vertices.reshape(-1, 3).float(), faces.int(), _grid_uv(rows, columns), uv_faces)


def plane(rows: int = 1, columns: int = 1) -> Mesh:
    """Square from -1 to 1 in x and y at z = 0 with normal +z; the texture's top is at y = 1."""
    uv = _grid_uv(rows, columns)
    vertices = torch.stack((2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1], torch.zeros(len(uv))), -1)
    return Mesh(vertices, _grid_faces(rows, columns), uv)


def cube() -> Mesh:
    """Cube from -1 to 1 with 8 shared vertices; every side shows the whole texture upright."""
    corners = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    # Per side, seen from outside: top left, bottom left, bottom right, top right.
    sides = [(7, 5, 4, 6), (2, 0, 1, 3), (3, 1, 5, 7), (6, 4, 0, 2), (2, 3, 7, 6), (1, 0, 4, 5)]
    faces = [(q[i], q[j], q[k]) for q in sides for i, j, k in ((0, 1, 2), (0, 2, 3))]
    uv = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    uv_faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32).repeat(6, 1)
    return Mesh(torch.tensor(corners), torch.tensor(faces, dtype=torch.int32), uv, uv_faces)


def subdivide(mesh: Mesh) -> Mesh:
    """Split every triangle into four at the midpoints of its edges, the texture likewise.

    The first vertices, and texture coordinates, are the old ones in the old order.

    Gradients:
        Reach ``mesh.vertices`` and ``mesh.uv``.
    """
    ends, opposite = _edges_and_corners(mesh.faces)
    vertices = torch.cat((mesh.vertices, gather_vertices(mesh.vertices, ends).mean(-2)), -2)
    faces = _split(mesh.faces, opposite + mesh.vertices.shape[-2])
    if mesh.uv is None:
        return Mesh(vertices, faces)
    ends, opposite = _edges_and_corners(mesh.texture_faces)
    uv = torch.cat((mesh.uv, mesh.uv[ends].mean(-2)))
    if mesh.uv_faces is None:
        return Mesh(vertices, faces, uv)
    return Mesh(vertices, faces, uv, _split(mesh.uv_faces, opposite + mesh.uv.shape[0]))


def split_finely(mesh: Mesh, longest: float, most_faces: int) -> Mesh:
    """Subdivide until no edge is longer than this, or there would be more than so many faces."""
    while 4 * len(mesh.faces) <= most_faces:
        corners = gather_vertices(mesh.vertices, mesh.faces)
        if float((corners - corners.roll(1, -2)).norm(dim=-1).max()) <= longest:
            break
        mesh = subdivide(mesh)
    return mesh


def _split(faces: Tensor, middle: Tensor) -> Tensor:
    """Four faces per face; ``middle[:, k]`` is the new vertex opposite corner k."""
    a, b, c = faces.long().unbind(-1)
    x, y, z = middle.unbind(-1)
    new = [(a, z, y), (b, x, z), (c, y, x), (x, y, z)]
    return torch.stack([torch.stack(face, -1) for face in new], 1).reshape(-1, 3).to(faces.dtype)


def sample_surface(
    mesh: Mesh, count: int, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
    """Points spread evenly by area over a mesh, and the face of each.

    Args:
        mesh: one mesh, without batch axes.
        count: number of points.
        generator: source of randomness; torch's global one when None.

    Raises:
        ValueError: the mesh has batch axes or no area.

    Gradients:
        Reach ``mesh.vertices`` through the points; which face is drawn carries none.
    """
    if mesh.batch_shape:
        raise ValueError(f"sample_surface takes one mesh but got batch {tuple(mesh.batch_shape)}.")
    cumulative = face_areas(mesh).detach().double().cumsum(0)
    if not len(cumulative) or not float(cumulative[-1]) > 0:
        raise ValueError("sample_surface needs a mesh with area.")
    like = {"dtype": torch.float64, "device": cumulative.device, "generator": generator}
    picks = torch.rand(count, **like) * cumulative[-1]
    # right=True never picks a face without area.
    face = torch.searchsorted(cumulative, picks, right=True).clamp_max(len(cumulative) - 1)
    first, second = torch.rand(2, count, **like)
    root = first.sqrt()
    weights = torch.stack((1 - root, root * (1 - second), root * second), -1)
    corners = gather_vertices(mesh.vertices, mesh.faces[face])
    return (weights.to(corners.dtype)[..., None] * corners).sum(-2), face


def uniform_laplacian(faces: Int[Tensor, "f 3"], count: int) -> Tensor:
    """Graph Laplacian D - A of a mesh: v^T L v is the sum of squared edge lengths.

    Args:
        faces: vertex indices.
        count: number of vertices.

    Returns:
        Sparse COO, coalesced, (count, count), float32, positive semidefinite, rows sum to zero.
    """
    ends = _edges_and_corners(faces)[0]
    return _laplacian(ends, torch.ones(len(ends), device=faces.device), count)


def cotangent_laplacian(mesh: Mesh) -> Tensor:
    """Laplacian with weights (cot a + cot b) / 2 for the angles opposite to an edge.

    Applied to vertices it gives mean curvature times twice the vertex's area as a vector along
    the outward normal of convex parts; flat regions give zero whatever their triangles.

    Args:
        mesh: one mesh, without batch axes. Faces without area count as if they were not there.

    Returns:
        Sparse COO, coalesced, in the vertices' precision; no gradient reaches the vertices.

    Raises:
        ValueError: the mesh has batch axes.

    Source:
        Meyer et al., Discrete differential-geometry operators (2003), eq. 8.
    """
    if mesh.batch_shape:
        raise ValueError(
            f"cotangent_laplacian takes one mesh but got batch {tuple(mesh.batch_shape)}."
        )
    corners = gather_vertices(mesh.vertices.detach(), mesh.faces)
    to_next, to_last = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    area2 = torch.linalg.cross(to_next[:, :1], to_last[:, :1]).norm(dim=-1)
    cotangent = (to_next * to_last).sum(-1) / torch.where(area2 > 0, area2, 1.0)
    cotangent = torch.where(area2 > 0, cotangent, 0.0)
    ends, opposite = _edges_and_corners(mesh.faces)
    weights = cotangent.new_zeros(len(ends))
    weights = weights.index_add(0, opposite.reshape(-1), cotangent.reshape(-1) / 2)
    return _laplacian(ends, weights, len(mesh.vertices))


def _laplacian(ends: Tensor, weights: Tensor, count: int) -> Tensor:
    i, j = ends.unbind(-1)
    indices = torch.stack((torch.cat((i, j, i, j)), torch.cat((j, i, i, j))))
    values = torch.cat((-weights, -weights, weights, weights))
    return torch.sparse_coo_tensor(
        indices, values, (count, count), check_invariants=False
    ).coalesce()


def laplacian_roughness(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Mean squared distance of a vertex from the mean of its neighbours.

    Gradients:
        Reach ``mesh.vertices``.
    """
    i, j = _edges_and_corners(mesh.faces)[0].unbind(-1)
    v = mesh.vertices
    total = torch.zeros_like(v).index_add(-2, i, v[..., j, :]).index_add(-2, j, v[..., i, :])
    degree = torch.bincount(torch.cat((i, j)), minlength=v.shape[-2])[:, None]
    offset = torch.where(degree > 0, v - total / degree.clamp_min(1), 0.0)
    return offset.square().sum(-1).mean(-1)


def face_pairs(faces: Int[Tensor, "f 3"]) -> Int[Tensor, "p 2"]:
    """Pairs of faces that share an edge; an edge of k faces gives k - 1 pairs."""
    owner = _edges_and_corners(faces)[1].reshape(-1)
    edge, order = owner.sort(stable=True)
    shared = edge[1:] == edge[:-1]
    return torch.stack((order[:-1][shared], order[1:][shared]), -1) // 3


def normal_consistency(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Mean of 1 - cos(angle) between the normals of faces that share an edge; zero when flat.

    Gradients:
        Reach ``mesh.vertices``; they vanish at flat and at completely folded edges.
    """
    normals = gather_vertices(face_normals(mesh), face_pairs(mesh.faces))
    if not normals.shape[-3]:
        return mesh.vertices.sum((-1, -2)) * 0
    return (1 - (normals[..., 0, :] * normals[..., 1, :]).sum(-1)).mean(-1)


def edge_length_spread(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Variance of the edge lengths over their squared mean: zero when all are equal.

    Raises:
        ValueError: the mesh has no faces.
    """
    if not len(mesh.faces):
        raise ValueError("edge_length_spread needs a mesh with faces.")
    a, b = gather_vertices(mesh.vertices, edges(mesh)).unbind(-2)
    squared = (a - b).square().sum(-1)
    length = torch.where(squared > 0, torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)
    return length.var(-1, correction=0) / length.mean(-1).square()
