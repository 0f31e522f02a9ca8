"""Crops of a photo as a camera that looks straight at them would have taken them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, normalize

from invgraph.encoders.scene_encoder import SIDE
from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens

_RAYS = 3  # per pixel of the crop and axis: photos are finer than crops


def look_at_window(
    image: Float[Tensor, "h w 3"],
    lens: Lens,
    centre: Float[Tensor, "2"],
    side: float,
    size: int = SIDE,
) -> tuple[Float[Tensor, "s s 3"], Lens, Float[Tensor, "4 4"]]:
    """What a pinhole camera at the same place sees that looks at a point of a photo.

    So a crop does not depend on where in the photo it is, nor on the lens: away from the middle a
    photo stretches what it shows.

    Args:
        image: of any channels' meaning; beyond its border its edge goes on.
        lens: of the image.
        centre: pixel at which is looked.
        side: of the window about it, pixels of the image.
        size: of the result.

    Returns:
        The crop, its lens, and ``camera_from_view``, a rotation.

    Gradients:
        Reach the image.
    """
    ray = lens.unproject(centre[None], centre.new_ones(1))
    axis = normalize(ray, dim=-1)[0]
    # The shortest way from the optical axis.
    turn = torch.stack([-axis[1], axis[0], axis.new_zeros(())])
    sine = turn.norm()
    rotation = transforms.exp_so3(turn * (torch.atan2(sine, axis[2]) / sine.clamp_min(1e-12)))
    # Pixels per unit of slope about the axis: the photo's scale there.
    scale = torch.linalg.det((lens.jacobian(axis[None])[0] @ rotation)[:, :2]).abs().sqrt()
    focal = (scale * size / side).expand(2)
    view = Lens(focal, torch.full_like(focal, size / 2), size, size)
    camera_from_view = transforms.pose(rotation, rotation.new_zeros(3))
    return look_through(image, lens, view, camera_from_view), view, camera_from_view


def look_through(
    image: Float[Tensor, "h w 3"], lens: Lens, view: Lens, camera_from_view: Float[Tensor, "4 4"]
) -> Float[Tensor, "s t 3"]:
    """What a pinhole camera at the same place sees that is turned.

    Args:
        image: of any channels' meaning; beyond its border its edge goes on.
        lens: of the image.
        view: of the result.
        camera_from_view: a rotation.

    Gradients:
        Reach the image.
    """
    rotation = camera_from_view[:3, :3]
    fine = view.resize(view.height * _RAYS, view.width * _RAYS)
    rays = fine.unproject(fine.pixel_centres, image.new_ones(fine.height * fine.width))
    pixels, _ = lens.project(rays @ rotation.mT)
    grid = 2 * pixels / pixels.new_tensor([lens.width, lens.height]) - 1
    grid = grid.reshape(1, fine.height, fine.width, 2)
    planes = image.movedim(-1, 0)[None]
    found = grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return avg_pool2d(found, _RAYS)[0].movedim(0, -1)
