"""The run folder: what every kind of run leaves on disk, readable after a kill at any moment."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from invgraph.files.atomic import append_text, remove_parts, write_atomically
from invgraph.files.names import require_text
from invgraph.files.pictures import encode_png
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_bytes_from_linear
from invgraph.runs.facts import KINDS, RunFacts, session

RUN = "run.json"
METRICS = "metrics.json"
CAMERAS = "cameras.json"
LOG = "log.csv"
CHECKPOINT = "checkpoint.safetensors"
RENDERS = "renders"
LOCK = ".lock"
_FORMAT, _VERSION = "invgraph run", 1
_TYPES = {  # in metrics.json
    "complete": bool,
    "skipped": list,
    "notes": list,
    "unfinished": list,
    "views": list,
}


class RunFolder:
    """The folder of a run and the right to write there; used as a context.

    Files are replaced whole or not at all. ``run.json`` holds the facts of the run and of every
    session that worked on it, ``metrics.json`` what came out, ``log.csv`` the curves,
    ``checkpoint.safetensors`` what a resumed run starts from, ``renders/`` the pictures. A run that
    ends without leaving more than its facts takes them away again.

    Args:
        path: created when missing.
        facts: of the run.
        resume: go on with the run that is there, if there is one.

    Raises:
        ValueError: the folder holds something and ``resume`` is off; or something that is no run,
            a run of an older version, of another kind or about something else; or another process
            is writing there; or it cannot be a folder.
    """

    def __init__(self, path: Path, facts: RunFacts, resume: bool = False) -> None:
        self.path, self.facts = Path(path), facts
        check_out(self.path, resume)
        self._created = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = locked(self.path)
        try:
            check_out(self.path, resume)  # again: now nobody else can change it
            stored = read_run_file(self.path) if _holds_something(self.path) else None
            if stored is not None:
                self._require_same(stored)
            remove_parts(self.path)
            _drop_cut_row(self.path / LOG)
            self._fresh = stored is None
            if self.finished() is None:
                self._begin(stored)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, stored: dict[str, Any] | None) -> None:
        """Note that this process works on the run; the facts are those that it was begun with."""
        if stored is None:
            stored = {"format": _FORMAT, "version": _VERSION, **asdict(self.facts), "sessions": []}
        entry = {**session(), "settings": self.facts.settings}
        self.write_json(RUN, {**stored, "sessions": [*stored["sessions"], entry]})
        (self.path / RENDERS).mkdir(exist_ok=True)

    def reopen(self) -> None:
        """Go on with a finished run: it is no longer complete."""
        (self.path / METRICS).unlink()
        self._begin(read_run_file(self.path))

    def _require_same(self, stored: dict[str, Any]) -> None:
        ours = (self.facts.kind, self.facts.name)
        theirs = (stored["kind"], stored["name"])
        if ours != theirs:
            raise ValueError(
                f"{self.path} is a run of kind {theirs[0]} on {theirs[1]}, not of kind {ours[0]} "
                f"on {ours[1]}; choose another --out."
            )
        if self.facts.identity != stored["identity"]:
            before, now = stored.get("settings"), self.facts.settings
            before = before if isinstance(before, dict) else {}
            changed = [name for name in now if name in before and before[name] != now[name]]
            told = f" (other settings: {', '.join(changed)})" if changed else ""
            raise ValueError(
                f"{self.path} is a run on another {self.facts.name}: files of that name, but with "
                f"other contents, or options that change what is found{told}; resume with the "
                "same, or choose another --out."
            )

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._fresh:
                self._remove_if_empty()
        finally:
            self._lock.release()

    def _remove_if_empty(self) -> None:
        entries = sorted(self.path.rglob("*"), reverse=True)
        if any(entry.is_file() and entry.name not in (RUN, LOCK) for entry in entries):
            return
        with contextlib.suppress(OSError):
            for entry in [*entries, *([self.path] if self._created else [])]:
                entry.rmdir() if entry.is_dir() else entry.unlink()

    def write(self, name: str, content: bytes) -> None:
        """Replace one file of the run; after a failure the old one is still there."""
        write_atomically(self.path / name, content)

    def write_json(self, name: str, content: Any) -> None:
        """Write readable JSON."""
        self.write(name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def picture(self, name: str, image: Float[Tensor, "h w 3"]) -> None:
        """Write a linear image as an 8-bit sRGB PNG."""
        self.write(name, encode_png(srgb_bytes_from_linear(image).numpy()))

    def write_cameras(self, cameras: Iterable[tuple[str, str, Camera]]) -> None:
        """Write ``cameras.json``: the name of each photo, its split, its camera."""
        frames = [
            {
                "name": name,
                "split": split,
                "camera_from_world": camera.camera_from_world.tolist(),
                **camera.lens.facts,
            }
            for name, split, camera in cameras
        ]
        self.write_json(CAMERAS, {"frames": frames})

    def log(self, **row: Any) -> None:
        """Append one row to ``log.csv``; every row has the columns of the first."""
        path = self.path / LOG
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(row))
        if not path.exists():
            writer.writeheader()
        writer.writerow(row)
        append_text(path, text.getvalue())

    @property
    def checkpoint(self) -> Path:
        """The file that a resumed run starts from."""
        return self.path / CHECKPOINT

    def save_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write a checkpoint; ``facts`` must be JSON."""
        write_tensors(self.checkpoint, tensors, facts)

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint, or nothing when there is none.

        Raises:
            ValueError: the checkpoint is damaged.
        """
        return read_tensors(self.checkpoint, "delete it and start the run again")

    def finished(self) -> dict[str, Any] | None:
        """What ``metrics.json`` says of a run with nothing left to do; None if there is more to do.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.path / METRICS
        if not path.exists():
            return None
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
            for name, kind in _TYPES.items():
                if name in metrics and not isinstance(metrics[name], kind):
                    raise TypeError(f"{name} is {metrics[name]!r:.40}")
            return metrics if metrics["complete"] else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it to score anew.") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}")


def check_out(path: Path, resume: bool) -> None:
    """Refuse a folder that a run cannot be written to, before any work is done.

    Raises:
        ValueError: as for :class:`RunFolder`.
    """
    require_text(str(path), "choose another --out")
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file but a run needs a folder; choose another --out.")
    if not _holds_something(path):
        return
    if not resume and (path / RUN).exists():
        raise ValueError(f"{path} holds a run; continue it by --resume or choose another --out.")
    if not resume:
        raise ValueError(f"{path} is not empty and holds no run; choose another --out.")
    read_run_file(path)


def read_run_file(path: Path) -> dict[str, Any]:
    """The facts in the ``run.json`` of a folder, with its ``sessions``.

    Raises:
        ValueError: no folder, or it holds no run, a damaged one, or one of another version.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is not a folder; pass the run folder that `invgraph fit` wrote.")
    file = path / RUN
    if not file.is_file():
        raise ValueError(
            f"{path} holds no {RUN}: it is no run, or one that an older version left and that this "
            "version does not read; choose another folder and start the run again."
        )
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        known, version = stored["format"] == _FORMAT, stored["version"]
        texts = isinstance(stored["name"], str) and isinstance(stored["identity"], str)
        good = (
            type(version) is int
            and texts
            and stored["kind"] in KINDS
            and isinstance(stored["sessions"], list)
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{file} is damaged ({reason}); start the run again.") from error
    if version == _VERSION and not (known and good):
        raise ValueError(f"{file} is damaged (no facts of a run); start the run again.")
    if version != _VERSION:
        raise ValueError(
            f"{file} is of version {str(version)[:20]} but this reads {_VERSION}; use the invgraph "
            "that wrote it, or start the run again."
        )
    return stored


def file_stem(index: int, name: str) -> str:
    """A file name that is safe everywhere, from a name that is not trusted."""
    return f"{index:04d}_" + re.sub(r"[^A-Za-z0-9]+", "_", Path(name).stem).strip("_")[:40]


def _holds_something(path: Path) -> bool:
    """Anything but the lock, and what a kill left before the run had begun."""
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return any(name != LOCK and not name.endswith(".part") for name in names)


def _drop_cut_row(log: Path) -> None:
    """Without the row that a kill cut off, which the next one would be appended to."""
    if not log.is_file():
        return
    text = log.read_bytes()
    if whole := text[: text.rfind(b"\n") + 1]:
        if whole != text:
            write_atomically(log, whole)
    else:
        log.unlink()


def locked(path: Path) -> FileLock:
    """The lock of a folder, a context; the system lets go of it however this process ends.

    Raises:
        ValueError: another process has it.
    """
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{path} is being written by another process; wait for it, stop it or choose another "
            "--out."
        ) from None
    return lock
