"""Settings and fixtures that every test shares.

Nothing here imports invgraph at module level: the shape checks come on after this file is read.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile(
    "invgraph", derandomize=True, max_examples=25, deadline=None, database=None
)
settings.load_profile("invgraph")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Callable[[str], Path]:
    """A function from a recorded capture's name to its folder; it skips the test when absent."""
    base = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        folder = base / name
        if not folder.is_dir():
            pytest.skip(
                f"recorded data {folder} is absent; set INVGRAPH_DATA to the folder of {name}"
            )
        return folder

    return find
