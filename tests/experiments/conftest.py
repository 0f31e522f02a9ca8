"""Where experiments are imported from."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def experiments() -> Iterator[Path]:
    """The folder of the experiments, from which modules are imported meanwhile."""
    folder = Path(__file__).resolve().parents[2] / "experiments"
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
