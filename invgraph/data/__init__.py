"""Captures: photographs with cameras, whatever the format they arrive in."""

from pathlib import Path

from invgraph.data.bounds import Bounds
from invgraph.data.capture import Capture, Frame
from invgraph.data.truth import Truth

__all__ = ["Bounds", "Capture", "Frame", "Truth", "read_capture"]


def read_capture(path: str | Path) -> Capture:
    """Read a capture, recognising its format by its files.

    Only headers of the photographs are read; ``Frame.load`` decodes them one at a time.

    Args:
        path: a folder with ``transforms.json``, ``transforms_train.json``, ``poses_bounds.npy`` or
            ``*_par.txt``, or one of these files.

    Raises:
        ValueError: no such folder, no known format, or a file of the capture cannot be used.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a capture's folder.")
    # The formats pull in numpy and torch only; importing them here keeps this page readable.
    from invgraph.data.llff import read_llff
    from invgraph.data.middlebury import read_middlebury
    from invgraph.data.transforms_json import read_transforms_json

    folder = path if path.is_dir() else path.parent
    if path.suffix == ".json" or any(
        (path / name).is_file() for name in ("transforms.json", "transforms_train.json")
    ):
        return read_transforms_json(path)
    if path.name == "poses_bounds.npy" or (path / "poses_bounds.npy").is_file():
        return read_llff(folder)
    if path.name.endswith("_par.txt"):
        return read_middlebury(path)
    parameters = sorted(path.glob("*_par.txt")) if path.is_dir() else []
    if len(parameters) == 1:
        return read_middlebury(parameters[0])
    raise ValueError(
        f"{path} is no capture: expected transforms.json, transforms_train.json, poses_bounds.npy "
        f"or one *_par.txt (found {len(parameters)}); export the cameras in "
        "one of these formats."
    )
