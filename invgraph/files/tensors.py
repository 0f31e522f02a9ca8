"""Tensors with facts about them, as one safetensors file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invgraph.files.atomic import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: Path, tensors: "dict[str, Tensor]", facts: dict[str, Any]) -> None:
    """Write tensors and facts, which must be JSON, as one safetensors file."""
    from safetensors.torch import save

    whole = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, save(whole, {"facts": json.dumps(facts)}))


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
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy}.") from error
