"""Arrays of numpy's files, from bytes nobody vouches for."""

from pathlib import Path

import numpy as np

from invgraph.files.memory import available_bytes


def read_array(path: Path) -> np.ndarray:
    """The array of an NPY file, or the first of an NPZ file.

    Raises:
        ValueError: missing, damaged, too large, or it holds objects; the message is the reason.
    """
    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return stored
            size = stored.zip.infolist()[0].file_size
            if size > available_bytes():
                raise ValueError(f"it holds {size / 1e6:.1f} MB, more than the free memory")
            return stored[stored.files[0]]
    except Exception as error:  # numpy, zipfile and zlib raise whatever their parsing trips over
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(" ".join(reason.split())[:120] or "it holds no array") from error
