"""Maps of photos: in memory, or on disk so that a run can go on where it was stopped."""

from pathlib import Path

import numpy as np
import torch

from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.place.images import Recent


class Maps:
    """One array per photo.

    Args:
        folder: where the arrays are kept; memory when left out.
        stage: what they are, part of the files' names.
    """

    def __init__(self, folder: Path | None, stage: str) -> None:
        self._folder, self._stage = folder, stage
        self._memory: dict[int, np.ndarray] = {}
        self._recent = Recent(self._read)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def _file(self, index: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._stage}_{index:05d}.safetensors"

    def _read(self, index: int) -> np.ndarray:
        stored = read_tensors(self._file(index), "delete it and resume the run")
        if stored is None:
            raise KeyError(index)
        return stored[0]["map"].numpy()

    def __contains__(self, index: int) -> bool:
        return index in self._memory if self._folder is None else self._file(index).exists()

    def __getitem__(self, index: int) -> np.ndarray:
        return self._memory[index] if self._folder is None else self._recent[index]

    def __setitem__(self, index: int, values: np.ndarray) -> None:
        if self._folder is None:
            self._memory[index] = values
        else:
            write_tensors(self._file(index), {"map": torch.from_numpy(values)}, {})
