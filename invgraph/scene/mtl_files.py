"""Materials of OBJ files.

Source:
    Wavefront, MTL material format (1995), which leaves open what numbers ``Kd`` has. Most programs
    take sRGB; Blender writes linear RGB.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from invgraph.scene.mesh_parts import linear_colors
from invgraph.scene.textures import Texture, Wrap, file_beside, quoted

# Options of ``map_Kd``, with the most values that follow each.
_OPTIONS = {
    **dict.fromkeys(("-blendu", "-blendv", "-clamp", "-cc", "-bm", "-boost"), 1),
    **dict.fromkeys(("-texres", "-imfchan", "-type"), 1),
    "-mm": 2,
    **dict.fromkeys(("-o", "-s", "-t"), 3),
}


@dataclass(frozen=True)
class MtlMaterial:
    """The diffuse colour of a material.

    Attributes:
        diffuse: linear RGB that the texture is multiplied by; None if the file states none.
        texture: of colours.
        scale: what texture coordinates (v = 0 at the bottom) are multiplied by.
        offset: what is added to them then.
        lacks: why the colour is unknown although the file states one.
    """

    diffuse: tuple[float, float, float] | None = None
    texture: Texture | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    lacks: str | None = None


def read_mtl(path: Path, folder: Path) -> dict[str, MtlMaterial]:
    """The materials of a file by their names.

    Args:
        path: of the file.
        folder: of the model; textures lie in it or below, beside the file or not.

    Raises:
        ValueError: a line that is no valid statement.
    """
    found: dict[str, MtlMaterial] = {}
    name = ""
    textures: dict[tuple[Path, bool], Texture] = {}
    lines = obj_lines(path)
    by_blender = lines[0].startswith("# Blender")
    for number, line in enumerate(lines, 1):
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        key, rest = key.lower(), rest.strip()
        if key == "newmtl":
            name = rest
            found[name] = MtlMaterial()
        elif name in found and key == "kd":
            diffuse = _diffuse(rest, f"line {number} of {path.name}", linear=by_blender)
            found[name] = replace(found[name], diffuse=diffuse)
        elif name in found and key == "map_kd" and rest:
            found[name] = _with_map(found[name], rest, path.parent, folder, textures)
    return found


def obj_lines(path: Path) -> list[str]:
    """Lines of an OBJ or MTL file, those that a backslash continues joined to the one after.

    Bytes that are no UTF-8 become surrogates. A continued line is followed by empty ones, so that
    lines keep their numbers. A comment is not continued: it may end with the name of a folder.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if "\\\n" not in text and "\\\r" not in text:
        return lines
    joined: list[str] = []
    waiting = 0
    for line in lines:
        if waiting:
            joined[-waiting] = joined[-waiting][:-1] + " " + line
            joined.append("")
        else:
            joined.append(line)
        waiting = waiting + 1 if line.endswith("\\") and "#" not in line else 0
    return joined


def _diffuse(text: str, where: str, linear: bool) -> tuple[float, float, float] | None:
    words = text.partition("#")[0].split()
    if not words or words[0].lower() in ("spectral", "xyz"):
        return None
    try:
        levels = [float(word) for word in words[:3]]
        levels = levels if len(levels) == 3 else levels[:1] * 3
        valid = all(0 <= level <= 1 for level in levels)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{where} has {quoted(text)} as Kd, expected numbers from 0 to 1")
    red, green, blue = levels if linear else linear_colors(np.array(levels)).tolist()
    return red, green, blue


def _with_map(
    material: MtlMaterial,
    text: str,
    folder: Path,
    root: Path,
    textures: dict[tuple[Path, bool], Texture],
) -> MtlMaterial:
    """The material with its texture, or with the reason why that is missing."""
    name, options = _split_options(text)
    if [float(value) for value in options.get("-mm", [])] not in ([], [0], [0, 1]):
        return replace(material, lacks=f"its texture {quoted(name)} has the option -mm")
    file = file_beside(folder, name) or file_beside(root, name)
    if file is None:
        lacks = f"its texture {quoted(name)} is not in {root}: put it there"
        return replace(material, texture=None, lacks=lacks)
    clamp = options.get("-clamp", ["off"])[0].lower() == "on"
    wrap: Wrap = "clamp" if clamp else "repeat"
    texture = textures.setdefault((file, clamp), Texture(file, quoted(name), (wrap, wrap)))
    return replace(
        material,
        texture=texture,
        scale=_pair(options.get("-s", []), 1.0),
        offset=_pair(options.get("-o", []), 0.0),
        lacks=None,
    )


def _split_options(text: str) -> tuple[str, dict[str, list[str]]]:
    """The file name, which may have spaces, and the options before it."""
    options: dict[str, list[str]] = {}
    words = text.split(" ")
    at = 0
    while at < len(words) - 1 and (words[at] == "" or words[at].lower() in _OPTIONS):
        option, at = words[at].lower(), at + 1
        if not option:
            continue
        values: list[str] = []
        while len(values) < _OPTIONS[option] and at < len(words) - 1:
            if _OPTIONS[option] > 1 and words[at] and not _is_number(words[at]):
                break
            values += [words[at]] if words[at] else []
            at += 1
        options[option] = values
    return " ".join(words[at:]).strip(), options


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _pair(values: list[str], default: float) -> tuple[float, float]:
    u, v = [*(float(value) for value in values[:2]), default, default][:2]
    return u, v
