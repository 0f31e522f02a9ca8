"""Tensors with facts about them, as one safetensors file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invgraph.files.atomic import write_atomically

_LARGEST = 1e30  # numbers fit into float32

if TYPE_CHECKING:
    from torch import Tensor


def encode_tensors(tensors: "dict[str, Tensor]", facts: dict[str, Any] | None = None) -> bytes:
    """The bytes of a safetensors file: equal for equal tensors, bit for bit.

    Args:
        facts: about them, which must be JSON.
    """
    from safetensors.torch import save

    whole = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    return save(whole, None if facts is None else {"facts": json.dumps(facts)})


def decode_tensors(data: bytes) -> "dict[str, Tensor]":
    """What :func:`encode_tensors` encoded, without the facts; from bytes nobody vouches for.

    Raises:
        ValueError: they are not a whole safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    damage = (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AssertionError)
    try:
        return load(data)
    except damage as error:
        raise ValueError(f"it is not a whole safetensors file ({error})") from error


def write_tensors(path: Path, tensors: "dict[str, Tensor]", facts: dict[str, Any]) -> None:
    """Write tensors and facts, which must be JSON, as one safetensors file."""
    write_atomically(path, encode_tensors(tensors, facts))


def read_tensors(path: Path, remedy: str) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
    """What :func:`write_tensors` wrote; nothing when there is no such file.

    Raises:
        ValueError: the file is damaged; ``remedy`` says what to do then.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    if not path.is_file():
        raise ValueError(f"{path} is not a file; {remedy}.")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
            if not isinstance(facts, dict):
                raise ValueError("its facts are no JSON object")
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} is damaged ({reason}); {remedy}.") from error


def read_model(path: Path, remedy: str) -> "tuple[Path, dict[str, Tensor], dict[str, Any]]":
    """A trained model's file, which may be given as its run folder: its path, tensors and facts.

    Raises:
        ValueError: the file is damaged, holds numbers that are not finite, or there is none;
            ``remedy`` says what to give instead.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    stored = read_tensors(path, "train again or restore it")
    if stored is None:
        raise ValueError(f"{path} does not exist; {remedy}.")
    tensors, facts = stored
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{path} holds numbers that are not finite ({name}); train it again.")
    for name, fact in facts.items():
        if not _is_finite(fact):
            raise ValueError(f"{path} holds numbers that are not finite ({name}); train it again.")
    return path, tensors, facts


def _is_finite(fact: Any) -> bool:
    """Whether all numbers in a JSON value are finite floats, or integers that could be."""
    left = [fact]
    while left:  # no recursion: JSON may be deeper than Python's stack
        fact = left.pop()
        if isinstance(fact, dict | list):
            left += fact.values() if isinstance(fact, dict) else fact
        elif isinstance(fact, int | float) and not -_LARGEST < fact < _LARGEST:
            return False
    return True
