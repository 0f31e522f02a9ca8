"""The unit of depth maps whose format leaves it open."""

from pathlib import Path

from invgraph.data.listing import inside_file
from invgraph.data.text import number, read_json

_METRES = 0.001  # depth_scale counts millimetres
_FINEST, _COARSEST = 1e-9, 1e6


def metres_per_level(folder: Path, usual: float) -> float:
    """Metres per level of a recording's depth maps.

    Args:
        folder: whose ``camera.json`` may have ``depth_scale``, millimetres per level as in BOP.
        usual: of the format, where there is no such number.

    Raises:
        ValueError: the file is no JSON object, or no depth map has such a scale.
    """
    source = inside_file(folder / "camera.json", folder)
    if source is None:
        return usual
    value = read_json(source, "write it again.").get("depth_scale")
    return usual if value is None else checked_scale(value, f"{source}: depth_scale") * _METRES


def checked_scale(value: object, where: str) -> float:
    """Millimetres per level of depth maps, as a file states them.

    Raises:
        ValueError: no number, or one that no depth map has.
    """
    scale = number(value, where)
    if not _FINEST <= scale <= _COARSEST:
        raise ValueError(
            f"{where} is {scale:g}, expected {_FINEST:g} to {_COARSEST:g} mm; correct it."
        )
    return scale
