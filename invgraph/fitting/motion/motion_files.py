"""A found motion as a file."""

from pathlib import Path

from torch import Tensor

from invgraph.data.trajectory_files import Trajectory
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.motion.estimate import Motion
from invgraph.geometry.lens import Lens, checked_lens

_REMEDY = "delete it to find the motion again"


def write_motion(path: Path, motion: Motion) -> None:
    """Write a motion as safetensors; the file is replaced whole or not at all."""
    lens = motion.lens
    tensors: dict[str, Tensor] = {
        "world_from_camera": motion.trajectory.world_from_camera,
        "times": motion.trajectory.times,
        "focal": lens.focal,
        "principal": lens.principal,
        "points": motion.points,
        "differences": motion.differences,
    }
    if lens.distortion is not None:
        tensors["distortion"] = lens.distortion
    facts = {
        "size": [lens.height, lens.width],
        "model": lens.model,
        "frames": list(motion.frames),
        "keyframes": list(motion.keyframes),
    }
    write_tensors(path, {name: tensor.double() for name, tensor in tensors.items()}, facts)


def read_motion(path: Path) -> Motion | None:
    """Read what :func:`write_motion` wrote; None where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    kept = read_tensors(path, _REMEDY)
    if kept is None:
        return None
    tensors, facts = kept
    try:
        height, width = facts["size"]
        bent = (tensors.get("distortion"), facts["model"])
        lens = checked_lens(
            Lens(tensors["focal"], tensors["principal"], height, width, *bent), str(path)
        )
        return Motion(
            Trajectory(tensors["world_from_camera"], tensors["times"]),
            lens,
            tensors["points"],
            tuple(facts["frames"]),
            tuple(facts["keyframes"]),
            tensors["differences"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} holds no motion ({error}); {_REMEDY}.") from error
