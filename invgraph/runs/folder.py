"""The run folder: everything a fit leaves on disk, readable after a kill at any moment."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from invgraph.files.atomic import write_atomically
from invgraph.files.pictures import encode_png
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.geometry.color import srgb_bytes_from_linear

CHECKPOINT = "checkpoint.safetensors"
LOG_COLUMNS: tuple[str, ...] = ("step", "seconds", "stage", "loss", "psnr_db", "vertices")


class RunFolder:
    """A folder whose files are replaced whole or not at all.

    Args:
        path: created when missing.
        resume: go on with a run that is there already.

    Raises:
        ValueError: the folder holds something and ``resume`` is off, or something that is no run,
            or it cannot be a folder.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"{self.path} is a file but a run needs a folder; choose another --out."
            )
        if not resume and self.path.exists() and any(self.path.iterdir()):
            raise ValueError(
                f"{self.path} is not empty; continue it by --resume or choose another --out."
            )
        if resume and self.path.exists() and any(self.path.iterdir()) and not self._begun:
            raise ValueError(f"{self.path} holds something but no run; choose another --out.")
        (self.path / "renders").mkdir(parents=True, exist_ok=True)

    @property
    def _begun(self) -> bool:
        return (self.path / "renders").is_dir()

    def write(self, name: str, content: bytes) -> None:
        """Replace one file of the run; after a failure the old one is still there."""
        write_atomically(self.path / name, content)

    def write_json(self, name: str, content: Any) -> None:
        """Write readable JSON."""
        self.write(name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def picture(self, name: str, image: Float[Tensor, "h w 3"]) -> None:
        """Write a linear image as an 8-bit sRGB PNG."""
        self.write(name, encode_png(srgb_bytes_from_linear(image).numpy()))

    def log(self, **row: Any) -> None:
        """Append one row to ``log.csv``."""
        path = self.path / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def save_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write a checkpoint; ``facts`` must be JSON."""
        write_tensors(self.path / CHECKPOINT, tensors, facts)

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint, or nothing when there is none.

        Raises:
            ValueError: the checkpoint is damaged.
        """
        remedy = "delete it and start the run again"
        return read_tensors(self.path / CHECKPOINT, remedy)


def file_stem(index: int, name: str) -> str:
    """A file name that is safe everywhere, from a name that is not trusted."""
    return f"{index:04d}_" + re.sub(r"[^A-Za-z0-9]+", "_", Path(name).stem).strip("_")[:40]
