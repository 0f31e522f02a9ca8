"""The JSON and the numbers of glTF files.

Source:
    Khronos glTF 2.0 specification, sections 3.6 (buffers and accessors) and 4.4 (GLB).
"""

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np

from invgraph.scene.textures import file_beside, quoted

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MOST_ZEROS = 10_000_000  # elements of an accessor that is not in the file, but zero


class GltfData:
    """One file.

    Attributes:
        root: its JSON.

    Raises:
        ValueError: in all methods: it is not what glTF 2.0 allows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text, self._binary = _chunks(path.read_bytes())
        try:
            self.root = json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant)
        except UnicodeDecodeError as error:
            raise ValueError("it is neither GLB nor JSON") from error
        if not isinstance(self.root, dict):
            raise ValueError("its JSON is no object")
        version = self.root.get("asset", {}).get("version")
        if not isinstance(version, str) or version.split(".")[0] != "2":
            raise ValueError(f"it is of glTF version {version!a:.20}, but this reads 2.0")
        self._buffers: dict[int, memoryview] = {}

    def item(self, kind: str, index: object) -> dict[str, Any]:
        """An entry of a list at the top of the JSON."""
        entries = self.root.get(kind, [])
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(entries):
            raise ValueError(f"it refers to number {index!a:.20} of its {len(entries)} {kind}")
        return entries[index]

    def view(self, index: object) -> tuple[memoryview, int | None]:
        """The bytes of a buffer view, and from one element to the next how many there are."""
        view = self.item("bufferViews", index)
        data = self._buffer(view["buffer"])
        start, length = _count(view, "byteOffset", 0), _count(view, "byteLength")
        if start + length > len(data):
            raise ValueError(f"it is cut off: buffer view {index} ends beyond its buffer")
        stride = _count(view, "byteStride", 0) or None
        return data[start : start + length], stride

    @property
    def size(self) -> int:
        """Bytes of the buffers that were read."""
        return sum(len(buffer) for buffer in self._buffers.values())

    def accessor(
        self,
        index: object,
        kinds: tuple[str, ...],
        rows: np.ndarray | None = None,
        unit: bool = False,
    ) -> np.ndarray:
        """Numbers as float64, or int64 where they are indices, ``n columns``.

        Args:
            index: of the accessor.
            kinds: of these types, such as ``VEC3``.
            rows: which elements; all of them if left out.
            unit: whole numbers are normalised, as the format demands of colours, even where the
                file forgets to say so.
        """
        entry = self.item("accessors", index)
        kind, count = entry["type"], _count(entry, "count")
        if kind not in kinds or kind not in _COLUMNS or entry["componentType"] not in _TYPES:
            raise ValueError(f"accessor {index} is {kind!a:.20}, expected {' or '.join(kinds)}")
        dtype, columns = np.dtype(_TYPES[entry["componentType"]]), _COLUMNS[kind]
        if "bufferView" in entry:
            offset = _count(entry, "byteOffset", 0)
            values = self._array(entry["bufferView"], offset, dtype, (count, columns))
        elif count > _MOST_ZEROS:
            raise ValueError(f"accessor {index} is of {count} zeros")
        else:
            values = np.zeros((count, columns), dtype)
        if "sparse" in entry:
            values = self._sparse(values, entry["sparse"])
        if rows is not None:
            if len(rows) and rows.max() >= count:
                raise ValueError(f"accessor {index} has {count} elements, not {rows.max() + 1}")
            values = values[rows]
        if kinds == ("SCALAR",):
            if dtype.kind != "u":
                raise ValueError(f"accessor {index} holds no indices")
            return values.astype(np.int64)
        values = values.astype(np.float64)
        if (unit or entry.get("normalized", False)) and dtype.kind != "f":
            values = np.maximum(values / np.iinfo(dtype).max, -1)
        return values

    def picture(self, image: dict[str, Any]) -> Path | bytes | None:
        """Where a picture is: a file, or its bytes; None if the file is missing."""
        if "bufferView" in image:
            return bytes(self.view(image["bufferView"])[0])
        return self._resource(image["uri"])

    def _array(
        self, view: object, offset: int, dtype: np.dtype, shape: tuple[int, int]
    ) -> np.ndarray:
        data, stride = self.view(view)
        size = dtype.itemsize * shape[1]
        step = stride or size
        if step < size or (shape[0] and offset + step * (shape[0] - 1) + size > len(data)):
            raise ValueError(f"it is cut off: buffer view {view} is shorter than its accessor")
        return np.ndarray(shape, dtype, data, offset, (step, dtype.itemsize))

    def _sparse(self, values: np.ndarray, sparse: dict[str, Any]) -> np.ndarray:
        count, places, changes = _count(sparse, "count"), sparse["indices"], sparse["values"]
        kind = np.dtype(_TYPES[places["componentType"]])
        at = self._array(places["bufferView"], _count(places, "byteOffset", 0), kind, (count, 1))
        shape = (count, values.shape[1])
        offset = _count(changes, "byteOffset", 0)
        new = self._array(changes["bufferView"], offset, values.dtype, shape)
        if kind.kind != "u" or (count and at.max() >= len(values)):
            raise ValueError("the indices of a sparse accessor are out of range")
        values = values.copy()
        values[at[:, 0]] = new
        return values

    def _buffer(self, index: object) -> memoryview:
        entry = self.item("buffers", index)
        assert isinstance(index, int)
        if index not in self._buffers:
            if "uri" in entry:
                found = self._resource(entry["uri"])
                if found is None:
                    raise ValueError(
                        f"its file {quoted(str(entry['uri']))} is not in {self.path.parent}"
                    )
                found = found.read_bytes() if isinstance(found, Path) else found
            elif index == 0 and self._binary is not None:
                found = self._binary
            else:
                raise ValueError(f"buffer {index} is nowhere")
            length = _count(entry, "byteLength")
            if len(found) < length:
                raise ValueError(
                    f"it is cut off: buffer {index} has {len(found)} of {length} bytes"
                )
            self._buffers[index] = memoryview(found)
        return self._buffers[index]

    def _resource(self, uri: object) -> Path | bytes | None:
        if not isinstance(uri, str):
            raise ValueError("a uri in it is no text")
        if not uri.startswith("data:"):
            return file_beside(self.path.parent, unquote(uri))
        kind, _, data = uri.partition(",")
        if not kind.endswith(";base64"):
            return unquote_to_bytes(data)
        try:
            return base64.b64decode(data)
        except binascii.Error as error:
            raise ValueError(f"a data uri in it is no base64 ({error})") from error


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the binary part."""
    if data[:4] != b"glTF":
        return data, None
    if len(data) < 20:
        raise ValueError("it is cut off")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise ValueError(f"it is of glTF version {version}, but this reads 2.0")
    if length > len(data):
        raise ValueError(f"it is cut off: {len(data)} of {length} bytes are there")
    found, at = {}, 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + size > length:
            raise ValueError("it is cut off")
        found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    if b"JSON" not in found:
        raise ValueError("it has no JSON")
    return found[b"JSON"], found.get(b"BIN\0")


def _count(entry: dict[str, Any], name: str, default: int | None = None) -> int:
    value = entry.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise ValueError(f"{name} should be a whole number but is {value!a:.30}")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")
