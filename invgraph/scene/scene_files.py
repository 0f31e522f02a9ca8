"""A scene on disk: readable JSON with its large tensors beside it, and a GLB for other programs.

The JSON and the tensors are what is read back, bit for bit. A tensor of few numbers stands in the
JSON; one of many has only its type and shape there, and lies in the safetensors file under the
path of its place, such as ``scene.objects[0].geometry.vertices``. That file is named after its
contents, and the JSON, which says which one is its own, is replaced last. So a kill at any moment
leaves the old scene or the new one. The GLB holds what glTF can say.
"""

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invgraph.files.atomic import write_atomically
from invgraph.files.tensors import decode_tensors, encode_tensors
from invgraph.geometry.gaussians import Gaussians
from invgraph.geometry.mesh import Mesh, check_indices
from invgraph.scene import (
    BackgroundImage,
    DirectionalLight,
    EnvironmentMap,
    Material,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)
from invgraph.scene.batching import refuse_batches
from invgraph.scene.glb import glb_from_scene

_FORMAT = "invgraph scene"
_VERSION = 3
_DIGITS = 12  # of the sha256 of the tensors, in the name of their file
_INLINE = 64  # numbers of a tensor that stands in the JSON, at most
_DTYPES = ("float32", "float64", "int32", "int64")

_LIGHTS = ("SphericalHarmonicLight", "DirectionalLight", "PointLight", "EnvironmentMap")
# What may stand in a file: per type its fields, per field "float" or "int" (tensors), "text",
# "truth", or the types allowed; a trailing "?" allows null and a trailing "*" means a list.
_FIELDS: dict[type, dict[str, tuple[str, ...]]] = {
    Mesh: {
        "vertices": ("float",),
        "faces": ("int",),
        "uv": ("float", "?"),
        "uv_faces": ("int", "?"),
    },
    Gaussians: {
        "means": ("float",),
        "quat_wxyz": ("float",),
        "scales": ("float",),
        "opacity": ("float",),
    },
    Material: {
        "albedo": ("float",),
        "roughness": ("float",),
        "metallic": ("float",),
        "albedo_kind": ("text",),
        "roughness_kind": ("text",),
        "metallic_kind": ("text",),
        "unlit": ("truth",),
    },
    Object: {
        "geometry": ("Mesh", "Gaussians"),
        "world_from_object": ("float",),
        "material": ("Material",),
        "visibility": ("float", "?"),
        "tint": ("float", "?"),
    },
    BackgroundImage: {"pixels": ("float",)},
    SphericalHarmonicLight: {"coefficients": ("float",), "frame": ("text",)},
    DirectionalLight: {"direction": ("float",), "irradiance": ("float",), "frame": ("text",)},
    PointLight: {"position": ("float",), "intensity": ("float",), "frame": ("text",)},
    EnvironmentMap: {"radiance": ("float",), "frame": ("text",)},
    Scene: {
        "objects": ("Object", "*"),
        "lights": (*_LIGHTS, "*"),
        "background": ("float", "BackgroundImage", "EnvironmentMap", "?"),
    },
}
_TYPES = {kind.__name__: kind for kind in _FIELDS}


def save_scene(scene: Scene, path: str | os.PathLike) -> None:
    """Write a scene so that :func:`load_scene` gives back the same tensors bit for bit.

    Killed at any moment, the program leaves the old scene or the new one.

    Args:
        scene: without batch axes, every number finite.
        path: a folder, which gets ``scene.json``, ``scene.<digits>.safetensors`` if there are
            large tensors, and ``scene.glb``; or a path ending in .json or .glb, which gives
            another name than "scene" to all of them. An older scene of that name is replaced.

    Raises:
        ValueError: the scene has batch axes, numbers that are not finite or face indices out of
            range, or holds tensors of another type than float32, float64, int32, int64.
    """
    json_path = _json_path(path)
    encoder = _Encoder()
    entry = encoder.value(scene, "scene")
    glb = glb_from_scene(scene)
    refuse_batches(scene, "the scene")
    stored = _write_tensors(json_path, encoder.tensors) if encoder.tensors else None
    write_atomically(json_path.with_suffix(".glb"), glb)
    write_atomically(json_path, _text(entry, stored))
    _remove_tensors(json_path, except_for=stored["file"] if stored else None)


def load_scene(path: str | os.PathLike) -> Scene:
    """Read a scene that :func:`save_scene` wrote; on the CPU, without gradients.

    Args:
        path: the folder, the JSON or the GLB; what is read are the JSON and the tensors beside it.

    Raises:
        ValueError: a file is missing, or they are not a whole, valid scene.
    """
    json_path = _json_path(path)
    if not json_path.is_file():
        raise ValueError(f"{json_path} does not exist; give a folder or file made by save_scene.")
    text = json_path.read_bytes()
    while True:
        try:
            return _scene(text, json_path.resolve().parent)
        except (ValueError, TypeError, OverflowError, RuntimeError, RecursionError) as error:
            now = json_path.read_bytes()
            if now == text:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise ValueError(f"{json_path} is not a valid scene: {reason}") from error
            text = now  # another program saved a scene, and removed the tensors of the old one


def _scene(text: bytes, folder: Path) -> Scene:
    document = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(
            f'it does not say "format": "{_FORMAT}": it is of another program, or of an invgraph '
            "before 0.1; run the fit again."
        )
    version = document.get("version")
    if type(version) is int and version in (1, 2):
        raise ValueError(
            f"it is of version {version}, which an older invgraph wrote, but this reads "
            f"{_VERSION}; run the fit again, or save the scene again with this version."
        )
    if type(version) is not int or version != _VERSION:
        raise ValueError(
            f"its version is {str(version)[:20]} but this reads {_VERSION}; "
            "read it with the invgraph that wrote it."
        )
    tensors = _read_tensors(document.get("tensors"), folder)
    return _Decoder(tensors).value(document.get("scene"), ("Scene",), "scene")


def _write_tensors(json_path: Path, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Write the tensors beside the JSON, and give what the JSON says about them."""
    data = encode_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{json_path.stem}.{digest[:_DIGITS]}.safetensors"
    write_atomically(json_path.with_name(name), data)
    return {"file": name, "sha256": digest}


def _read_tensors(stored: Any, folder: Path) -> dict[str, Tensor]:
    """The tensors that a JSON in ``folder`` says are its own."""
    if stored is None:
        return {}
    if not isinstance(stored, dict) or set(stored) != {"file", "sha256"}:
        raise ValueError("tensors should be null or have exactly the fields file, sha256.")
    name = stored["file"]
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
        raise ValueError(
            f"tensors.file should name a .safetensors file beside it but is {name!r:.60}."
        )
    file = folder / name
    try:
        if file.resolve().parent != folder:
            raise ValueError(f"{name:.60} is a link out of the folder; put the file itself there.")
        if file.exists() and not file.is_file():
            raise ValueError(f"{name:.60} is not a file.")
        data = file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{name:.60} with its tensors cannot be read ({error.strerror}); "
            "keep it beside the JSON, or save the scene again."
        ) from error
    if hashlib.sha256(data).hexdigest() != stored["sha256"]:
        raise ValueError(
            f"{name:.60} is damaged or of another scene: its sha256 is not the one in the JSON; "
            "save the scene again."
        )
    try:
        return decode_tensors(data)
    except ValueError as error:
        raise ValueError(f"{name:.60}: {error}; save the scene again.") from error


def _remove_tensors(json_path: Path, except_for: str | None) -> None:
    """Remove tensors of older scenes of the same name, those of a killed program as well."""
    ours = re.compile(re.escape(json_path.stem) + rf"\.[0-9a-f]{{{_DIGITS}}}\.safetensors")
    for file in json_path.parent.iterdir():
        if ours.fullmatch(file.name) and file.name != except_for:
            with contextlib.suppress(OSError):
                file.unlink()


def _json_path(path: str | os.PathLike) -> Path:
    path = Path(path)
    if path.suffix.lower() in (".json", ".glb") and not path.is_dir():
        return path.with_suffix(".json")
    return path / "scene.json"


def _on_one_line(match: re.Match) -> str:
    return "[" + " ".join(match[1].split()) + "]"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number a scene may hold.")


def _text(entry: dict, stored: dict | None) -> bytes:
    root = {"format": _FORMAT, "version": _VERSION, "tensors": stored, "scene": entry}
    text = json.dumps(root, indent=1, allow_nan=False)
    # Short lists on one line keep the rest readable.
    return re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", _on_one_line, text).encode() + b"\n"


class _Encoder:
    """Turns a scene into JSON, setting large tensors aside."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def value(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, where)
        if isinstance(value, tuple):
            return [self.value(item, f"{where}[{i}]") for i, item in enumerate(value)]
        fields = _FIELDS.get(type(value))
        if fields is None:
            return value
        if isinstance(value, Mesh):
            check_indices(value)
        if isinstance(value, Object) and value.present is not None:
            raise ValueError(
                f"{where} has present, which is for batches; save one scene at a time."
            )
        entry = {name: self.value(getattr(value, name), f"{where}.{name}") for name in fields}
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
        self.tensors[where] = tensor
        return {"dtype": name, "shape": list(tensor.shape)}


class _Decoder:
    """Turns JSON that nobody vouches for into a scene, or raises ValueError."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def value(self, entry: Any, kinds: tuple[str, ...], where: str) -> Any:
        if entry is None and "?" in kinds:
            return None
        if "*" in kinds:
            if not isinstance(entry, list):
                raise ValueError(f"{where} should be a list.")
            kinds = tuple(kind for kind in kinds if kind != "*")
            return tuple(self.value(x, kinds, f"{where}[{i}]") for i, x in enumerate(entry))
        if kinds == ("text",):
            return entry
        if kinds == ("truth",):
            if not isinstance(entry, bool):
                raise ValueError(f"{where} should be true or false.")
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
        values = {name: self.value(entry[name], fields[name], f"{where}.{name}") for name in fields}
        value = kind(**values)
        refuse_batches(value, where)
        if isinstance(value, Mesh):
            check_indices(value)
        return value

    def _tensor(self, entry: dict, kinds: tuple[str, ...], where: str) -> Tensor:
        wanted = next((kind for kind in kinds if kind in ("float", "int")), None)
        if wanted is None:
            raise ValueError(f"{where} should be one of {_names(kinds)}.")
        dtype = entry.get("dtype")
        if not isinstance(dtype, str) or dtype not in _DTYPES or not dtype.startswith(wanted):
            raise ValueError(f"{where} should hold {wanted} numbers of 32 or 64 bits.")
        tensor = _inline(entry, dtype) if "values" in entry else self._stored(entry, dtype, where)
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{where} holds numbers that are not finite.")
        return tensor

    def _stored(self, entry: dict, dtype: str, where: str) -> Tensor:
        tensor = self.tensors.get(where)
        if tensor is None:
            raise ValueError(f"{where} has no values, and the tensors beside it lack it.")
        found = str(tensor.dtype).removeprefix("torch.")
        if found != dtype or list(tensor.shape) != entry.get("shape"):
            raise ValueError(
                f"{where} is stored as {found} of shape {list(tensor.shape)}, "
                "which is not what the JSON says."
            )
        return tensor


def _names(kinds: tuple[str, ...]) -> str:
    return ", ".join("null" if kind == "?" else kind for kind in kinds)


def _inline(entry: dict, dtype: str) -> Tensor:
    array = np.array(entry["values"])
    if array.dtype.kind not in ("if" if dtype.startswith("float") else "i"):
        raise ValueError(f"values should be a regular list of {dtype} numbers.")
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(dtype))
