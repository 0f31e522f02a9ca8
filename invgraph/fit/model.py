"""The leaf tensors of an object fit and the scene that they stand for."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.fit.precondition import LargeSteps, UniformAdam
from invgraph.mesh import Mesh
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.visibility import visibility

SMOOTHNESS = 20.0
LIGHT_ORDER = 4
DIRECTIONS = 128


@dataclass(frozen=True)
class Look:
    """Appearance parameters without bounds: what descends.

    Attributes:
        albedo: logits, per vertex ``v 3`` or as a texture ``h w 3``.
        roughness: logit of the perceptual roughness.
        metallic: logit.
        light: spherical harmonics of the radiance around the object.
        frame: what the light is fixed to.
    """

    albedo: Tensor
    roughness: Float[Tensor, "1"]
    metallic: Float[Tensor, "1"]
    light: Float[Tensor, "k 3"]
    frame: Literal["world", "camera"]

    @staticmethod
    def plain(vertices: int, frame: Literal["world", "camera"]) -> "Look":
        """Grey, half rough, under even light."""
        light = torch.zeros((LIGHT_ORDER + 1) ** 2, 3)
        light[0] = 3.5
        return Look(torch.zeros(vertices, 3), torch.zeros(1), torch.full((1,), -4.0), light, frame)


class Model:
    """A mesh and its look on their way down.

    Args:
        mesh: start; its triangles stay.
        look: start.
        stride: length of a vertex step, world units.
    """

    def __init__(self, mesh: Mesh, look: Look, stride: float) -> None:
        self.mesh = mesh
        self.steps = LargeSteps(mesh.vertices, mesh.faces, SMOOTHNESS)
        leaves = {
            name: getattr(look, name).detach().clone().requires_grad_()
            for name in ("albedo", "roughness", "metallic", "light")
        }
        self.look = replace(look, **leaves)
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            UniformAdam([self.steps.u], lr=stride),
            torch.optim.Adam(
                [
                    {"params": [leaves["albedo"]], "lr": 0.03},
                    {"params": [leaves["roughness"], leaves["metallic"]], "lr": 0.02},
                    {"params": [leaves["light"]], "lr": 0.02},
                ],
                betas=(0.9, 0.99),
            ),
        )
        self._rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Find anew which light reaches which vertex."""
        self.visibility = visibility(replace(self.mesh, vertices=self.steps.vertices()), DIRECTIONS)

    def scene(self) -> Scene:
        """The scene that the parameters stand for; gradients reach them."""
        look = self.look
        material = Material(
            albedo=torch.sigmoid(look.albedo),
            roughness=torch.sigmoid(look.roughness),
            metallic=torch.sigmoid(look.metallic),
        )
        shape = replace(self.mesh, vertices=self.steps.vertices())
        thing = Object(shape, torch.eye(4), material, visibility=self.visibility)
        return Scene((thing,), (SphericalHarmonicLight(look.light, frame=look.frame),), None)

    def step(self, loss: Tensor, rate: float) -> None:
        """Descend once; ``rate`` scales all step sizes."""
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            optimizer.zero_grad()
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * rate
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def frozen(self) -> tuple[Mesh, Look]:
        """Shape and look as they are now."""
        with torch.no_grad():
            mesh = replace(self.mesh, vertices=self.steps.vertices())
        return mesh, replace(
            self.look,
            **{
                name: getattr(self.look, name).detach().clone()
                for name in ("albedo", "roughness", "metallic", "light")
            },
        )
