"""Meshes: known areas, volumes, normals; gradients of every operator."""

import math
from dataclasses import replace

import pytest
import torch
from known_meshes import CLOSED, FOLD, bumpy, total_area
from torch.autograd import gradcheck

from invgraph.geometry import mesh as meshes
from invgraph.geometry import primitives
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.smoothness import edge_length_spread, laplacian_roughness, normal_consistency
from invgraph.geometry.subdivision import subdivide


def test_volumes_and_areas():
    assert float(meshes.volume(CLOSED["cube"])) == pytest.approx(8)
    assert total_area(CLOSED["cube"]) == pytest.approx(24)
    fine = primitives.icosphere(5)
    assert float(meshes.volume(fine)) == pytest.approx(4 / 3 * math.pi, rel=2e-3)
    assert total_area(fine) == pytest.approx(4 * math.pi, rel=2e-3)
    sphere = primitives.uv_sphere(64, 128)
    assert float(meshes.volume(sphere)) == pytest.approx(4 / 3 * math.pi, rel=3e-3)
    ring = primitives.torus(1.0, 0.4, 64, 128)
    assert float(meshes.volume(ring)) == pytest.approx(2 * math.pi**2 * 0.16, rel=3e-3)
    assert total_area(ring) == pytest.approx(4 * math.pi**2 * 0.4, rel=3e-3)
    assert total_area(primitives.plane(3, 5)) == pytest.approx(4)


@pytest.mark.parametrize("name", ["icosphere", "uv_sphere"])
def test_normals_of_spheres_point_outwards(name):
    mesh = CLOSED[name]
    normals = meshes.vertex_normals(mesh)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals)), atol=1e-6)
    assert float((normals * mesh.vertices).sum(-1).min()) > 0.99
    centres = mesh.vertices[mesh.faces.long()].mean(1)
    assert float((meshes.face_normals(mesh) * centres).sum(-1).min()) > 0.9


def test_normals_of_a_fold():
    assert torch.equal(meshes.face_normals(FOLD), torch.tensor([[0.0, 0, 1], [0, 1, 0]]))
    half = math.sqrt(0.5)
    expected = torch.tensor([[0, half, half], [0, half, half], [0, 0, 1], [0, 1, 0]])
    assert torch.allclose(meshes.vertex_normals(FOLD), expected)


def test_lonely_vertices_and_flat_faces_have_zero_normals_and_finite_gradients():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]], requires_grad=True)
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2]], dtype=torch.int32))
    total = (
        meshes.vertex_normals(mesh).sum()
        + meshes.face_normals(mesh).sum()
        + meshes.face_areas(mesh).sum()
        + edge_length_spread(mesh)
    )
    assert torch.equal(meshes.vertex_normals(mesh), torch.zeros(4, 3))
    (gradient,) = torch.autograd.grad(total, vertices)
    assert float(gradient.abs().max()) < 10


def test_compiled_normals_agree_with_plain_torch():
    mesh = bumpy(CLOSED["torus"])
    batch = torch.stack((mesh.vertices, bumpy(CLOSED["torus"], seed=1).vertices))
    weights = bumpy(CLOSED["torus"], seed=2).vertices
    results = []
    for dtype in (torch.float64, torch.float32):
        vertices = batch.to(dtype).requires_grad_()
        normals = meshes.vertex_normals(replace(mesh, vertices=vertices))
        (gradient,) = torch.autograd.grad((normals * weights.to(dtype)).sum(), vertices)
        results.append((normals.detach(), gradient))
    (exact, exact_gradient), (fast, gradient) = results
    assert torch.allclose(fast.double(), exact, atol=1e-5)
    assert torch.allclose(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-3)
    assert float(exact_gradient.abs().max()) > 1
    one = meshes.vertex_normals(replace(mesh, vertices=batch[1].float()))
    assert torch.equal(one, fast[1])


def test_compiled_normals_refuse_wild_indices():
    with pytest.raises(ValueError, match="faces hold indices from 1 to 4 but there are 4 vertices"):
        meshes.vertex_normals(replace(FOLD, faces=FOLD.faces + 1))


@pytest.mark.parametrize(
    "function",
    [
        meshes.face_normals,
        meshes.vertex_normals,
        meshes.face_areas,
        meshes.volume,
        laplacian_roughness,
        normal_consistency,
        edge_length_spread,
        lambda mesh: subdivide(mesh).vertices,
    ],
)
def test_gradients_and_batches(function):
    mesh = bumpy(primitives.icosphere(0))
    vertices = mesh.vertices.clone().requires_grad_()
    assert gradcheck(lambda v: function(replace(mesh, vertices=v)), (vertices,))
    other = bumpy(mesh, seed=1)
    batch = replace(mesh, vertices=torch.stack((mesh.vertices, other.vertices)))
    assert torch.allclose(function(batch)[0], function(mesh))
    assert torch.allclose(function(batch)[1], function(other))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vertices": torch.zeros(4, 2)}, r"vertices should be \(\*batch, v, 3\)"),
        ({"faces": torch.zeros(1, 4).int()}, "split polygons into triangles"),
        ({"uv_faces": torch.zeros(2, 3).int()}, "uv_faces are given but uv is not"),
        ({"uv": torch.zeros(9, 2)}, "uv has 9 rows for 4 vertices; give uv_faces"),
        (
            {"uv": torch.zeros(9, 2), "uv_faces": torch.zeros(1, 3).int()},
            "they should match corner by corner",
        ),
    ],
)
def test_bad_meshes_are_refused(change, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        replace(FOLD, **change)


def test_indices_out_of_range_are_refused():
    with pytest.raises(ValueError, match="faces hold indices from 0 to 4 but there are 4 vertices"):
        meshes.check_indices(replace(FOLD, faces=FOLD.faces + torch.tensor([0, 0, 1])))
    negative = replace(FOLD, uv=torch.zeros(2, 2), uv_faces=torch.full((2, 3), -1))
    with pytest.raises(ValueError, match=r"uv_faces hold .*-1 to -1 but there are 2 uv"):
        meshes.check_indices(negative)
