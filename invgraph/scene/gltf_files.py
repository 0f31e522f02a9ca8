"""Meshes of glTF 2.0 files, .glb and .gltf.

trimesh, which reads simpler files for us, drops vertex colours where there is a material, and
knows neither a second set of texture coordinates nor their transforms.

Source:
    Khronos glTF 2.0 specification, sections 3.5 (nodes), 3.7 (meshes) and 3.9 (materials).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invgraph.scene.gltf_data import GltfData
from invgraph.scene.mesh_parts import MeshPart
from invgraph.scene.textures import Texture, Wrap, quoted

# Extensions that say nothing of shape and colour, or that are read.
_KNOWN = {
    *("KHR_lights_punctual", "KHR_materials_unlit", "KHR_mesh_quantization", "KHR_xmp_json_ld"),
    *("KHR_texture_transform", "KHR_materials_variants", "EXT_texture_webp"),
    *(
        f"KHR_materials_{name}"
        for name in (
            *("anisotropy", "clearcoat", "dispersion", "emissive_strength", "ior", "iridescence"),
            *("pbrSpecularGlossiness", "sheen", "specular", "transmission", "volume"),
        )
    ),
}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_WRAPS: dict[int, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
_MANY_TRIANGLES = 1_000_000  # or as many as the file has bytes: nodes may repeat a mesh for ever


def read_gltf(path: Path, notes: list[str]) -> list[MeshPart]:
    """The triangles of a file's scene, a part for each primitive of each node.

    The colour is base colour factor times texture times ``COLOR_0``, of what is stated: glTF's
    white of materials that state none is no colour.

    Args:
        path: of the file.
        notes: gets a line for each texture that is missing.

    Raises:
        ValueError: not valid, or it requires an extension that is not read.
    """
    data = GltfData(path)
    lacking = [name for name in data.root.get("extensionsRequired", []) if name not in _KNOWN]
    if lacking:
        raise ValueError(f"it requires the extension {quoted(str(lacking[0]))}, which is not read")
    reader = _Reader(data, notes)
    return [
        part
        for node, matrix in _placed(data)
        for primitive in reader.primitives(node)
        if (part := reader.part(primitive, matrix)) is not None
    ]


def _placed(data: GltfData) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The nodes of the scene with a mesh, and their poses in it."""
    root = data.root
    if "scenes" in root:
        roots = data.item("scenes", root.get("scene", 0)).get("nodes", [])
    else:
        below = {child for node in root.get("nodes", []) for child in node.get("children", [])}
        roots = [index for index in range(len(root.get("nodes", []))) if index not in below]
    waiting = [(index, np.eye(4)) for index in reversed(roots)]
    seen: set[int] = set()
    while waiting:
        index, above = waiting.pop()
        node = data.item("nodes", index)
        if index in seen:
            raise ValueError(f"node {index} is below two nodes, or below itself")
        seen.add(index)
        matrix = above @ _pose(node)
        if "mesh" in node:
            if "skin" in node:
                raise ValueError("it has a skeleton: export it in one pose, without")
            yield node, matrix
        waiting += [(child, matrix) for child in reversed(node.get("children", []))]


def _pose(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return _numbers(node["matrix"], 16).reshape(4, 4).T
    pose = np.eye(4)
    x, y, z, w = _numbers(node.get("rotation", [0, 0, 0, 1]), 4)
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not norm > 0:
        raise ValueError("a rotation is no quaternion")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, :3] *= _numbers(node.get("scale", [1, 1, 1]), 3)
    pose[:3, 3] = _numbers(node.get("translation", [0, 0, 0]), 3)
    return pose


@dataclass(frozen=True)
class _Look:
    """Colour of a material, and which texture coordinates it is for."""

    factor: np.ndarray | None = None
    texture: Texture | None = None
    uv_set: int = 0
    transform: np.ndarray | None = None  # 2x3
    known: bool = True


class _Reader:
    """Meshes and materials of one file."""

    def __init__(self, data: GltfData, notes: list[str]) -> None:
        self.data, self.notes = data, notes
        self.looks: dict[int, _Look] = {}
        self.textures: dict[int, Texture | None] = {}
        self.triangles = 0

    def primitives(self, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Those of a node's mesh, each with the weights of its morph targets."""
        mesh = self.data.item("meshes", node["mesh"])
        weights = node.get("weights", mesh.get("weights", []))
        for primitive in mesh["primitives"]:
            yield {**primitive, "weights": weights}

    def part(self, primitive: dict[str, Any], matrix: np.ndarray) -> MeshPart | None:
        """The triangles of a primitive at a pose; None for points and lines."""
        data, attributes = self.data, primitive["attributes"]
        triangles = self._triangles(primitive)
        if triangles is None or not len(triangles):
            return None
        self.triangles += len(triangles)
        if self.triangles > max(_MANY_TRIANGLES, data.size):
            raise ValueError(f"it repeats meshes to over {self.triangles} triangles: simplify it")
        used, faces = np.unique(triangles, return_inverse=True)
        faces = faces.reshape(-1, 3)
        vertices = data.accessor(attributes["POSITION"], ("VEC3",), used)
        for weight, target in zip(primitive["weights"], primitive.get("targets", []), strict=False):
            if weight and "POSITION" in target:
                moved = data.accessor(target["POSITION"], ("VEC3",), used)
                vertices = vertices + float(weight) * moved
        vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        if np.linalg.det(matrix[:3, :3]) < 0:
            faces = faces[:, ::-1]  # mirrored: what was outside stays outside
        look = self._look(primitive["material"]) if "material" in primitive else _Look()
        uv = self._uv(attributes, look, used)
        texture, colors = look.texture, None
        if texture is not None and uv is None:
            texture, look = None, _Look(known=False)
            self.notes.append(
                f"{data.path.name}: {len(faces)} triangles have no texture coordinates for their "
                "texture, and so no colour."
            )
        if look.known and "COLOR_0" in attributes:
            colors = data.accessor(attributes["COLOR_0"], ("VEC3", "VEC4"), used, unit=True)
            colors = colors[:, :3].clip(0, 1)
        return MeshPart(vertices, faces, uv, texture, look.factor, colors)

    def _triangles(self, primitive: dict[str, Any]) -> np.ndarray | None:
        mode = primitive.get("mode", _TRIANGLES)
        if mode not in (_TRIANGLES, _STRIP, _FAN):
            return None
        if "indices" in primitive:
            corners = self.data.accessor(primitive["indices"], ("SCALAR",))[:, 0]
        else:
            positions = self.data.accessor(primitive["attributes"]["POSITION"], ("VEC3",))
            corners = np.arange(len(positions))
        if mode == _TRIANGLES:
            return corners[: len(corners) // 3 * 3].reshape(-1, 3)
        at = np.arange(max(len(corners) - 2, 0))
        if mode == _STRIP:
            places = np.stack([at, at + 1 + at % 2, at + 2 - at % 2], -1)
        else:
            places = np.stack([at + 1, at + 2, np.zeros_like(at)], -1)
        found = corners[places]
        return found[(found != np.roll(found, 1, 1)).all(1)]  # strips are joined by flat ones

    def _uv(self, attributes: dict[str, Any], look: _Look, used: np.ndarray) -> np.ndarray | None:
        name = f"TEXCOORD_{look.uv_set}"
        if name not in attributes:
            return None
        uv = self.data.accessor(attributes[name], ("VEC2",), used)
        if look.transform is not None:
            uv = uv @ look.transform[:, :2].T + look.transform[:, 2]
        return uv

    def _look(self, index: Any) -> _Look:
        material = self.data.item("materials", index)
        if index not in self.looks:
            self.looks[index] = self._look_of(material)
        return self.looks[index]

    def _look_of(self, material: dict[str, Any]) -> _Look:
        pbr = material.get("pbrMetallicRoughness", {})
        names = "baseColorFactor", "baseColorTexture"
        glossy = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
        if glossy is not None:
            pbr, names = glossy, ("diffuseFactor", "diffuseTexture")
        if not isinstance(pbr, dict):
            raise ValueError(f"a material is {pbr!a:.60}, expected an object")
        factor = None if names[0] not in pbr else _numbers(pbr[names[0]], 4)[:3].clip(0, 1)
        if names[1] not in pbr:
            return _Look(factor)
        info = pbr[names[1]]
        texture = self._texture(info["index"])
        if texture is None:
            return _Look(known=False)
        moved = info.get("extensions", {}).get("KHR_texture_transform", {})
        uv_set = moved.get("texCoord", info.get("texCoord", 0))
        return _Look(factor, texture, uv_set, _transform(moved) if moved else None)

    def _texture(self, index: Any) -> Texture | None:
        entry = self.data.item("textures", index)
        if index in self.textures:
            return self.textures[index]
        webp = entry.get("extensions", {}).get("EXT_texture_webp", {})
        source = webp.get("source", entry.get("source"))
        found, name = None, f"number {index}, of a kind that is not read,"
        if source is not None:
            image = self.data.item("images", source)
            sampler = self.data.item("samplers", entry["sampler"]) if "sampler" in entry else {}
            wrap = _WRAPS[sampler.get("wrapS", 10497)], _WRAPS[sampler.get("wrapT", 10497)]
            uri = str(image.get("uri", "data:"))
            name = f"number {index}" if uri.startswith("data:") else quoted(uri)
            picture = self.data.picture(image)
            found = None if picture is None else Texture(picture, name, wrap)
        if found is None:
            self.notes.append(
                f"{self.data.path.name}: its texture {name} is not in {self.data.path.parent}, so "
                "there is no colour where it belongs: put it there."
            )
        self.textures[index] = found
        return found


def _transform(moved: dict[str, Any]) -> np.ndarray:
    """Texture coordinates are scaled, turned counter-clockwise as seen on the picture, moved."""
    u, v = _numbers(moved.get("offset", [0, 0]), 2)
    scale = _numbers(moved.get("scale", [1, 1]), 2)
    [angle] = _numbers([moved.get("rotation", 0)], 1)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos * scale[0], sin * scale[1], u], [-sin * scale[0], cos * scale[1], v]])


def _numbers(values: Any, count: int) -> np.ndarray:
    found = np.array(values)
    if found.shape != (count,) or found.dtype.kind not in "if" or not np.isfinite(found).all():
        raise ValueError(f"expected {count} numbers but got {values!a:.60}")
    return found.astype(np.float64)
