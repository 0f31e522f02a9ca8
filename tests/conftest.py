"""Settings and fixtures that every test shares.

Nothing here imports invgraph at module level: the shape checks come on after this file is read.
"""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import _import_hook

settings.register_profile(
    "invgraph", derandomize=True, max_examples=25, deadline=None, database=None
)
settings.load_profile("invgraph")

_marked_unchecked = _import_hook._is_no_type_check


def _unchecked(decorator: ast.AST) -> bool:
    """Leave kernels as they are: Numba must compile the function itself, not one that checks it."""
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    kernel = isinstance(name, ast.Name) and name.id in ("njit", "intrinsic")
    return kernel or _marked_unchecked(decorator)


_import_hook._is_no_type_check = _unchecked

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
