"""The scenes whose renders are kept in golden/, and how they are rendered."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scenes import ball, ball_and_ring, camera, material

from invgraph.rendering import environment
from invgraph.rendering.render import render
from invgraph.scene import (
    DirectionalLight,
    EnvironmentMap,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)


def _sky() -> EnvironmentMap:
    directions, _ = environment.panorama_directions(32, 64)
    return EnvironmentMap(0.6 + 0.4 * directions)


def _harmonics() -> Scene:
    coefficients = 0.3 * torch.randn(25, 3, generator=torch.Generator().manual_seed(4))
    coefficients[0] = 2.5
    return ball_and_ring(SphericalHarmonicLight(coefficients, "camera"))


def _lamps() -> Scene:
    sun = DirectionalLight(torch.tensor([0.3, -0.8, 1.0]), torch.tensor([2.0, 1.5, 1.0]))
    lamp = PointLight(torch.tensor([1.5, 0.5, -2.0]), torch.tensor([1.0, 2.0, 3.0]))
    return replace(ball_and_ring(sun, lamp), background=torch.tensor([0.1, 0.2, 0.3]))


def _panorama() -> Scene:
    sky = _sky()
    return Scene((ball(material(roughness=0.2, metallic=1.0)),), (sky,), sky)


CASES: dict[str, Callable[[], Scene]] = {
    "harmonics": _harmonics,
    "lamps": _lamps,
    "panorama": _panorama,
}


def image(name: str) -> np.ndarray:
    """Colour and alpha."""
    found = render(CASES[name](), camera(64), outputs=("color", "alpha"))
    assert found.color is not None and found.alpha is not None
    return torch.cat((found.color, found.alpha[..., None]), -1).numpy()
