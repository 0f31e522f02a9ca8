"""Random points: on the surface, evenly by area."""

from dataclasses import replace

import pytest
import torch
from known_meshes import FOLD, bumpy
from torch.autograd import gradcheck

from invgraph.geometry import primitives
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.sampling import sample_surface


def test_samples_lie_on_the_surface_in_proportion_to_area():
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    # Areas 1.5, 0 and 0.5.
    faces = torch.tensor([[0, 1, 2], [0, 1, 1], [0, 2, 3]], dtype=torch.int32)
    mesh = Mesh(vertices, faces)
    points, face = sample_surface(mesh, 4000, torch.Generator().manual_seed(3))
    assert points.shape == (4000, 3)
    counts = torch.bincount(face, minlength=3)
    assert counts[1] == 0
    assert float(counts[0]) == pytest.approx(3000, abs=100)
    first = points[face == 0]
    assert torch.allclose(first.mean(0), torch.tensor([1.0, 1 / 3, 0]), atol=0.05)
    assert (first[:, 0] / 3 + first[:, 1] <= 1 + 1e-5).all() and (first >= 0).all()
    again, _ = sample_surface(mesh, 4000, torch.Generator().manual_seed(3))
    assert torch.equal(points, again)


def test_samples_carry_gradients():
    mesh = bumpy(primitives.icosphere(0))
    vertices = mesh.vertices.clone().requires_grad_()

    def sample(vertices):
        generator = torch.Generator().manual_seed(0)
        return sample_surface(replace(mesh, vertices=vertices), 7, generator)[0]

    assert gradcheck(sample, (vertices,))


def test_sampling_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a mesh with area"):
        sample_surface(Mesh(FOLD.vertices, FOLD.faces[:0]), 3)
    batch = replace(FOLD, vertices=FOLD.vertices[None])
    with pytest.raises(ValueError, match=r"takes one mesh but got batch \(1,\)"):
        sample_surface(batch, 3)
