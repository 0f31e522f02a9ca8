"""Writing files so that a reader sees the old one or the new one, never a piece."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes a file, so that a full disk, which names no file, is told with its name.

    Raises:
        OSError: as it came, with the file's name.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; its folder is created when missing.

    A kill or a full disk at any moment leaves the old file as it was.

    Raises:
        OSError: the file cannot be written; ``filename`` says which.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but a file is to be written; name a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with writing(path), fresh.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def append_text(path: Path, text: str) -> None:
    """Add text at the end of a file, which is begun when missing.

    Raises:
        OSError: the file cannot be written; ``filename`` says which.
    """
    with writing(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


def remove_parts(folder: Path) -> None:
    """Remove what a kill left half-written below ``folder``; nobody may be writing there."""
    for part in folder.rglob(".*.part"):
        if part.is_file() and not part.is_symlink():
            part.unlink(missing_ok=True)


def fingerprint(path: Path) -> str:
    """The sha256 of a file in hexadecimal digits: equal for equal contents, whatever its name.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
