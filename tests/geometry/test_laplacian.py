"""Laplacians: what they measure of known meshes."""

from dataclasses import replace

import pytest
import torch
from known_meshes import CLOSED, FOLD, bumpy

from invgraph.geometry import mesh as meshes
from invgraph.geometry.edges import edges
from invgraph.geometry.laplacian import cotangent_laplacian, uniform_laplacian
from invgraph.geometry.mesh import Mesh


def test_uniform_laplacian_sums_squared_edges():
    mesh = bumpy(CLOSED["torus"])
    laplacian = uniform_laplacian(mesh.faces, len(mesh.vertices)).double()
    v = mesh.vertices
    a, b = v[edges(mesh).long()].unbind(1)
    assert float((v * (laplacian @ v)).sum()) == pytest.approx(float((a - b).square().sum()))
    assert torch.allclose(laplacian @ torch.ones_like(v), torch.zeros_like(v), atol=1e-12)
    dense = laplacian.to_dense()
    assert torch.equal(dense, dense.T)


def test_cotangent_laplacian_of_a_right_triangle():
    mesh = Mesh(FOLD.vertices[:3], FOLD.faces[:1])
    # The legs face angles of 45 degrees (cot = 1), the hypotenuse a right angle (cot = 0).
    expected = torch.tensor([[1.0, -0.5, -0.5], [-0.5, 0.5, 0], [-0.5, 0, 0.5]])
    assert torch.allclose(cotangent_laplacian(mesh).to_dense(), expected, atol=1e-6)


def test_cotangent_laplacian_measures_area_and_its_gradient():
    mesh = bumpy(CLOSED["torus"])
    vertices = mesh.vertices.clone().requires_grad_()
    laplacian = cotangent_laplacian(mesh)
    area = meshes.face_areas(replace(mesh, vertices=vertices)).sum()
    flow = laplacian @ mesh.vertices
    assert float((mesh.vertices * flow).sum()) == pytest.approx(2 * area.item())
    (gradient,) = torch.autograd.grad(area, vertices)
    assert torch.allclose(flow, gradient, atol=1e-10)


def test_cotangent_laplacian_ignores_faces_without_area():
    vertices = torch.cat((FOLD.vertices, torch.tensor([[0.5, 0.0, 0.0]])))
    faces = torch.cat((FOLD.faces, torch.tensor([[0, 4, 1]], dtype=torch.int32)))
    with_sliver = cotangent_laplacian(Mesh(vertices, faces)).to_dense()
    assert with_sliver.isfinite().all()
    assert torch.allclose(with_sliver[:4, :4], cotangent_laplacian(FOLD).to_dense())


def test_laplacians_of_batches_are_refused():
    with pytest.raises(ValueError, match=r"takes one mesh but got batch \(1,\)"):
        cotangent_laplacian(replace(FOLD, vertices=FOLD.vertices[None]))
