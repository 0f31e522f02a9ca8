"""What is known about a run before it has found anything: asked for, read, by what, on what."""

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from invgraph.data import Capture

Kind = Literal[
    "object",
    "place",
    "pose",
    "odometry",
    "depth",
    "encoder",
    "scene",
    "inference",
    "scenes",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
_END = 1 << 20  # bytes


@dataclass(frozen=True)
class RunFacts:
    """What a run is asked to do.

    Attributes:
        kind: of run: a fit of an object, a place, a known object's poses or a camera's motion; a
            training of depth, of an encoder or of scenes; the inference of depth or of scenes.
        name: of what it is about, for a person.
        identity: of what it works on, as :func:`identity` tells it; a run that is resumed must
            have the same.
        read: what was read, and how much of it; JSON.
        settings: every option of the run, those left at their defaults included; JSON.
    """

    kind: Kind
    name: str
    identity: str
    read: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def facts_of(capture: Capture) -> dict[str, Any]:
    """What was read of a capture, and how much; JSON."""
    first = capture.frames[0].image_path
    return {
        "capture": capture.name,
        "format": capture.kind,
        "source": str((capture.source or first.parent).resolve()),
        "photos": len(capture.frames),
        "held_out": len(capture.test),
        "skipped": len(capture.skipped),
    }


def identity(captures: Sequence[Capture], *others: object) -> str:
    """Equal for equal work: photos, masks and cameras, and whatever else decides what is found.

    Of a large file the two ends count.

    Args:
        captures: that are read.
        others: anything whose text tells it from others, such as a model's fingerprint.
    """
    files = [
        (
            frame.name,
            frame.size,
            _contents(frame.image_path),
            None if frame.mask_path is None else _contents(frame.mask_path),
            None if frame.camera is None else frame.camera.camera_from_world.tolist(),
            None if frame.known_lens is None else frame.known_lens.facts,
        )
        for capture in captures
        for frame in capture.frames
    ]
    return hashlib.sha256(repr((files, others)).encode()).hexdigest()


def _contents(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END))
        if size > 2 * _END:
            file.seek(-_END, os.SEEK_END)
        digest.update(file.read())
    return f"{size} {digest.hexdigest()}"


def session() -> dict[str, Any]:
    """When, how and where this process works on a run; JSON."""
    return {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "commit": _commit(),
        "versions": _versions(),
        "machine": _machine(),
    }


def _command() -> list[str]:
    """The command line of this process, whatever started it."""
    program = Path(sys.argv[0])
    if program.stem == "invgraph" or program.parts[-3:-1] == ("invgraph", "cli"):
        return ["invgraph", *sys.argv[1:]]
    return list(sys.orig_argv)


def _commit() -> str | None:
    """The commit of the checkout that this package is imported from; None if it is no checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ("git", "-C", str(root))
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 10}
        commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, **options).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], **options).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit} with changes" if changed else commit


def _versions() -> dict[str, str]:
    """Python's version, ours, and those of the installed packages that we name as dependencies."""
    found = {"python": platform.python_version()}
    names = ["invgraph"]
    try:
        required = importlib.metadata.requires("invgraph") or []
    except importlib.metadata.PackageNotFoundError:
        required = []
    used = [text for text in required if not re.search(r"extra == .(test|bench)", text)]
    names += [match[0] for text in used if (match := re.match(r"[\w.-]+", text))]
    for name in dict.fromkeys(names):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    match = re.search(r"model name\s*: (.*)", text)
    return match[1] if match else platform.processor()
