"""A window of a photo, seen by a camera that looks straight at it, shows the same directions."""

import pytest
import torch
from torch.nn.functional import normalize

from invgraph.fitting.scene.view import look_at_window
from invgraph.geometry.lens import Lens

FOCAL, MIDDLE = torch.tensor([300.0, 310.0]), torch.tensor([155.0, 118.0])
LENSES = {
    "pinhole": Lens(FOCAL, MIDDLE, 240, 320),
    "brown": Lens(FOCAL, MIDDLE, 240, 320, torch.tensor([-0.2, 0.05, 1e-3, -1e-3, 0.0])),
    "fisheye": Lens(FOCAL, MIDDLE, 240, 320, torch.tensor([0.02, -0.01, 0.0, 0.0]), "fisheye"),
}


def directions(lens: Lens) -> torch.Tensor:
    """An image whose colours are the unit vectors at which its pixels look."""
    rays = lens.unproject(lens.pixel_centres, torch.ones(lens.height * lens.width))
    return normalize(rays, dim=-1).reshape(lens.height, lens.width, 3)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("centre", [(160.0, 120.0), (240.0, 60.0), (70.0, 180.0)])
def test_pixels_look_where_the_view_says(name, centre):
    lens = LENSES[name]
    image = directions(lens)
    crop, view, camera_from_view = look_at_window(image, lens, torch.tensor(centre), 60.0)
    expected = directions(view) @ camera_from_view[:3, :3].mT
    assert float((normalize(crop, dim=-1) - expected).norm(dim=-1).max()) < 2e-4  # 0.06 px


def test_the_view_looks_at_the_centre_and_spans_the_side():
    lens, centre = LENSES["pinhole"], torch.tensor([240.0, 60.0])
    _, view, camera_from_view = look_at_window(directions(lens), lens, centre, 60.0, 48)
    ahead = camera_from_view[:3, :3] @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(lens.project(ahead[None])[0][0], centre, rtol=0, atol=1e-3)
    corners = torch.tensor([[0.0, 0.0], [48.0, 0.0], [48.0, 48.0], [0.0, 48.0]])
    rays = view.unproject(corners, torch.ones(4)) @ camera_from_view[:3, :3].mT
    x, y = lens.project(rays)[0].unbind(-1)
    area = 0.5 * ((x * y.roll(-1)).sum() - (y * x.roll(-1)).sum()).abs()
    assert float(area) == pytest.approx(60.0**2, rel=0.02)


def test_on_the_axis_it_is_a_plain_crop():
    lens = Lens(torch.full((2,), 200.0), torch.full((2,), 60.0), 120, 120)
    image = torch.rand(120, 120, 3, generator=torch.Generator().manual_seed(0))
    crop, view, camera_from_view = look_at_window(image, lens, lens.principal, 60.0, 20)
    mean = image[30:90, 30:90].reshape(20, 3, 20, 3, 3).mean((1, 3))
    torch.testing.assert_close(crop, mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(view.focal, torch.full((2,), 200.0 / 3), rtol=1e-4, atol=0)
    torch.testing.assert_close(camera_from_view, torch.eye(4))
