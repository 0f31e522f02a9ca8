"""Renders of 64 x 64 pixels against stored ones; see golden/regenerate.py."""

from pathlib import Path

import numpy as np
import pytest
from golden_scenes import CASES, image

FOLDER = Path(__file__).resolve().parents[1] / "golden"


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    path = FOLDER / f"{name}.npy"
    assert path.is_file(), f"{path} is missing; run python tests/golden/regenerate.py"
    expected = np.load(path).astype(np.float32)
    found = image(name)
    difference = np.abs(found - expected)
    # Stored as float16: half a unit in the last place of values up to 4 is 1e-3.
    if difference.mean() > 2e-4 or difference.max() > 2e-2:
        failures = FOLDER.parent / "failures"
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
