"""Pictures that a run folder keeps."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.object.views import Batch
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import linear_from_srgb
from invgraph.geometry.lens import Lens
from invgraph.geometry.primitives import uv_sphere
from invgraph.rendering.render import render
from invgraph.scene import Material, Object, Scene

BALL_SIDE = 256


@torch.no_grad()
def side_by_side(scene: Scene, batch: Batch) -> Float[Tensor, "h w2 3"]:
    """The first photo of a batch beside its render, linear."""
    seen = render(scene, batch.camera[:1], outputs=("color",))
    assert seen.color is not None
    return torch.cat([linear_from_srgb(batch.color[0]), seen.color[0]], 1)


@torch.no_grad()
def light_ball(scene: Scene) -> Float[Tensor, "h w 3"]:
    """A white ball, half matt and half glossy from left to right, under the light of a scene.

    The ball is seen along the world's y axis, z up; its brightest point is shown as white.
    """
    sphere = uv_sphere()
    right = (sphere.vertices[:, :1] > 0).float()
    white = Material(
        torch.full((3,), 0.8), 1.0 - 0.75 * right, torch.zeros(1), roughness_kind="vertex"
    )
    eye = torch.tensor([0.0, -6.0, 0.0])
    pose = transforms.look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    half = torch.full((2,), BALL_SIDE / 2)
    camera = Camera(Lens(5.5 * half, half, BALL_SIDE, BALL_SIDE), pose)
    ball = Scene((Object(sphere, torch.eye(4), white),), scene.lights, None)
    color = render(ball, camera, outputs=("color",)).color
    assert color is not None
    return color / color.max().clamp_min(1e-6)
