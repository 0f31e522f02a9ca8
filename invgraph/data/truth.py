"""What is known about a synthetic capture besides its photographs: for evaluation only."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Truth:
    """The true scene of a synthetic capture.

    Fitting and training never read it: it is a type of its own so that a label cannot slip in.

    Args:
        folder: holds the true scene's files.
    """

    folder: Path
