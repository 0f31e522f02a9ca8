"""Corrections of the training cameras that descend with the scene."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera


class Corrections:
    """One small rigid motion of the world per photo, about the object's centre.

    A motion that all photos share would move the world and not the cameras, so the mean is taken
    out after every step.

    Args:
        twists: per photo, ``(rho, phi)`` of the object's centre in the world, as
            ``transforms.perturb`` has it; rho in units of ``size``.
        centre: about which the world turns, world frame.
        size: of the object, world units.
    """

    def __init__(
        self, twists: Float[Tensor, "n 6"], centre: Float[Tensor, "3"], size: float
    ) -> None:
        self.twists = twists.detach().clone().requires_grad_()
        self.centre, self.size = centre, size

    @property
    def usual_deg(self) -> float:
        """Median angle, degrees."""
        return float(self.twists.detach()[:, 3:].norm(dim=-1).median().rad2deg())

    def apply(self, camera: Camera, photos: Sequence[int]) -> Camera:
        """The cameras of some photos, corrected; gradients reach :attr:`twists`."""
        twists = embedding(torch.tensor(photos), self.twists, sparse=True)
        shift, turn = twists.split(3, -1)
        there = torch.eye(4)
        there[:3, 3] = self.centre
        moved = transforms.perturb(there, torch.cat([shift * self.size, turn], -1))
        motion = moved @ transforms.invert(there)
        return replace(camera, camera_from_world=camera.camera_from_world @ motion)

    @torch.no_grad()
    def recentre(self) -> None:
        """Take out what all photos share."""
        self.twists -= self.twists.mean(0)
