"""A word to the user before anything that takes time is imported."""

import os
import sys


def say(text: str) -> None:
    """Print a line to standard error; of several processes of a training the first one does."""
    if os.environ.get("RANK", "0") == "0":
        print(f"invgraph: {text}", file=sys.stderr, flush=True)
