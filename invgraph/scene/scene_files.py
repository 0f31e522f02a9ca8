"""A scene on disk: one exact JSON file, and a GLB of the same objects for other programs.

The JSON is what is read back: numbers in few are written as they are, those in many as base64 of
their bytes in a list at the end. The GLB holds what glTF can say.
"""

import base64
import binascii
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invgraph.files.atomic import write_atomically
from invgraph.geometry.mesh import Mesh, check_indices
from invgraph.scene import (
    DirectionalLight,
    EnvironmentMap,
    Material,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)
from invgraph.scene.glb import glb_from_scene

_FORMAT = "invgraph scene"
_VERSION = 1
_INLINE = 64
_DTYPES = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "int64": "<i8"}

_LIGHTS = ("SphericalHarmonicLight", "DirectionalLight", "PointLight", "EnvironmentMap")
# What may stand in a file: per type its fields, per field "float" or "int" (tensors), "text", or
# the types allowed; a trailing "?" allows null and a trailing "*" means a list.
_FIELDS: dict[type, dict[str, tuple[str, ...]]] = {
    Mesh: {
        "vertices": ("float",),
        "faces": ("int",),
        "uv": ("float", "?"),
        "uv_faces": ("int", "?"),
    },
    Material: {"albedo": ("float",), "roughness": ("float",), "metallic": ("float",)},
    Object: {
        "mesh": ("Mesh",),
        "world_from_object": ("float",),
        "material": ("Material",),
        "visibility": ("float", "?"),
    },
    SphericalHarmonicLight: {"coefficients": ("float",), "frame": ("text",)},
    DirectionalLight: {"direction": ("float",), "irradiance": ("float",), "frame": ("text",)},
    PointLight: {"position": ("float",), "intensity": ("float",), "frame": ("text",)},
    EnvironmentMap: {"radiance": ("float",), "frame": ("text",)},
    Scene: {
        "objects": ("Object", "*"),
        "lights": (*_LIGHTS, "*"),
        "background": ("float", "EnvironmentMap", "?"),
    },
}
_TYPES = {kind.__name__: kind for kind in _FIELDS}


def save_scene(scene: Scene, path: str | os.PathLike) -> None:
    """Write a scene so that :func:`load_scene` gives back the same tensors bit for bit.

    Each file appears whole or not at all, whenever the program is killed.

    Args:
        scene: without batch axes, every number finite.
        path: a folder, which gets ``scene.json`` and ``scene.glb``; or a path ending in .json or
            .glb, which gives the name of both.

    Raises:
        ValueError: the scene has batch axes, numbers that are not finite or face indices out of
            range, or holds tensors of another type than float32, float64, int32, int64.
    """
    text = _Encoder().document(scene)
    glb = glb_from_scene(scene)
    json_path = _json_path(path)
    write_atomically(json_path.with_suffix(".glb"), glb)
    write_atomically(json_path, text)


def load_scene(path: str | os.PathLike) -> Scene:
    """Read a scene that :func:`save_scene` wrote; on the CPU, without gradients.

    Args:
        path: the folder, or either of the two files; only the JSON is read.

    Raises:
        ValueError: the file is missing or is not a whole, valid scene.
    """
    json_path = _json_path(path)
    if not json_path.is_file():
        raise ValueError(f"{json_path} does not exist; give a folder or file made by save_scene.")
    try:
        document = json.loads(json_path.read_bytes(), parse_constant=_refuse_constant)
        return _Decoder(document).scene()
    except (ValueError, TypeError, OverflowError, RuntimeError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{json_path} is not a valid scene: {reason}") from error


def _json_path(path: str | os.PathLike) -> Path:
    path = Path(path)
    if path.suffix.lower() in (".json", ".glb") and not path.is_dir():
        return path.with_suffix(".json")
    return path / "scene.json"


def _on_one_line(match: re.Match) -> str:
    return "[" + " ".join(match[1].split()) + "]"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number a scene may hold.")


class _Encoder:
    """Turns a scene into JSON, setting large tensors aside."""

    def __init__(self) -> None:
        self.tensors: list[dict] = []

    def document(self, scene: Scene) -> bytes:
        root = {"format": _FORMAT, "version": _VERSION, "scene": self._value(scene, "scene")}
        head = json.dumps(root, indent=1, allow_nan=False)[: -len("\n}")]
        # Short lists on one line and one line per large tensor keep the rest readable.
        head = re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", _on_one_line, head)
        lines = ",\n".join("  " + json.dumps(entry) for entry in self.tensors)
        return f'{head},\n "tensors": [\n{lines}\n ]\n}}\n'.encode()

    def _value(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, where)
        if isinstance(value, tuple):
            return [self._value(item, f"{where}[{i}]") for i, item in enumerate(value)]
        fields = _FIELDS.get(type(value))
        if fields is None:
            return value
        if isinstance(value, Mesh):
            check_indices(value)
        entry = {name: self._value(getattr(value, name), f"{where}.{name}") for name in fields}
        return {"type": type(value).__name__, **entry}

    def _tensor(self, tensor: Tensor, where: str) -> dict:
        tensor = tensor.detach().cpu()
        name = str(tensor.dtype).removeprefix("torch.")
        if name not in _DTYPES:
            raise ValueError(
                f"{where} is {name}; a scene file holds {', '.join(_DTYPES)}: convert it."
            )
        bad = int((~tensor.isfinite()).sum())
        if bad:
            raise ValueError(f"{where} holds {bad} numbers that are not finite; not saved.")
        if 0 < tensor.numel() <= _INLINE:
            return {"dtype": name, "values": tensor.tolist()}
        data = base64.b64encode(tensor.numpy().astype(_DTYPES[name]).tobytes()).decode()
        self.tensors.append({"dtype": name, "shape": list(tensor.shape), "base64": data})
        return {"tensor": len(self.tensors) - 1}


class _Decoder:
    """Turns JSON that nobody vouches for into a scene, or raises ValueError."""

    def __init__(self, document: Any) -> None:
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError(f'it does not say "format": "{_FORMAT}".')
        if document.get("version") != _VERSION:
            raise ValueError(
                f"its version is {document.get('version')!r} but this reads {_VERSION}; "
                "read it with the invgraph that wrote it."
            )
        tensors = document.get("tensors")
        if not isinstance(tensors, list):
            raise ValueError("tensors should be a list.")
        self.document = document
        self.tensors = tensors

    def scene(self) -> Scene:
        return self._value(self.document.get("scene"), ("Scene",), "scene")

    def _value(self, entry: Any, kinds: tuple[str, ...], where: str) -> Any:
        if entry is None and "?" in kinds:
            return None
        if "*" in kinds:
            if not isinstance(entry, list):
                raise ValueError(f"{where} should be a list.")
            kinds = tuple(kind for kind in kinds if kind != "*")
            return tuple(self._value(x, kinds, f"{where}[{i}]") for i, x in enumerate(entry))
        if kinds == ("text",):
            return entry
        if not isinstance(entry, dict):
            raise ValueError(f"{where} should be one of {_names(kinds)}.")
        if "type" not in entry:
            return self._tensor(entry, kinds, where)
        if not isinstance(entry["type"], str) or entry["type"] not in kinds:
            raise ValueError(
                f"{where} should be one of {_names(kinds)} but is {str(entry['type'])[:40]!r}."
            )
        kind = _TYPES[entry["type"]]
        fields = _FIELDS[kind]
        if set(entry) != {"type", *fields}:
            raise ValueError(f"{where} should have exactly the fields {', '.join(fields)}.")
        values = {
            name: self._value(entry[name], fields[name], f"{where}.{name}") for name in fields
        }
        if kind is Mesh and values["vertices"].ndim != 2:
            raise ValueError(f"{where}.vertices should be (v, 3).")
        value = kind(**values)
        if isinstance(value, Mesh):
            check_indices(value)
        return value

    def _tensor(self, entry: dict, kinds: tuple[str, ...], where: str) -> Tensor:
        wanted = next((kind for kind in kinds if kind in ("float", "int")), None)
        if wanted is None:
            raise ValueError(f"{where} should be one of {_names(kinds)}.")
        if "tensor" in entry:
            index = entry["tensor"]
            if type(index) is not int or not 0 <= index < len(self.tensors):
                raise ValueError(f"{where} names a tensor that the file lacks.")
            entry = self.tensors[index]
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(dtype, str) or dtype not in _DTYPES or not dtype.startswith(wanted):
            raise ValueError(f"{where} should hold {wanted} numbers of 32 or 64 bits.")
        array = _inline(entry, dtype) if "values" in entry else _packed(entry, dtype, where)
        if not np.isfinite(array).all():
            raise ValueError(f"{where} holds numbers that are not finite.")
        return torch.from_numpy(array)


def _names(kinds: tuple[str, ...]) -> str:
    return ", ".join("null" if kind == "?" else kind for kind in kinds)


def _inline(entry: dict, dtype: str) -> np.ndarray:
    array = np.array(entry["values"])
    if array.dtype.kind not in ("if" if dtype.startswith("float") else "i"):
        raise ValueError(f"values should be a regular list of {dtype} numbers.")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _packed(entry: dict, dtype: str, where: str) -> np.ndarray:
    shape, text = entry.get("shape"), entry.get("base64")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{where} has no shape of whole numbers.")
    if not isinstance(text, str):
        raise ValueError(f"{where} has no base64 text.")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{where} is not base64: {error}") from error
    kind = np.dtype(_DTYPES[dtype])
    if math.prod(shape) * kind.itemsize != len(raw) or len(shape) > 8:
        raise ValueError(f"{where} has {len(raw)} bytes, which is not what shape {shape} needs.")
    return np.frombuffer(raw, kind).astype(dtype).reshape(shape)
