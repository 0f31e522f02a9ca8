"""Writing files so that a reader sees the old one or the new one, never a piece."""

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; its folder is created when missing.

    A kill or a full disk at any moment leaves the old file as it was.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but a file is to be written; name a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with fresh.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def fingerprint(path: Path) -> str:
    """The sha256 of a file in hexadecimal digits: equal for equal contents, whatever its name.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
