"""Photos without their lens distortion: what is straight in the world is straight in them."""

import pytest
import torch

from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.photometric.warp import undistort

LENSES = {
    "brown": (-0.2, 0.05, 1e-3, 2e-3, 0.0),
    "rational": (0.2, 0.1, 0.0, 1e-3, 0.0, 0.4, 0.1, 0.0),
    "fisheye": (0.0, 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("model", LENSES)
def test_an_undistorted_photo_is_a_pinholes(model):
    lens = Lens(torch.full((2,), 40.0), torch.tensor([32.0, 24.0]), 48, 64,
                torch.tensor(LENSES[model]), model)  # fmt: skip
    camera = Camera(lens, torch.eye(4))

    def wall(camera: Camera) -> torch.Tensor:
        """A smooth pattern on the plane z = 1."""
        x, y, z = camera.rays()[1].unbind(-1)
        return torch.stack(((5 * x / z).sin(), (4 * y / z).cos(), x / z), -1)

    image, straight = undistort(wall(camera), camera)
    assert straight.distortion is None and straight.focal.tolist() == [40, 40]
    inside = (slice(8, -8), slice(8, -8))
    assert (image[inside] - wall(straight)[inside]).abs().max() < 0.03
    assert (wall(camera)[inside] - wall(straight)[inside]).abs().max() > 0.1


def test_a_straight_photo_stays_as_it_is():
    lens = Lens(torch.full((2,), 40.0), torch.tensor([32.0, 24.0]), 48, 64, torch.zeros(5))
    image = torch.rand(48, 64, 3)
    same, straight = undistort(image, Camera(lens, torch.eye(4)))
    assert same is image and straight.distortion is None
