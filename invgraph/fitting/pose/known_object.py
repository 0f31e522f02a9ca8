"""The known object: its surface as points to compare, and where its rims may be."""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invgraph.geometry.edges import face_pairs
from invgraph.geometry.mesh import Mesh, face_areas, vertex_normals
from invgraph.geometry.subdivision import split_finely
from invgraph.scene import mesh_files

FINE = 1 / 90  # triangles are split until their edges are this short, relative to the diameter,
LEARNT = 1 / 50  # the same where the colours are learnt from images,
MOST_FACES = 50_000  # or would be more than this many
PLACES = 20
UNLIKE = 0.05  # two colours
LARGEST_M = 20.0  # nothing this large is handled with a camera near it, unless it says so


@dataclass(frozen=True, eq=False)
class KnownObject:
    """A rigid object of known shape.

    Attributes:
        name: the file's.
        mesh: one vertex per place, metres, the file's own frame, or one moved along its axes where
            ``notes`` say so; fine enough for its vertices to carry the colours.
        normals: of the vertices, outwards.
        albedo: linear RGB per vertex; None if the file has colours for less than half the surface.
        given: vertices whose colours are the file's; where they are not, ``albedo`` is a guess.
        rims: pairs of vertices, the edges at which the outline may be.
        sides: per rim, the two faces that meet there; the same face twice at a border.
        places: spread over the surface, to which local colours are attached.
        diameter: largest distance between two vertices, m; a little too small at worst, where a
            round mesh has very many.
        notes: what a user should know of the file, a line each.
    """

    name: str
    mesh: Mesh
    normals: Float[Tensor, "v 3"]
    albedo: Float[Tensor, "v 3"] | None
    given: Bool[Tensor, " v"]
    rims: Int[Tensor, "e 2"]
    sides: Int[Tensor, "e 2"]
    places: Float[Tensor, "k 3"]
    diameter: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.albedo is not None) != bool(self.given.any()):
            raise ValueError(f"{self.name}: given should tell which colours of albedo are known.")

    @cached_property
    def centre(self) -> Float[Tensor, "3"]:
        """Centre of the bounding box."""
        return (self.mesh.vertices.amin(0) + self.mesh.vertices.amax(0)) / 2

    @property
    def one_color(self) -> bool:
        """Whether the file gives one colour for all: paint, or a modelling program's default."""
        if self.albedo is None:
            return False
        least, most = self.albedo[self.given].aminmax(dim=0)
        return float((most - least).max()) < UNLIKE

    def painted(self, albedo: Float[Tensor, "v 3"] | None) -> "KnownObject":
        """The same in other colours, known all over; None for unknown ones."""
        given = torch.full_like(self.given, albedo is not None)
        return replace(self, albedo=albedo, given=given)

    def coarse(self, across: float) -> tuple[Mesh, Int[Tensor, " v"]]:
        """Few triangles, for small renders, and for each of their vertices one of the model's.

        Args:
            across: cells along the diameter, within each of which vertices become one.
        """
        vertices = self.mesh.vertices
        cell = ((vertices - vertices.amin(0)) / (self.diameter / across)).round().long()
        key = (cell[:, 0] * 4096 + cell[:, 1]) * 4096 + cell[:, 2]
        _, index = torch.unique(key, return_inverse=True)
        count = int(index.max()) + 1
        owner = torch.zeros(count, dtype=torch.long).scatter(0, index, torch.arange(len(index)))
        faces = index[self.mesh.faces.long()]
        faces = faces[(faces != faces.roll(1, 1)).all(1)]
        return Mesh(vertices[owner], torch.unique(faces, dim=0).int()), owner


def load_object(path: str | Path, scale: float | None = None) -> KnownObject:
    """Read a model: shape, and colours from its texture, material or vertices where it has any.

    Of a model so far from its origin that float32 spoils its shape, the origin is moved.

    Args:
        path: .obj, .ply, .stl, .off, .glb or .gltf.
        scale: metres per unit of the file; None if the file is in metres.

    Raises:
        ValueError: the file cannot be used, or its size is that of no object in front of a camera,
            as when its unit is the millimetre.
    """
    path = Path(path)
    if scale is not None and not 0 < scale < float("inf"):
        raise ValueError(f"expected a positive scale, metres per unit of {path}, but got {scale}.")
    notes: list[str] = []
    mesh, albedo = mesh_files.load_colored_mesh(path, FINE, MOST_FACES, notes)
    vertices = mesh.vertices * (scale or 1.0)
    if vertices.dtype == torch.float64:
        origin = ((vertices.amin(0) + vertices.amax(0)) / 2).round()
        vertices = (vertices - origin).float()
        x, y, z = origin.tolist()
        notes.append(
            f"{path.name} is far from its origin: poses are those of the model moved by "
            f"({0 - x:.0f}, {0 - y:.0f}, {0 - z:.0f}) m, which float32 can hold."
        )
    mesh = replace(mesh, vertices=vertices)
    if albedo is not None and _back_to_back(mesh, albedo):
        notes.append(
            f"{path.name}: surfaces of different colours lie back to back, and their colours are "
            "mixed: give the model a thickness."
        )
    model = make_object(mesh, albedo, path.stem)
    if albedo is not None and model.albedo is None:
        notes.append(
            f"{path.name}: most of it has no colour, so colours are learnt from the photos."
        )
    elif not bool(model.given.all()) and model.albedo is not None:
        notes.append(f"{path.name}: where it has no colour, colours are learnt from the photos.")
    model = replace(model, notes=tuple(notes))
    if scale is None and model.diameter > LARGEST_M:
        raise ValueError(
            f"{path} is {model.diameter:.4g} m across if its unit is the metre; give the metres "
            "per unit, 0.001 for millimetres (--object-scale 0.001)."
        )
    return model


def make_object(mesh: Mesh, albedo: Float[Tensor, "v 3"] | None, name: str) -> KnownObject:
    """Prepare a mesh for tracking.

    Args:
        mesh: metres; its texture coordinates are not used.
        albedo: linear RGB per vertex; a row of NaN is a vertex whose colour is unknown.
        name: what to call it.

    Raises:
        ValueError: the mesh has no extent.
    """
    mesh, albedo = _one_vertex_per_place(mesh, albedo)
    diameter = _diameter(mesh.vertices)
    if not diameter > 0:
        raise ValueError(f"{name}: all vertices are at one place; export the model again.")
    albedo, given = _with_guesses(mesh, albedo)
    if albedo is None:
        mesh = split_finely(mesh, LEARNT * diameter, MOST_FACES)
        given = torch.zeros(len(mesh.vertices), dtype=torch.bool)
    rims, sides = _rims(mesh.faces)
    return KnownObject(
        name, mesh, vertex_normals(mesh), albedo, given, rims, sides, _spread(mesh), diameter
    )


def _with_guesses(mesh: Mesh, albedo: Tensor | None) -> tuple[Tensor | None, Tensor]:
    """Colours with their mean where they are unknown, and where they are known.

    None in their place if less than half the surface has one: a guess that is worth nothing.
    """
    if albedo is None:
        return None, torch.zeros(len(mesh.vertices), dtype=torch.bool)
    given = albedo.isfinite().all(1)
    area = face_areas(mesh)[:, None].expand(-1, 3).flatten()
    share = torch.zeros(len(given)).index_add(0, mesh.faces.long().flatten(), area)
    if float(share[given].sum()) < 0.5 * float(share.sum()):
        return None, torch.zeros_like(given)
    mean = (albedo[given] * share[given, None]).sum(0) / share[given].sum()
    return torch.where(given[:, None], albedo, mean), given


def _one_vertex_per_place(mesh: Mesh, albedo: Tensor | None) -> tuple[Mesh, Tensor | None]:
    """Join vertices that files repeat along seams; the colours that they have are averaged."""
    vertices, index = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    faces = index[mesh.faces.long()].int()
    proper = (faces != faces.roll(1, 1)).all(1)
    if albedo is not None:
        known = albedo.isfinite().all(1)
        count = torch.zeros(len(vertices)).index_add(0, index, known.float())
        total = torch.zeros(len(vertices), 3).index_add(0, index[known], albedo[known])
        albedo = total / count[:, None]  # NaN where there is none
    return Mesh(vertices, faces[proper]), albedo


def _back_to_back(mesh: Mesh, albedo: Tensor) -> bool:
    """Whether at many places surfaces that face opposite ways differ in colour."""
    _, index = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    count = torch.bincount(index)
    average = albedo.new_zeros(len(count), 6).index_add(
        0, index, torch.cat([vertex_normals(mesh), albedo.nan_to_num(-1.0)], 1)
    ) / count[:, None].to(albedo.dtype)
    unlike = (albedo.nan_to_num(-1.0) - average[index, 3:]).abs().amax(1) > UNLIKE
    opposite = average[index, :3].norm(dim=1) < 0.1
    return float((unlike & opposite).float().mean()) > 0.1


def _diameter(vertices: Tensor) -> float:
    if len(vertices) > 2000:
        from scipy.spatial import ConvexHull, QhullError

        with contextlib.suppress(QhullError):  # flat
            vertices = vertices[torch.from_numpy(ConvexHull(vertices.double().numpy()).vertices)]
    if len(vertices) <= 4000:
        return float(torch.cdist(vertices, vertices).max())
    # From one farthest vertex to the next until it gets no farther.
    here, reached = vertices[0], -1.0
    while True:
        distance = (vertices - here).norm(dim=-1)
        if float(distance.max()) <= reached:
            return reached
        here, reached = vertices[int(distance.argmax())], float(distance.max())


def _spread(mesh: Mesh) -> Tensor:
    """Vertices far from each other: each the farthest from those before."""
    vertices = mesh.vertices
    chosen = [int((vertices - vertices.mean(0)).norm(dim=-1).argmax())]
    distance = torch.full((len(vertices),), torch.inf)
    for _ in range(PLACES - 1):
        distance = torch.minimum(distance, (vertices - vertices[chosen[-1]]).norm(dim=-1))
        chosen.append(int(distance.argmax()))
    return vertices[chosen]


def _rims(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Edges with the faces beside them; borders of holes have one face on both sides."""
    pairs = face_pairs(faces).long()
    long = faces.long()
    shared = (long[pairs[:, 0], :, None] == long[pairs[:, 1], None, :]).any(-1)
    whole = shared.sum(1) == 2  # else the two faces are twins
    pairs, shared = pairs[whole], shared[whole]
    ends = long[pairs[:, 0]][shared].unflatten(0, (-1, 2))
    starts = torch.cat([long[:, [0, 1]], long[:, [1, 2]], long[:, [2, 0]]])
    owner = torch.arange(len(long)).repeat(3)
    count = int(long.max()) + 1
    key = starts.amin(1) * count + starts.amax(1)
    _, inverse, times = torch.unique(key, return_inverse=True, return_counts=True)
    border = times[inverse] == 1
    alone = owner[border][:, None].expand(-1, 2)
    return torch.cat([ends, starts[border]]), torch.cat([pairs, alone])
