"""Primitive shapes: closed, wound alike, textured upright."""

import pytest
import torch
from known_meshes import CLOSED, TEXTURED

from invgraph.geometry import mesh as meshes
from invgraph.geometry import primitives
from invgraph.geometry.edges import edges


@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_are_closed_and_consistently_wound(name):
    mesh = CLOSED[name]
    meshes.check_indices(mesh)
    directed = [(int(f[i]), int(f[(i + 1) % 3])) for f in mesh.faces for i in range(3)]
    # Every edge once in each direction.
    assert len(set(directed)) == len(directed)
    assert {(b, a) for a, b in directed} == set(directed)
    holes = 1 if name == "torus" else 0
    count = len(mesh.vertices) - len(edges(mesh)) + len(mesh.faces)
    assert count == 2 - 2 * holes
    assert mesh.faces.dtype == torch.int32 and mesh.vertices.dtype == torch.float32


@pytest.mark.parametrize("name", TEXTURED)
def test_textures_are_upright_seen_from_outside(name):
    mesh = TEXTURED[name]
    assert mesh.uv is not None
    assert float(mesh.uv.min()) == 0 and float(mesh.uv.max()) == 1
    corners, uv = mesh.vertices[mesh.faces.long()], mesh.uv[mesh.texture_faces.long()]
    (du1, dv1), (du2, dv2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    # Counter-clockwise faces are clockwise with v down, unless the texture is mirrored.
    determinant = du1 * dv2 - du2 * dv1
    assert (determinant < 0).all()
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    along_v = (du1[:, None] * e2 - du2[:, None] * e1) / determinant[:, None]
    centres = corners.mean(1)
    if name == "torus":
        outer = centres[:, [0, 2]].norm(dim=-1) > 1.2
        assert (along_v[outer][:, 1] < 0).all()
    elif name == "cube":
        walls = centres[:, 1].abs() < 0.9
        assert (along_v[walls][:, 1] < 0).all()
    else:
        assert (along_v[:, 1] < 0).all()


def test_sphere_unwraps_like_a_map():
    sphere = TEXTURED["uv_sphere"]
    assert sphere.uv is not None
    points = sphere.vertices[sphere.faces.long()].reshape(-1, 3)
    uv = sphere.uv[sphere.texture_faces.long()].reshape(-1, 2)
    for wanted, at in (
        ((0.5, 0.5), (0, 0, 1)),
        ((0.75, 0.5), (1, 0, 0)),
        ((0.25, 0.5), (-1, 0, 0)),
    ):
        nearest = (uv - torch.tensor(wanted)).norm(dim=-1).argmin()
        assert torch.allclose(points[nearest], torch.tensor(at, dtype=torch.float32), atol=1e-6)


def test_icosphere_sizes():
    assert len(primitives.icosphere(0).faces) == 20
    assert len(primitives.icosphere(3).faces) == 1280


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="level should be at least 0 but is -1"):
        primitives.icosphere(-1)
    with pytest.raises(ValueError, match="needs 2 rows and 3 columns but got 1 and 3"):
        primitives.uv_sphere(1, 3)
    with pytest.raises(ValueError, match="needs 3 rows and 3 columns but got 2 and 3"):
        primitives.torus(rows=2, columns=3)
    with pytest.raises(ValueError, match=r"0 < minor < major but got 2.0 and 1.0"):
        primitives.torus(1.0, 2.0)
