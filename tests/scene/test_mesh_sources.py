"""Meshes read nothing but regular files beside them, and no more than fits into memory."""

import base64
import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invgraph.scene.mesh_files import load_colored_mesh, load_mesh
from invgraph.scene.textures import quoted

OBJ = "mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl a\nf 1/1 2/2 3/3\n"
MTL = "newmtl a\nmap_Kd {}\n"
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4")


def write_obj(folder: Path, texture: str = "t.png") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "m.obj").write_text(OBJ)
    (folder / "m.mtl").write_text(MTL.format(texture))
    return folder / "m.obj"


def gltf(**changes) -> dict:
    """A triangle whose positions and texture coordinates are one buffer."""
    data = CORNERS.tobytes() + np.ascontiguousarray(CORNERS[:, :2]).tobytes()
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 60, "uri": uri}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 24},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 3, "type": "VEC2"},
        ],
        "images": [{"uri": "t.png"}],
        "textures": [{"source": 0}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}]}
        ],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return content | changes


def write_gltf(folder: Path, content: dict) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "m.gltf").write_text(json.dumps(content))
    return folder / "m.gltf"


def refuse(path: Path, message: str) -> None:
    start = time.monotonic()
    for read in (load_mesh, lambda path: load_colored_mesh(path, 0.5, 100)):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - start < 5


def test_textures_beside_a_mesh_are_read(tmp_path):
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "t.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a b.png")
    elsewhere = "C:\\work\\t.png"
    for path in (
        write_obj(tmp_path),
        write_obj(tmp_path / ".", elsewhere),
        write_gltf(tmp_path, gltf()),
        write_gltf(tmp_path, gltf(images=[{"uri": "a%20b.png"}])),
    ):
        _, colors = load_colored_mesh(path, 0.5, 100)
        assert colors is not None and np.allclose(colors.numpy(), (1, 0, 0), atol=0.01)


def colors_of(path: Path) -> tuple[torch.Tensor | None, str]:
    """What is known of the colours, and what is said about them, in a moment."""
    start, notes = time.monotonic(), []
    _, colors = load_colored_mesh(path, 0.5, 100, notes)
    assert time.monotonic() - start < 5
    return colors, " ".join(notes)


@pytest.mark.parametrize("name", ["t.png", "m.mtl"])
def test_pipes_that_an_obj_names_do_not_block(tmp_path, name):
    path = write_obj(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    colors, said = colors_of(path)
    assert colors is None and name in said


def test_pipes_that_a_gltf_names_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "t.png")
    colors, said = colors_of(write_gltf(tmp_path, gltf()))
    assert colors is None and "t.png" in said
    os.mkfifo(tmp_path / "b.bin")
    path = write_gltf(tmp_path, gltf(buffers=[{"byteLength": 60, "uri": "b.bin"}]))
    refuse(path, "its file 'b.bin' is not in")


def test_files_outside_the_folder_of_a_mesh_are_not_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        for path in (
            write_obj(tmp_path / "m", name),
            write_gltf(tmp_path / "m", gltf(images=[{"uri": name}])),
        ):
            colors, said = colors_of(path)
            assert colors is None and name.rpartition("/")[2] in said
    path = write_gltf(tmp_path / "m", gltf(buffers=[{"byteLength": 60, "uri": "/etc/passwd"}]))
    refuse(path, "its file '/etc/passwd' is not in")


@pytest.mark.parametrize("write", [write_obj, lambda folder: write_gltf(folder, gltf())])
def test_textures_of_other_kinds_start_no_program(tmp_path, monkeypatch, write):
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "t.png", "EPS")
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(ValueError, match=r"its texture .*t\.png.* cannot be read"):
        load_colored_mesh(write(tmp_path), 0.5, 100)


def accessor(**changes) -> dict:
    positions = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"} | changes
    return gltf(accessors=[positions, gltf()["accessors"][1]])


def test_arrays_larger_than_their_file_are_refused_before_they_are_made(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "t.png")
    huge = {"componentType": 5126, "count": 10**11, "type": "VEC3"}
    refuse(write_gltf(tmp_path, accessor(count=10**11)), "is shorter than its accessor")
    no_view = gltf(accessors=[huge, gltf()["accessors"][1]])
    refuse(write_gltf(tmp_path, no_view), "accessor 0 is of 100000000000 zeros")
    text = json.dumps(no_view).encode()
    text += b" " * (-len(text) % 4)
    data = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
    (tmp_path / "m.glb").write_bytes(data)
    refuse(tmp_path / "m.glb", "accessor 0 is of 100000000000 zeros")


@pytest.mark.parametrize("count", [-1, 2.5, True, "3", None, 10**400])
def test_impossible_counts_are_refused(tmp_path, count):
    refuse(write_gltf(tmp_path, accessor(count=count)), "count should be a whole number but is")


def test_textures_larger_than_the_memory_are_refused(tmp_path, monkeypatch):
    Image.new("RGB", (100, 80)).save(tmp_path / "t.png")
    path = write_obj(tmp_path)
    monkeypatch.setattr("invgraph.files.opening.available_bytes", lambda: 64 * 7999)
    with pytest.raises(ValueError, match=r"is 80x100 \(h x w\), more than the 0\.0 million pixels"):
        load_colored_mesh(path, 0.5, 100)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "1" * 5000])
def test_descriptions_that_are_no_json_object_are_refused(tmp_path, text):
    (tmp_path / "m.gltf").write_text(text)
    refuse(tmp_path / "m.gltf", "is not a readable mesh")
    data = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text.encode()
    (tmp_path / "m.glb").write_bytes(data)
    refuse(tmp_path / "m.glb", "is not a readable mesh")


def test_long_names_keep_both_ends():
    name = "folder_" + 40 * "deep/" + "texture.png"
    text = quoted(name)
    assert len(text) == 80 and text.startswith("'folder_") and text.endswith("/texture.png'")
    assert quoted("t.png") == "'t.png'"
