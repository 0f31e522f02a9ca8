"""What a mesh file may make us read: files beside it, and arrays and textures that fit."""

import json
import os
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from invgraph.files.memory import available_bytes
from invgraph.files.opening import FORMATS, require_memory

_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MOST = 1 << 53  # of what JSON counts
_COPIES = 4  # of an array while a mesh is made of it


def open_scene(path: Path, *, process: bool = False) -> Any:
    """What a mesh file holds, as trimesh's scene.

    Args:
        path: a mesh file.
        process: join vertices at one place.

    Raises:
        ValueError: the file names one that is no regular file or lies outside its folder, or asks
            for more than the free memory.
        Exception: whatever trimesh's readers trip over.
    """
    import trimesh

    if path.suffix.lower() in (".glb", ".gltf"):
        _check_accessors(path)
    references = _References(path)
    # Of several kinds of resolver trimesh asks no more than what this one has.
    scene = trimesh.load_scene(path, process=process, resolver=references)  # type: ignore[arg-type]
    if references.refused:
        raise ValueError(references.refused[0])
    for part in scene.geometry.values():
        _check_textures(part, path)
    return scene


class _References:
    """The files that a mesh file may name: regular ones in its folder.

    Attributes:
        refused: what was wrong with others; trimesh goes on without a texture that it cannot read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._folder = path, path.resolve().parent
        self.refused: list[str] = []

    def get(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not one that the mesh may name.
        """
        name = name.strip().replace("\\", "/")
        # Exporters name files by paths of their own machine, too.
        places = (name, unquote(name), name.lstrip("/"), name.rpartition("/")[2])
        for candidate in dict.fromkeys(places):
            file = self._folder / candidate
            try:
                found = os.path.lexists(file)
            except ValueError:  # no name of a file
                continue
            if found:
                return self._bytes(file, name)
        raise FileNotFoundError(name)

    __getitem__ = get

    def _bytes(self, file: Path, name: str) -> bytes:
        if not file.resolve().is_relative_to(self._folder):
            reason = f"names {name!r:.200}, which is outside its folder; put the file beside it"
        elif not file.is_file():
            reason = f"names {name!r:.200}, which is no file but a folder, pipe or device"
        elif file.stat().st_size > available_bytes() // _COPIES:
            reason = f"names {name!r:.200}, which is larger than the free memory"
        else:
            return file.read_bytes()
        self.refused.append(reason)
        raise ValueError(reason)


def _check_accessors(path: Path) -> None:
    """Refuse a glTF file whose arrays do not fit into memory, before any is made.

    Raises:
        ValueError: they do not, or the file is no glTF.

    Source:
        Khronos glTF 2.0 specification, sections 3.6.2 (accessors) and 4.4 (GLB).
    """
    size = 0
    listed = _description(path).get("accessors", [])
    for accessor in listed if isinstance(listed, list) else []:
        entry = accessor if isinstance(accessor, dict) else {}
        count = entry.get("count")
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < _MOST:
            raise ValueError(f"an accessor has a count of {count!r:.40}")
        component = entry.get("componentType")
        each = _COMPONENT_BYTES.get(component, 4) if isinstance(component, int) else 4
        size += count * each * _COMPONENTS.get(str(entry.get("type")), 16)
    if size > available_bytes() // _COPIES:
        raise ValueError(f"its accessors ask for {size / 1e6:.3g} MB, more than the free memory")


def _description(path: Path) -> dict[str, Any]:
    """The JSON of a glTF file, text or binary."""
    with path.open("rb") as file:
        start = file.read(20)
        if start[:4] == b"glTF":
            if len(start) < 20:
                raise ValueError("it ends in its header")
            [length] = struct.unpack_from("<I", start, 12)
            text = file.read(min(length, path.stat().st_size))
        else:
            text = start + file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"its description is not JSON: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError("its description is no JSON object")
    return content


def _check_textures(part: Any, path: Path) -> None:
    """Refuse pictures of other kinds than photos have, and those that do not fit into memory."""
    material = getattr(getattr(part, "visual", None), "material", None)
    materials = [material, *(getattr(material, "materials", None) or [])]
    pictures = [value for one in materials if one is not None for value in _pictures(one)]
    for picture in pictures:
        if picture.format not in (*FORMATS, None):
            raise ValueError(
                f"a texture is {picture.format}; convert it to PNG or JPEG, the kinds that are read"
            )
        require_memory(path, picture.height, picture.width)


def _pictures(material: Any) -> list[Any]:
    from PIL import Image

    held = [*vars(material).values()]
    held += [value for inner in held if isinstance(inner, dict) for value in inner.values()]
    return [value for value in held if isinstance(value, Image.Image)]
