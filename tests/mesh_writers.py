"""A box in every kind of mesh file and every kind of colour, from numbers that tests know."""

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from invgraph.geometry.color import linear_from_srgb, srgb_from_linear
from invgraph.geometry.mesh import Mesh

QUADS = np.array(
    [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]]
)
SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def encoded(linear: np.ndarray) -> np.ndarray:
    """sRGB of linear RGB."""
    return srgb_from_linear(torch.from_numpy(np.asarray(linear, float))).numpy()


def decoded(srgb: np.ndarray) -> np.ndarray:
    """Linear RGB of sRGB."""
    return linear_from_srgb(torch.from_numpy(np.asarray(srgb, float))).numpy()


@dataclass
class Box:
    """Six quads, outwards; every other one is written as two triangles.

    Attributes:
        vertices: eight.
        of_face: linear RGB of each quad.
        of_vertex: linear RGB of each vertex, affine in the position.
        uv: of each corner of each quad, v = 0 at the bottom.
        picture: levels of a texture that is red to the right and green to the top.
        polygons: corners (quad, which of its four) of each polygon.
    """

    vertices: np.ndarray
    of_face: np.ndarray
    of_vertex: np.ndarray
    uv: np.ndarray
    picture: np.ndarray
    polygons: list[list[tuple[int, int]]]

    @staticmethod
    def random(seed: int) -> "Box":
        """One of some size, at some place."""
        rng = np.random.default_rng(seed)
        unit = np.array([[k & 1, k >> 1 & 1, k >> 2] for k in range(8)], float)
        slope = rng.uniform(0, 0.3, (3, 3))
        uv = np.stack([SQUARE * [0.12, 0.8] + [k / 6 + 0.02, 0.1] for k in range(6)])
        u, v = np.meshgrid((np.arange(128) + 0.5) / 128, 1 - (np.arange(64) + 0.5) / 64)
        picture = np.stack([40 + 200 * u, 30 + 220 * v, np.full_like(u, 90)], -1)
        polygons = []
        for quad in range(6):
            if quad % 2:
                polygons += [[(quad, 0), (quad, 1), (quad, 2)], [(quad, 0), (quad, 2), (quad, 3)]]
            else:
                polygons.append([(quad, k) for k in range(4)])
        return Box(
            unit * rng.uniform(0.5, 2, 3) + rng.uniform(-1, 1, 3),
            rng.uniform(0.05, 0.95, (6, 3)).round(2),
            unit @ slope + 0.05,
            uv,
            picture.round().astype(np.uint8),
            polygons,
        )

    @property
    def area(self) -> float:
        """Of the six sides."""
        x, y, z = np.ptp(self.vertices, axis=0)
        return 2 * (x * y + y * z + z * x)

    def points(self, style: str) -> tuple[np.ndarray, np.ndarray]:
        """Ten points on the surface, and the linear RGB there."""
        rng = np.random.default_rng(7)
        quad, at = rng.integers(0, 6, 10), rng.uniform(0.15, 0.85, (10, 2))
        s, t = at[:, :1], at[:, 1:]
        weights = np.concatenate([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], 1)
        places = (weights[..., None] * self.vertices[QUADS[quad]]).sum(1)
        u, v = (weights[..., None] * self.uv[quad]).sum(1).T
        texture = decoded(np.stack([40 + 200 * u, 30 + 220 * v, np.full(10, 90)], -1) / 255)
        color = {
            "faces": self.of_face[quad],
            "vertices": (weights[..., None] * self.of_vertex[QUADS[quad]]).sum(1),
            "factor": np.tile(self.of_face[0], (10, 1)),
            "texture": texture,
        }
        found = np.ones((10, 3))
        for part in style.split("*"):
            found = found * color[part]
        return places, found


def colors_at(mesh: Mesh, colors: torch.Tensor, points: np.ndarray) -> np.ndarray:
    """Colours of points on a mesh, between those of the vertices."""
    found = []
    corners = mesh.vertices[mesh.faces.long()].double().numpy()
    edges = corners[:, 1:] - corners[:, :1]
    normal = np.cross(edges[:, 0], edges[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    basis = np.linalg.inv(np.concatenate([edges, normal[:, None]], 1).swapaxes(1, 2))
    for point in points:
        b, c, off = np.einsum("fij,fj->if", basis, point - corners[:, 0])
        outside = np.maximum.reduce([-b, -c, b + c - 1, np.abs(off)])
        best = int(outside.argmin())
        assert outside[best] < 1e-3
        weights = torch.tensor([1 - b[best] - c[best], b[best], c[best]]).float()
        found.append((weights[:, None] * colors[mesh.faces[best].long()]).sum(0).numpy())
    return np.array(found)


def write_obj(box: Box, style: str, path: Path) -> None:
    """Kd per material, colours behind the positions, or a texture, with Kd or not."""
    lines, library = ["mtllib box.mtl"], []
    colors = encoded(box.of_vertex) if style == "vertices" else np.zeros((8, 0))
    lines += [
        "v " + " ".join(f"{x:.9g}" for x in [*p, *c])
        for p, c in zip(box.vertices, colors, strict=True)
    ]
    lines += [f"vt {u:.9g} {v:.9g}" for u, v in box.uv.reshape(-1, 2)]
    for quad, color in enumerate(box.of_face):
        library.append(f"newmtl m{quad}")
        if style == "faces" or "factor" in style:
            rgb = encoded(color if style == "faces" else box.of_face[0])
            library.append("Kd " + " ".join(f"{x:.9g}" for x in rgb))
        if "texture" in style:
            library.append("map_Kd box.png")
    for polygon in box.polygons:
        if style != "vertices":
            lines.append(f"usemtl m{polygon[0][0]}")
        # Negative indices count from the end, which for vertices is here that of all.
        lines.append("f " + " ".join(f"{QUADS[q, k] - 8}/{4 * q + k + 1}" for q, k in polygon))
    path.write_text("\n".join(lines) + "\n")
    (path.parent / "box.mtl").write_text("\n".join(library) + "\n")
    Image.fromarray(box.picture).save(path.parent / "box.png")


def write_ply(box: Box, style: str, path: Path, order: str) -> None:
    """Colours of faces (bytes) or vertices (float), or a texture; polygons of mixed sizes."""
    header = ["ply", f"format {order} 1.0", "comment made by a test"]
    vertex = ["property double x", "property double y", "property double z"]
    face = ["property list uchar int vertex_indices"]
    if style == "texture":
        header.append("comment TextureFile box.png")
        face.append("property list uchar float texcoord")
        Image.fromarray(box.picture).save(path.parent / "box.png")
    if style == "vertices":
        vertex += [f"property float {name}" for name in ("red", "green", "blue")]
    if style == "faces":
        face += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += ["element vertex 8", *vertex, f"element face {len(box.polygons)}", *face]
    rows: list[list[tuple[str, Any]]] = []
    for place, color in zip(box.vertices, encoded(box.of_vertex), strict=True):
        rows.append([("d", x) for x in place])
        rows[-1] += [("f", x) for x in color] if style == "vertices" else []
    for polygon in box.polygons:
        row: list[tuple[str, Any]] = [("B", len(polygon))]
        row += [("i", int(QUADS[q, k])) for q, k in polygon]
        if style == "texture":
            row += [("B", 2 * len(polygon))]
            row += [("f", x) for q, k in polygon for x in box.uv[q, k]]
        if style == "faces":
            row += [("B", round(255 * x)) for x in encoded(box.of_face[polygon[0][0]])]
        rows.append(row)
    body = b""
    for row in rows:
        if order == "ascii":
            body += " ".join(repr(float(x)) if kind in "df" else str(x) for kind, x in row).encode()
            body += b"\n"
        else:
            sign = "<" if "little" in order else ">"
            body += b"".join(struct.pack(sign + kind, x) for kind, x in row)
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + body)


class Gltf:
    """The JSON and the numbers of a glTF file under way."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {"asset": {"version": "2.0"}}
        self.binary = b""

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        """Its index in a list at the top."""
        self.root.setdefault(kind, []).append(entry)
        return len(self.root[kind]) - 1

    def view(self, data: bytes) -> int:
        """A buffer view."""
        self.binary += bytes(-len(self.binary) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.binary += data
        return self.add("bufferViews", entry)

    def accessor(self, values: np.ndarray, **extra: Any) -> int:
        """An accessor of its own view."""
        component = {"f4": 5126, "u4": 5125, "u2": 5123, "u1": 5121, "i2": 5122}[
            values.dtype.str[1:]
        ]
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[
            1 if values.ndim == 1 else values.shape[1]
        ]
        view = self.view(values.tobytes())
        entry = {"bufferView": view, "componentType": component, "count": len(values)}
        return self.add("accessors", {**entry, "type": kind, **extra})

    def texture(self, picture: np.ndarray, folder: Path) -> int:
        """A texture whose picture is in the file."""
        Image.fromarray(picture).save(folder / "inside.png")
        data = (folder / "inside.png").read_bytes()
        (folder / "inside.png").unlink()
        image = self.add("images", {"mimeType": "image/png", "bufferView": self.view(data)})
        return self.add("textures", {"source": image})

    def write(self, path: Path) -> None:
        """As .glb, or as .gltf with its numbers in a uri."""
        buffer: dict[str, Any] = {"byteLength": len(self.binary)}
        root = {**self.root, "buffers": [buffer]}
        if path.suffix == ".gltf":
            data = base64.b64encode(self.binary).decode()
            buffer["uri"] = "data:application/octet-stream;base64," + data
            path.write_text(json.dumps(root))
            return
        text = json.dumps(root).encode()
        text += b" " * (-len(text) % 4)
        binary = self.binary + bytes(-len(self.binary) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def box_gltf(box: Box, style: str, folder: Path) -> Gltf:
    """A primitive for each quad; the box lies under a node that moves it back to its place."""
    file = Gltf()
    moved = np.array([1.0, -2.0, 0.5])
    primitives = []
    texture = file.texture(box.picture, folder) if "texture" in style else None
    for quad in range(6):
        uv = box.uv[quad] * [1, -1] + [0, 1]
        attributes = {
            "POSITION": file.accessor((box.vertices[QUADS[quad]] - moved).astype("<f4")),
            "TEXCOORD_0": file.accessor(np.zeros((4, 2), "<f4")),
            "TEXCOORD_1": file.accessor(uv.astype("<f4")),
        }
        if "vertices" in style:
            attributes["COLOR_0"] = file.accessor(box.of_vertex[QUADS[quad]].astype("<f4"))
        pbr: dict[str, Any] = {}
        if style == "faces" or "factor" in style:
            color = box.of_face[quad if style == "faces" else 0]
            pbr["baseColorFactor"] = [*color.tolist(), 1.0]
        if texture is not None:
            pbr["baseColorTexture"] = {"index": texture, "texCoord": 1}
        primitive: dict[str, Any] = {"attributes": attributes}
        primitive["indices"] = file.accessor(np.array([0, 1, 2, 0, 2, 3], "<u2"))
        primitive["material"] = file.add("materials", {"pbrMetallicRoughness": pbr})
        primitives.append(primitive)
    mesh = file.add("meshes", {"primitives": primitives})
    node = file.add("nodes", {"mesh": mesh, "translation": (2 * moved).tolist()})
    above = file.add("nodes", {"children": [node], "translation": (-moved).tolist()})
    file.root["scenes"], file.root["scene"] = [{}, {"nodes": [above]}], 1
    return file
