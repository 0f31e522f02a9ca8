"""Where the object is: rays that meet, through every lens."""

from types import SimpleNamespace

import pytest
import torch

from invgraph.data.bounds import _meeting_point
from invgraph.geometry.camera import Camera
from invgraph.geometry.distortion import COEFFICIENTS, Model
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import look_at


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_rays_through_bent_lenses_meet(model: Model):
    bent = torch.full((len(COEFFICIENTS[model]),), 0.02)
    lens = Lens(torch.tensor([20.0, 20.0]), torch.tensor([32.0, 24.0]), 48, 64, bent, model)
    point = torch.tensor([0.5, 0.3, 0.2])
    frames, targets = [], []
    for eye, aim in (
        ((0.0, 0.0, -3.0), (0.0, 0.0, 0.0)),
        ((3.0, 0.1, 0.0), (2.0, 0.0, 0.0)),
        ((-2.0, 0.2, 2.0), (0.0, 2.0, 1.0)),
    ):
        pose = look_at(torch.tensor(eye), torch.tensor(aim), torch.tensor([0.0, 1.0, 0.0]))
        camera = Camera(lens, pose)
        frames.append(SimpleNamespace(known_camera=camera))
        targets.append(camera.project(point[None])[0][0])
    found = _meeting_point(frames, targets)
    assert found.tolist() == pytest.approx(point.tolist(), abs=1e-5)
