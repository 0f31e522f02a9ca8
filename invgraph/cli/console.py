"""Signs of life before a run can show how far it is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line to standard error; of several processes of a training the first one does."""
    if os.environ.get("RANK", "0") == "0":
        print(f"invgraph: {text}", file=sys.stderr, flush=True)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """A line for work without measure, such as decoding a video; on a terminal it stays alive."""
    say(text)
    if os.environ.get("RANK", "0") != "0" or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=sys.stderr).status(text):
        yield
