"""A scene's objects as binary glTF 2.0, for Blender and model viewers.

Source:
    Khronos glTF 2.0 specification, sections 3.6 (geometry), 3.9 (materials) and 4.4 (GLB).
"""

import json
import struct
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from invgraph.files.pictures import encode_png
from invgraph.geometry.color import bytes_from_unit, srgb_bytes_from_linear
from invgraph.geometry.mesh import Mesh, vertex_normals
from invgraph.scene import Material, Object, Scene
from invgraph.scene.batching import refuse_batches
from invgraph.scene.material import ParameterKind
from invgraph.scene.mesh_files import split_seams

_FLOAT, _UINT32 = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_UNLIT = "KHR_materials_unlit"


def glb_from_scene(scene: Scene) -> bytes:
    """The file's bytes: one node with pose, mesh and material per object that is a mesh.

    Colour beyond [0, 1] is clamped, textures have 8 bits, and roughness and metallic per vertex or
    per face, which glTF lacks, become their mean. Colours per face give every face vertices of its
    own. Lights are not written, and of Gaussians, which glTF lacks, only
    the node with its pose.

    Raises:
        ValueError: an object has batch axes.
    """
    return _Writer(scene).finish()


class _Writer:
    """Collects the JSON and the binary part of one file."""

    def __init__(self, scene: Scene) -> None:
        self.binary = bytearray()
        self.lists: dict[str, list[dict]] = {}
        self.nodes: list[int] = []
        self.extensions: set[str] = set()
        for index, item in enumerate(scene.objects):
            self.nodes.append(self._object(item, f"object_{index}"))

    def finish(self) -> bytes:
        """The file: header, JSON padded with spaces, binary padded with zeros."""
        root: dict = {"asset": {"version": "2.0", "generator": "invgraph"}, "scene": 0}
        root["scenes"] = [{"nodes": self.nodes} if self.nodes else {}]
        root.update(self.lists)
        if self.extensions:
            root["extensionsUsed"] = sorted(self.extensions)
        chunks = b""
        if self.binary:
            root["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(root, allow_nan=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks += struct.pack("<I4s", len(text), b"JSON") + text
        if self.binary:
            data = bytes(self.binary) + b"\0" * (-len(self.binary) % 4)
            chunks += struct.pack("<I4s", len(data), b"BIN\0") + data
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _append(self, kind: str, entry: dict) -> int:
        self.lists.setdefault(kind, []).append(entry)
        return len(self.lists[kind]) - 1

    def _view(self, data: bytes, **extra: int) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        start = len(self.binary)
        self.binary += data
        entry = {"buffer": 0, "byteOffset": start, "byteLength": len(data), **extra}
        return self._append("bufferViews", entry)

    def _accessor(self, array: np.ndarray, target: int, bounds: bool = False) -> int:
        shape = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}[1 if array.ndim == 1 else array.shape[1]]
        entry = {
            "bufferView": self._view(np.ascontiguousarray(array).tobytes(), target=target),
            "componentType": _FLOAT if array.dtype == np.dtype("<f4") else _UINT32,
            "count": len(array),
            "type": shape,
        }
        if bounds:
            entry["min"], entry["max"] = array.min(0).tolist(), array.max(0).tolist()
        return self._append("accessors", entry)

    def _object(self, item: Object, name: str) -> int:
        refuse_batches(item, name)
        shape = item.geometry
        node: dict = {"name": name}
        if isinstance(shape, Mesh) and len(shape.faces):
            node["mesh"] = self._mesh(shape, _tinted(item), name)
        pose = item.world_from_object.detach().double().cpu()
        if not torch.equal(pose, torch.eye(4, dtype=torch.float64)):
            node["matrix"] = pose.T.reshape(-1).tolist()
        return self._append("nodes", node)

    def _mesh(self, mesh: Mesh, material: Material, name: str) -> int:
        split, old = split_seams(mesh)
        colors = material.albedo[old] if material.albedo_kind == "vertex" else None
        if material.albedo_kind == "face":
            split, old = _loose(split, old)
            colors = material.albedo.repeat_interleave(3, 0)
        positions = _floats(split.vertices)
        # Normals of the unsplit mesh stay smooth across texture seams.
        normals = _floats(vertex_normals(mesh)[old])
        normals[np.abs(normals).sum(1) == 0] = (0, 0, 1)
        attributes = {
            "POSITION": self._accessor(positions, _VERTICES, bounds=True),
            "NORMAL": self._accessor(normals, _VERTICES),
        }
        if split.uv is not None:
            attributes["TEXCOORD_0"] = self._accessor(_floats(split.uv), _VERTICES)
        if colors is not None:
            attributes["COLOR_0"] = self._accessor(_floats(colors.clamp(0, 1)), _VERTICES)
        indices = split.faces.cpu().numpy().astype("<u4").reshape(-1)
        primitive = {
            "attributes": attributes,
            "indices": self._accessor(indices, _INDICES),
            "material": self._material(material, name),
        }
        return self._append("meshes", {"name": name, "primitives": [primitive]})

    def _material(self, material: Material, name: str) -> int:
        pbr: dict = {"metallicFactor": 1.0, "roughnessFactor": 1.0}
        if material.albedo_kind == "constant":
            color = material.albedo.detach().double().clamp(0, 1).tolist()
            pbr["baseColorFactor"] = [*color, 1.0]
        elif material.albedo_kind == "texture":
            levels = srgb_bytes_from_linear(material.albedo)
            pbr["baseColorTexture"] = {"index": self._texture(levels, f"{name}_albedo")}
        textured = [
            getattr(material, part)
            for part in ("roughness", "metallic")
            if material.kind(part) == "texture"
        ]
        if textured:
            size = tuple(max(tensor.shape[axis] for tensor in textured) for axis in (0, 1))
            green = _resized(material.roughness, material.roughness_kind, size)
            blue = _resized(material.metallic, material.metallic_kind, size)
            packed = bytes_from_unit(torch.cat((torch.ones_like(green), green, blue), -1))
            index = self._texture(packed, f"{name}_metallic_roughness")
            pbr["metallicRoughnessTexture"] = {"index": index}
        else:
            pbr["roughnessFactor"] = _mean(material.roughness)
            pbr["metallicFactor"] = _mean(material.metallic)
        entry: dict = {"name": name, "doubleSided": True, "pbrMetallicRoughness": pbr}
        if material.unlit:
            self.extensions.add(_UNLIT)
            entry["extensions"] = {_UNLIT: {}}
        return self._append("materials", entry)

    def _texture(self, levels: UInt8[Tensor, "h w 3"], name: str) -> int:
        view = self._view(encode_png(levels.cpu().numpy()))
        image = {"name": name, "mimeType": "image/png", "bufferView": view}
        if "samplers" not in self.lists:
            # Linear and mip-mapped, repeating.
            sampler = {"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}
            self._append("samplers", sampler)
        source = self._append("images", image)
        return self._append("textures", {"sampler": 0, "source": source})


def _tinted(item: Object) -> Material:
    """The material with the tint in its albedo."""
    material = item.material
    return material if item.tint is None else replace(material, albedo=material.albedo * item.tint)


def _loose(mesh: Mesh, old: Tensor) -> tuple[Mesh, Tensor]:
    """Three vertices for every face, and the index of the old one of each."""
    corners = mesh.faces.long().flatten()
    uv = None if mesh.uv is None else mesh.uv[corners]
    faces = torch.arange(len(corners), device=corners.device).reshape(-1, 3)
    return Mesh(mesh.vertices[corners], faces, uv), old[corners]


def _floats(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype("<f4")


def _mean(tensor: Tensor) -> float:
    return float(tensor.detach().double().clamp(0, 1).mean())


def _resized(tensor: Tensor, kind: ParameterKind, size: tuple[int, ...]) -> Tensor:
    """A one-channel texture of another size; constants and per-vertex means fill it."""
    tensor = tensor.detach().float().cpu()
    if kind != "texture":
        return torch.full((*size, 1), _mean(tensor))
    image = tensor.clamp(0, 1).permute(2, 0, 1)[None]
    if tuple(image.shape[-2:]) != size:
        image = torch.nn.functional.interpolate(image, list(size), mode="bilinear")
    return image[0].permute(1, 2, 0)
