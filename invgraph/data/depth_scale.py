"""The unit of depth maps whose format leaves it open."""

from pathlib import Path

from invgraph.data.images import inside_file
from invgraph.data.text import read_json

_METRES = 0.001  # depth_scale counts millimetres


def metres_per_level(folder: Path, usual: float) -> float:
    """Metres per level of a recording's depth maps.

    Args:
        folder: whose ``camera.json`` may have ``depth_scale``, millimetres per level as in BOP.
        usual: of the format, where there is no such number.

    Raises:
        ValueError: the file is no JSON object, or the number is not finite and positive.
    """
    source = inside_file(folder / "camera.json", folder)
    if source is None:
        return usual
    value = read_json(source, "write it again.").get("depth_scale")
    return usual if value is None else checked_scale(value, f"{source}: depth_scale") * _METRES


def checked_scale(value: object, where: str) -> float:
    """A scale of depth maps that a file states.

    Raises:
        ValueError: not a finite number above 0.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 1e-30 < value < 1e30:
        return float(value)
    raise ValueError(f"{where} is {value!r:.40}, expected a finite number above 0.")
