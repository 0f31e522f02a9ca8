"""The files of depth predictions: ``depth/NAME.npy`` and what ``infer.json`` says about them."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.depth_files import encode_depth
from invgraph.files.arrays import read_array
from invgraph.files.atomic import write_atomically

INDEX = "infer.json"
DEPTH = "depth"
MILLIMETRE = 0.001


@dataclass(frozen=True)
class Predictions:
    """What is known about a folder of predictions.

    Attributes:
        model: what made them.
        frames: their names, in order; the names of the capture's frames.
        trained_on: fingerprints (``files.atomic.fingerprint``) of the image files that the
            model was trained on; None when that is not known.
    """

    model: str
    frames: tuple[str, ...]
    trained_on: frozenset[str] | None


def write_depth(
    folder: Path,
    name: str,
    depth: Float[Tensor, "h w"],
    sigma: Float[Tensor, "sh sw"] | None = None,
    *,
    units_per_level: float = MILLIMETRE,
) -> None:
    """Write one prediction: ``depth/NAME.npy`` and ``.png``, ``depth/NAME.sigma.npy``.

    The PNG has 16 bits; its level times ``units_per_level``, which is also in its text chunk
    ``world_units_per_level``, is the depth: millimetres for depth in metres. Depth beyond its range
    (65.534 m) is 0 there; the float32 file holds it.

    Args:
        folder: of the predictions.
        name: of the frame, safe as part of a file name.
        depth: metres or any other scale, positive everywhere.
        sigma: standard deviation of the natural logarithm of ``depth``.
        units_per_level: of the PNG.

    Raises:
        ValueError: a bad name, a depth that is not finite and positive, or sigma that is of
            another size or not finite.
        OSError: the disk is full; the files that are there stay whole.
    """
    file = _file(folder, name)
    sigma_file = file.with_name(f"{name}.sigma.npy")
    bad = ~(depth.isfinite() & (depth > 0))
    if depth.numel() == 0 or bool(bad.any()):
        raise ValueError(
            f"depth of {name} holds {int(bad.sum())} of {depth.numel()} values that are not finite "
            "and positive; the network may have diverged."
        )
    if sigma is not None:
        if sigma.shape != depth.shape:
            raise ValueError(
                f"sigma of {name} is {tuple(sigma.shape)} (h, w) but its depth "
                f"{tuple(depth.shape)}; resize one of them first."
            )
        if not bool((sigma.isfinite() & (sigma >= 0)).all()):
            raise ValueError(f"sigma of {name} holds NaN, infinity or negative numbers.")
        write_atomically(sigma_file, _npy(sigma))
    else:
        sigma_file.unlink(missing_ok=True)  # of an earlier run, whose depth this replaces
    write_atomically(file.with_name(f"{name}.png"), encode_depth(depth, units_per_level))
    write_atomically(file, _npy(depth))


def read_depth(
    folder: Path, name: str
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "sh sw"] | None]:
    """The depth of a frame, float32, and its sigma where there is one.

    Raises:
        ValueError: a file is missing, damaged or no map of numbers.
    """
    file = _file(folder, name)
    sigma = file.with_name(f"{name}.sigma.npy")
    return _read(file), _read(sigma) if sigma.is_file() else None


def kept_depth(
    folder: Path, name: str
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "sh sw"] | None] | None:
    """What :func:`read_depth` gives, or None where there is no such map or a damaged one."""
    try:
        return read_depth(folder, name)
    except ValueError:
        return None


def write_index(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``infer.json``."""
    text = json.dumps(dict(facts), indent=1, allow_nan=False)
    write_atomically(folder / INDEX, text.encode())


def read_index(folder: Path) -> Predictions:
    """Read ``infer.json``.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = folder / INDEX
    try:
        stored = json.loads(path.read_bytes())
        frames, trained_on = stored["frames"], stored.get("trained_on")
        for texts in (frames, trained_on or []):
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise TypeError("frames and trained_on should be lists of texts")
    except OSError:
        raise ValueError(
            f"{folder} holds no {INDEX}; give a folder that `invgraph infer depth` finished."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{path} is damaged ({reason}); run the inference again.") from error
    known = None if trained_on is None else frozenset(trained_on)
    return Predictions(str(stored.get("model", "")), tuple(frames), known)


def _file(folder: Path, name: str) -> Path:
    if not name or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise ValueError(f"expected a plain name for a frame but got {name!r}.")
    return folder / DEPTH / f"{name}.npy"


def _npy(values: Tensor) -> bytes:
    data = io.BytesIO()
    np.save(data, values.detach().float().cpu().numpy(), allow_pickle=False)
    return data.getvalue()


def _read(path: Path) -> Tensor:
    try:
        values = read_array(path)
        if values.ndim != 2 or values.dtype.kind != "f":
            raise ValueError("expected one array of floats, rows x columns")
        return torch.from_numpy(values.astype(np.float32))
    except ValueError as error:
        reason = f"damaged ({error})" if path.exists() else "missing"
        raise ValueError(f"{path} is {reason}; run the inference again.") from error
