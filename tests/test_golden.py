"""Renders of 64 x 64 pixels against stored ones; see golden/regenerate.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import ball, ball_and_ring, camera, material

from invgraph import environment
from invgraph.render import render
from invgraph.scene import (
    DirectionalLight,
    EnvironmentMap,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)

FOLDER = Path(__file__).resolve().parent


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


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    path = FOLDER / "golden" / f"{name}.npy"
    assert path.is_file(), f"{path} is missing; run python tests/golden/regenerate.py"
    expected = np.load(path).astype(np.float32)
    found = image(name)
    difference = np.abs(found - expected)
    # Stored as float16: half a unit in the last place of values up to 4 is 1e-3.
    if difference.mean() > 2e-4 or difference.max() > 2e-2:
        failures = FOLDER / "failures"
        failures.mkdir(exist_ok=True)
        np.save(failures / f"{name}_found.npy", found)
        from PIL import Image

        picture = np.concatenate((expected, found, 10 * difference), 1)[..., :3]
        picture = (255 * np.clip(picture, 0, 1) ** (1 / 2.2)).astype(np.uint8)
        Image.fromarray(picture).save(failures / f"{name}.png")
        pytest.fail(
            f"{name}: mean difference {difference.mean():.2e}, largest {difference.max():.2e}; "
            f"look at {failures / name}.png"
        )
