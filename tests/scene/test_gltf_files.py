"""glTF files by the rules of the format, and damaged ones."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesh_writers import Gltf, decoded
from PIL import Image

from invgraph.geometry.mesh import Mesh, face_areas, face_normals
from invgraph.scene.mesh_files import load_colored_mesh, load_mesh

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4")
# u right, v down: the lower left corner of the picture is at (0, 1).
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "<f4")


def square(**primitive: Any) -> Gltf:
    """One square, seen from +z."""
    file = Gltf()
    attributes = {"POSITION": file.accessor(SQUARE), "TEXCOORD_0": file.accessor(UV)}
    primitive.setdefault("indices", file.accessor(np.array([0, 1, 2, 0, 2, 3], "<u2")))
    file.add("meshes", {"primitives": [{"attributes": attributes, **primitive}]})
    file.add("nodes", {"mesh": 0})
    file.add("scenes", {"nodes": [0]})
    return file


def attributes(file: Gltf) -> dict[str, int]:
    return file.root["meshes"][0]["primitives"][0]["attributes"]


def paint(file: Gltf, **pbr: Any) -> dict[str, Any]:
    """Give the square a material."""
    file.root["meshes"][0]["primitives"][0]["material"] = file.add(
        "materials", {"pbrMetallicRoughness": pbr}
    )
    return file.root["materials"][-1]


def load(file: Gltf, folder: Path) -> Mesh:
    file.write(folder / "mesh.glb")
    return load_mesh(folder / "mesh.glb")


def colors(file: Gltf, folder: Path) -> tuple[Mesh, torch.Tensor | None, list[str]]:
    file.write(folder / "mesh.glb")
    notes: list[str] = []
    return *load_colored_mesh(folder / "mesh.glb", 0.1, 4000, notes), notes


def quadrants() -> np.ndarray:
    """Red, green above blue, white."""
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8, :8], picture[:8, 8:] = (255, 0, 0), (0, 255, 0)
    picture[8:, :8], picture[8:, 8:] = (0, 0, 255), (255, 255, 255)
    return picture


@pytest.mark.parametrize(
    ("mode", "corners", "area"),
    [
        (4, [0, 1, 2, 0, 2, 3], 1.0),
        (5, [0, 1, 3, 2], 1.0),
        (5, [0, 1, 3, 2, 2], 1.0),
        (6, [0, 1, 2, 3], 1.0),
        (6, [2, 3, 0, 1], 1.0),
    ],
)
def test_strips_and_fans(mode: int, corners: list[int], area: float, tmp_path: Path):
    file = square(mode=mode)
    file.root["meshes"][0]["primitives"][0]["indices"] = file.accessor(np.array(corners, "<u1"))
    mesh = load(file, tmp_path)
    assert float(face_areas(mesh).sum()) == pytest.approx(area)
    assert torch.allclose(face_normals(mesh), torch.tensor([0.0, 0, 1]))


def test_lines_and_points_are_passed_over(tmp_path: Path):
    with pytest.raises(ValueError, match=r"mesh\.glb holds no triangles"):
        load(square(mode=1), tmp_path)


def test_without_indices(tmp_path: Path):
    file = square()
    del file.root["meshes"][0]["primitives"][0]["indices"]
    attributes(file)["POSITION"] = file.accessor(SQUARE[[0, 1, 2, 0, 2, 3]])
    del attributes(file)["TEXCOORD_0"]
    assert float(face_areas(load(file, tmp_path)).sum()) == pytest.approx(1)


def test_poses_of_nodes(tmp_path: Path):
    file = square()
    half = math.sqrt(0.5)
    # A quarter turn about x takes y to z; then twice as wide, then moved.
    file.root["nodes"] = [
        {"mesh": 0, "rotation": [half, 0, 0, half], "translation": [0, 0, 5]},
        {"children": [0], "scale": [2, 1, 1]},
        {"children": [1], "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 10, 0, 0, 1]},
        {"mesh": 0},
    ]
    file.root["scenes"] = [{"nodes": [2]}]
    mesh = load(file, tmp_path)
    wanted = [[10, 0, 5], [12, 0, 5], [12, 0, 6], [10, 0, 6]]
    assert torch.allclose(mesh.vertices, torch.tensor(wanted).float(), atol=1e-6)


def test_a_mirrored_node_keeps_its_outside(tmp_path: Path):
    file = square()
    file.root["nodes"][0]["scale"] = [-1, 1, 1]
    mesh = load(file, tmp_path)
    assert mesh.vertices[:, 0].min() == -1
    assert torch.allclose(face_normals(mesh), torch.tensor([0.0, 0, 1]))


def test_no_scene_means_all_nodes(tmp_path: Path):
    file = square()
    del file.root["scenes"]
    file.root["nodes"] = [{"children": [1]}, {"mesh": 0, "translation": [3, 0, 0]}, {"mesh": 0}]
    assert len(load(file, tmp_path).faces) == 4


def test_far_from_the_origin(tmp_path: Path):
    file = square()
    file.root["nodes"][0]["translation"] = [500000.123, 5400000.456, 0]
    mesh = load(file, tmp_path)
    assert mesh.vertices.dtype == torch.float64
    assert float(face_areas(mesh).sum()) == pytest.approx(1, abs=1e-6)
    assert mesh.vertices[0].tolist() == pytest.approx([500000.123, 5400000.456, 0], abs=1e-6)


@pytest.mark.parametrize("kind", ["<u1", "<u2", "<f4"])
@pytest.mark.parametrize("columns", [3, 4])
@pytest.mark.parametrize("stated", [True, False])
def test_vertex_colours_are_linear(kind: str, columns: int, stated: bool, tmp_path: Path):
    file = square()
    scale = {"<u1": 255, "<u2": 65535, "<f4": 1}[kind]
    levels = np.tile(np.array([0.2, 0.4, 0.6, 0.5])[:columns] * scale, (4, 1)).astype(kind)
    attributes(file)["COLOR_0"] = file.accessor(levels, normalized=stated and kind != "<f4")
    wanted = torch.tensor([0.2, 0.4, 0.6])
    _, found, _ = colors(file, tmp_path)
    assert found is not None and torch.allclose(found, wanted.expand_as(found), atol=0.003)
    paint(file, roughnessFactor=0.5)  # states no colour
    _, found, _ = colors(file, tmp_path)
    assert found is not None and torch.allclose(found, wanted.expand_as(found), atol=0.003)
    paint(file, baseColorFactor=[0.5, 1, 0.25, 1])
    _, found, _ = colors(file, tmp_path)
    wanted = torch.tensor([0.1, 0.4, 0.15])
    assert found is not None and torch.allclose(found, wanted.expand_as(found), atol=0.003)


@pytest.mark.parametrize("wild", [math.nan, math.inf])
def test_texture_coordinates_that_are_none(wild: float, tmp_path: Path):
    file = square()
    attributes(file)["TEXCOORD_0"] = file.accessor(np.where(UV > 0, wild, UV).astype("<f4"))
    paint(file, baseColorTexture={"index": file.texture(quadrants(), tmp_path)})
    # Beside a part that has none, and with indices of its own.
    plain = {"attributes": {"POSITION": file.accessor(SQUARE[:3] + 2)}}
    file.root["meshes"][0]["primitives"].append(plain)
    for read in (load, colors):
        with pytest.raises(ValueError, match=r"mesh\.glb holds texture coordinates that are not"):
            read(file, tmp_path)


def test_a_material_that_states_no_colour_has_none(tmp_path: Path):
    file = square()
    paint(file, metallicFactor=0.0)
    assert colors(file, tmp_path)[1:] == (None, [])


def test_a_texture_and_its_factor(tmp_path: Path):
    file = square()
    texture = file.texture(np.full((4, 4, 3), 128, np.uint8), tmp_path)
    paint(file, baseColorTexture={"index": texture}, baseColorFactor=[0.5, 1, 0.25, 1])
    _, found, _ = colors(file, tmp_path)
    wanted = torch.tensor(decoded(np.full(3, 128 / 255)) * [0.5, 1, 0.25]).float()
    assert found is not None and torch.allclose(found, wanted.expand_as(found), atol=1e-4)


# The picture is red, green above blue, white; corners are lower left, lower right, upper right,
# upper left.
@pytest.mark.parametrize(
    ("moved", "wanted"),
    [
        ({}, "blue white green red"),
        # The specification's own example: the lower left quadrant alone.
        ({"offset": [0, 1], "rotation": math.pi / 2, "scale": [0.5, 0.5]}, "blue blue blue blue"),
        # And its second: upside down.
        ({"offset": [0, 1], "scale": [1, -1]}, "red green white blue"),
        ({"offset": [0.5, 0], "scale": [0.5, 0.5]}, "green green green green"),
        # (u, v) becomes (v, 1 - u): a quarter turn.
        ({"offset": [0, 1], "rotation": math.pi / 2}, "white green red blue"),
    ],
)
def test_a_texture_that_is_moved(moved: dict, wanted: str, tmp_path: Path):
    file = square()
    info: dict[str, Any] = {"index": file.texture(quadrants(), tmp_path)}
    if moved:
        info["extensions"] = {"KHR_texture_transform": moved}
        file.root["extensionsRequired"] = ["KHR_texture_transform"]
    paint(file, baseColorTexture=info)
    mesh, found, _ = colors(file, tmp_path)
    assert found is not None
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    seen = []
    for x, y in ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)):
        near = int((mesh.vertices[:, :2] - torch.tensor([x, y])).norm(dim=1).argmin())
        seen.append(names[tuple(found[near].round().int().tolist())])
    assert " ".join(seen) == wanted


def test_the_transform_may_name_other_coordinates(tmp_path: Path):
    file = square()
    attributes(file)["TEXCOORD_2"] = file.accessor(np.full((4, 2), 0.25, "<f4"))
    info: dict[str, Any] = {"index": file.texture(quadrants(), tmp_path), "texCoord": 0}
    info["extensions"] = {"KHR_texture_transform": {"texCoord": 2}}
    paint(file, baseColorTexture=info)
    _, found, _ = colors(file, tmp_path)
    assert found is not None and torch.allclose(found, torch.tensor([1.0, 0, 0]))


@pytest.mark.parametrize(
    ("wrap", "wanted"),
    [(10497, ["red", "blue"]), (33648, ["blue", "red"]), (33071, ["blue", "blue"])],
)
def test_beyond_the_texture(wrap: int, wanted: list[str], tmp_path: Path):
    # Red on the left half, blue on the right; u goes from 1 to 2.
    file = square()
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, :4, 0], picture[:, 4:, 2] = 255, 255
    texture = file.texture(picture, tmp_path)
    file.root["textures"][texture]["sampler"] = file.add("samplers", {"wrapS": wrap})
    attributes(file)["TEXCOORD_0"] = file.accessor(UV + np.array([1, 0], "<f4"))
    paint(file, baseColorTexture={"index": texture})
    mesh, found, _ = colors(file, tmp_path)
    assert found is not None
    for left, name in (
        (mesh.vertices[:, 0] < 0.4, wanted[0]),
        (mesh.vertices[:, 0] > 0.6, wanted[1]),
    ):
        color = torch.tensor([1.0, 0, 0] if name == "red" else [0.0, 0, 1])
        assert torch.allclose(found[left], color.expand_as(found[left]))


def test_specular_glossiness_and_webp(tmp_path: Path):
    file = square()
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "a.webp", lossless=True)
    image = file.add("images", {"uri": "a.webp"})
    texture = file.add("textures", {"extensions": {"EXT_texture_webp": {"source": image}}})
    material = paint(file, baseColorFactor=[1, 0, 0, 1])
    glossy = {"diffuseFactor": [0.5, 0.25, 0, 1], "diffuseTexture": {"index": texture}}
    material["extensions"] = {"KHR_materials_pbrSpecularGlossiness": glossy}
    file.root["extensionsRequired"] = ["KHR_materials_pbrSpecularGlossiness", "EXT_texture_webp"]
    _, found, _ = colors(file, tmp_path)
    assert found is not None and torch.allclose(found, torch.tensor([0.5, 0.25, 0]))


def test_morph_targets_sparse_and_interleaved_accessors(tmp_path: Path):
    file = square()
    moved = np.zeros((4, 3), "<f4")
    moved[2] = [1, 1, 0]
    file.root["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": file.accessor(moved)}]
    file.root["meshes"][0]["weights"] = [0.5]
    assert load(file, tmp_path).vertices[2].tolist() == [1.5, 1.5, 0]
    # The same as zeros with one change.
    file.root["accessors"][-1] = {
        **{"componentType": 5126, "type": "VEC3", "count": 4},
        "sparse": {
            "count": 1,
            "indices": {"bufferView": file.view(struct.pack("<H", 2)), "componentType": 5123},
            "values": {"bufferView": file.view(struct.pack("<3f", 1, 1, 0))},
        },
    }
    assert load(file, tmp_path).vertices[2].tolist() == [1.5, 1.5, 0]
    both = np.concatenate([SQUARE, UV], 1).astype("<f4").tobytes()
    view = file.view(both)
    file.root["bufferViews"][view]["byteStride"] = 20
    for name, kind, start in (("POSITION", "VEC3", 0), ("TEXCOORD_0", "VEC2", 12)):
        entry = {"bufferView": view, "byteOffset": start, "componentType": 5126, "count": 4}
        attributes(file)[name] = file.add("accessors", {**entry, "type": kind})
    mesh = load(file, tmp_path)
    assert mesh.uv is not None and mesh.uv.tolist() == UV.tolist()
    assert mesh.vertices[:2].tolist() == SQUARE[:2].tolist()


def test_quantised_positions(tmp_path: Path):
    file = square()
    file.root["extensionsRequired"] = ["KHR_mesh_quantization"]
    levels = np.pad(SQUARE * 32767, ((0, 0), (0, 1))).astype("<i2")
    view = file.view(levels.tobytes())
    file.root["bufferViews"][view]["byteStride"] = 8
    entry = {"bufferView": view, "componentType": 5122, "count": 4, "type": "VEC3"}
    attributes(file)["POSITION"] = file.add("accessors", {**entry, "normalized": True})
    assert load(file, tmp_path).vertices.tolist() == SQUARE.tolist()


def test_files_beside_a_gltf(tmp_path: Path):
    file = square()
    picture = file.add("images", {"uri": "my%20pictures/a.png"})
    paint(file, baseColorTexture={"index": file.add("textures", {"source": picture})})
    file.write(tmp_path / "mesh.gltf")
    root = json.loads((tmp_path / "mesh.gltf").read_text())
    (tmp_path / "mesh.bin").write_bytes(file.binary)
    root["buffers"][0]["uri"] = "mesh.bin"
    (tmp_path / "mesh.gltf").write_text(json.dumps(root))
    notes: list[str] = []
    mesh, found = load_colored_mesh(tmp_path / "mesh.gltf", 1.0, 10, notes)
    assert len(mesh.faces) == 2 and found is None
    assert len(notes) == 1 and "'my%20pictures/a.png' is not in" in notes[0]
    (tmp_path / "my pictures").mkdir()
    Image.new("RGB", (2, 2), (255, 255, 255)).save(tmp_path / "my pictures/a.png")
    found = load_colored_mesh(tmp_path / "mesh.gltf", 1.0, 10)[1]
    assert found is not None and torch.allclose(found, torch.ones(1))
    (tmp_path / "mesh.bin").rename(tmp_path.parent / "mesh.bin")
    for uri in ("mesh.bin", "../mesh.bin", str(tmp_path.parent / "mesh.bin"), "file:///etc/passwd"):
        root["buffers"][0]["uri"] = uri
        (tmp_path / "mesh.gltf").write_text(json.dumps(root))
        with pytest.raises(ValueError, match=r"mesh\.gltf .*its file .* is not in"):
            load_mesh(tmp_path / "mesh.gltf")


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "A\nB"])
def test_extensions_that_are_required_but_not_read(name: str, tmp_path: Path):
    file = square()
    file.root["extensionsUsed"] = file.root["extensionsRequired"] = [name]
    with pytest.raises(
        ValueError, match=r"requires the extension '.*', which is not read"
    ) as caught:
        load(file, tmp_path)
    assert name.split("\n")[0] in str(caught.value) and "\n" not in str(caught.value)


def changed(where: str, value: Any) -> Gltf:
    """The square with one thing in its JSON replaced."""
    file = square()
    paint(file, baseColorFactor=[1, 1, 1, 1])
    here: Any = file.root
    *steps, last = [int(step) if step.isdecimal() else step for step in where.split(".")]
    for step in steps:
        here = here[step]
    here[last] = value
    return file


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("asset", {"version": "1.0"}),
        ("asset", []),
        ("scenes", {}),
        ("scenes.0.nodes", [1]),
        ("scenes.0.nodes", [-1]),
        ("scenes.0.nodes", [0, 0]),
        ("scenes.0.nodes", "a"),
        ("nodes.0.children", [0]),
        ("nodes.0.mesh", True),
        ("nodes.0.skin", 0),
        ("nodes.0.matrix", [1]),
        ("nodes.0.matrix", ["1"] * 16),
        ("nodes.0.rotation", [0, 0, 0, 0]),
        ("nodes.0.scale", [10**400, 1, 1]),
        ("nodes.0.translation", [1e39, 0, 0]),
        ("meshes.0.primitives", None),
        ("meshes.0.primitives.0.attributes", {}),
        ("meshes.0.primitives.0.indices", 0),
        ("meshes.0.primitives.0.material", 4),
        ("accessors.0.count", 5),
        ("accessors.0.count", 3),
        ("accessors.0.count", -1),
        ("accessors.0.count", 10**30),
        ("accessors.0.type", "MAT4"),
        ("accessors.0.type", []),
        ("accessors.0.componentType", 5130),
        ("accessors.0.byteOffset", 10**9),
        ("accessors.0.bufferView", 99),
        ("accessors.0", {"componentType": 5126, "type": "VEC3", "count": 10**9}),
        ("bufferViews.0.byteLength", 10**9),
        ("bufferViews.0.byteStride", 4),
        ("bufferViews.0.buffer", 1),
        ("materials.0.pbrMetallicRoughness", [1]),
        ("materials.0.pbrMetallicRoughness.baseColorFactor", [1, 1]),
        ("materials.0.pbrMetallicRoughness.baseColorTexture", {"index": 0}),
    ],
)
def test_what_glTF_does_not_allow(where: str, value: Any, tmp_path: Path):
    with pytest.raises(ValueError, match=r"mesh\.glb (is not a readable mesh|holds)") as caught:
        load(changed(where, value), tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_files_that_are_cut_off_or_deep(tmp_path: Path):
    square().write(tmp_path / "mesh.glb")
    whole = (tmp_path / "mesh.glb").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "mesh.glb").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"mesh\.glb is not a readable mesh"):
            load_mesh(tmp_path / "mesh.glb")
    deep = b'{"asset":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "mesh.gltf").write_bytes(deep)
    with pytest.raises(ValueError, match=r"mesh\.gltf is not a readable mesh"):
        load_mesh(tmp_path / "mesh.gltf")


def test_a_mesh_that_is_repeated_for_ever(tmp_path: Path):
    file = square()
    corners = np.tile(np.array([0, 1, 2], "<u2"), 100_000)
    file.root["meshes"][0]["primitives"][0]["indices"] = file.accessor(corners)
    file.root["nodes"] = [{"mesh": 0}] * 100
    file.root["scenes"][0]["nodes"] = list(range(100))
    with pytest.raises(ValueError, match=r"mesh\.glb .*it repeats meshes to over .* simplify it"):
        load(file, tmp_path)


def test_a_texture_that_is_no_image(tmp_path: Path):
    file = square()
    image = file.add("images", {"bufferView": file.view(b"%!PS-Adobe"), "mimeType": "image/png"})
    paint(file, baseColorTexture={"index": file.add("textures", {"source": image})})
    assert len(load(file, tmp_path).faces) == 2  # shapes need no textures
    with pytest.raises(ValueError, match=r"mesh\.glb: its texture number 0 cannot be read"):
        colors(file, tmp_path)
