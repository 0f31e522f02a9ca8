"""Settings and fixtures that every test shares.

Nothing here imports invgraph at module level: the shape checks come on after this file is read.
"""

import inspect
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest
from hypothesis import settings

settings.register_profile(
    "invgraph", derandomize=True, max_examples=25, deadline=None, database=None
)
settings.load_profile("invgraph")

# A shell ignores Ctrl-C for what it runs in the background, and so would our children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_njit = numba.njit


def _unwrapped_njit(*args: Any, **options: Any) -> Any:
    """Numba must compile the kernel itself, not the function that checks the kernel's shapes."""
    if args and callable(args[0]):
        return _njit(inspect.unwrap(args[0]), *args[1:], **options)
    decorate = _njit(*args, **options)
    return lambda function: decorate(inspect.unwrap(function))


numba.njit = _unwrapped_njit

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


@pytest.fixture
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user meets: the checks of the test run would speak first."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
