"""PLY files as programs write them, and damaged ones."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from mesh_writers import decoded
from PIL import Image

from invgraph.geometry.mesh import Mesh, face_areas
from invgraph.scene.mesh_files import load_colored_mesh, load_mesh

VERTICES = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
XYZ = "property float x\nproperty float y\nproperty float z\n"
FACES = "property list uchar int vertex_indices\n"


def header(vertex: str = XYZ, face: str = FACES, vertices: int = 4, faces: int = 1) -> str:
    return (
        f"ply\nformat ascii 1.0\nelement vertex {vertices}\n{vertex}"
        f"element face {faces}\n{face}end_header\n"
    )


def load(folder: Path, text: str | bytes) -> Mesh:
    (folder / "mesh.ply").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_mesh(folder / "mesh.ply")


def colors(folder: Path, text: str) -> tuple[Mesh, torch.Tensor | None, list[str]]:
    (folder / "mesh.ply").write_text(text)
    notes: list[str] = []
    return *load_colored_mesh(folder / "mesh.ply", 1.0, 100, notes), notes


@pytest.mark.parametrize(
    ("text", "area"),
    [
        (header() + VERTICES + "4 0 1 2 3\n", 1.0),
        (header().replace("\n", "\r\n") + VERTICES + "4 0 1 2 3\n", 1.0),
        (header(faces=2) + VERTICES + "4 0 1 2 3\n3 0 2 1\n", 1.5),
        (header(faces=2) + VERTICES + "3 0 2 1\n4 0 1 2 3\n", 1.5),
        (header(vertices=5) + VERTICES + "0.5 0.5 0\n5 0 1 2 4 3\n", 0.75),
        (header(face=FACES.replace("indices", "index")) + VERTICES + "3 0 1 2\n", 0.5),
        (
            header(vertex="property float nx\n" + XYZ)
            + VERTICES.replace("\n", "\n9 ")[:-2].join(["9 ", ""])
            + "\n3 0 1 2\n",
            0.5,
        ),
        (header(face="property uchar flag\n" + FACES) + VERTICES + "7 3 0 1 2\n", 0.5),
    ],
)
def test_what_the_format_allows(text: str, area: float, tmp_path: Path):
    assert float(face_areas(load(tmp_path, text)).sum()) == pytest.approx(area)


def test_other_elements_are_passed_over(tmp_path: Path):
    text = header() + VERTICES + "4 0 1 2 3\n"
    edges = "element edge 1\nproperty int vertex1\nproperty int vertex2\n"
    text = text.replace("element face", edges + "element face").replace("4 0 1", "0 1\n4 0 1")
    assert len(load(tmp_path, text).faces) == 2


def test_colours_of_faces_and_of_polygons(tmp_path: Path):
    rgb = "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    text = header(face=FACES + rgb, vertices=5, faces=2) + VERTICES + "2 0 0\n"
    mesh, found, _ = colors(tmp_path, text + "4 0 1 2 3 255 0 0\n3 1 4 2 0 128 0\n")
    assert found is not None
    of_face = found[mesh.faces.long()]
    left = mesh.vertices[mesh.faces.long()].mean(1)[:, 0] < 1
    green = float(decoded(np.array(128 / 255)))
    assert torch.allclose(of_face[left], torch.tensor([1.0, 0, 0]))
    assert torch.allclose(of_face[~left], torch.tensor([0.0, green, 0]))
    # Colours of vertices come first.
    names = rgb.replace("red", "diffuse_red").replace("green", "diffuse_green")
    names = names.replace("blue", "diffuse_blue")
    text = header(vertex=XYZ + names, face=FACES + rgb) + VERTICES.replace(" 0\n", " 0 0 0 255\n")
    _, found, _ = colors(tmp_path, text + "4 0 1 2 3 255 0 0\n")
    assert found is not None and torch.allclose(found, torch.tensor([0.0, 0, 1]))


def test_colours_of_16_bits_and_of_unit_range(tmp_path: Path):
    for kind, level in (("ushort", "32768"), ("float", "0.5"), ("double", "0.5")):
        rgb = "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
        rows = VERTICES.replace(" 0\n", f" 0 {level} 0 0\n")
        _, found, _ = colors(tmp_path, header(vertex=XYZ + rgb) + rows + "4 0 1 2 3\n")
        assert found is not None
        half = torch.tensor(decoded(np.array([0.5, 0, 0]))).float()
        assert torch.allclose(found, half.expand_as(found), atol=1e-4)


@pytest.mark.parametrize("level", ["2", "-0.5", "nan"])
def test_colours_beyond_their_range(level: str, tmp_path: Path):
    rgb = "".join(f"property float {name}\n" for name in ("red", "green", "blue"))
    rows = VERTICES.replace(" 0\n", f" 0 {level} 0 0\n")
    with pytest.raises(ValueError, match=r"mesh\.ply is not a readable mesh \(colours are from"):
        load(tmp_path, header(vertex=XYZ + rgb) + rows + "4 0 1 2 3\n")


def test_two_textures(tmp_path: Path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4), (0, 0, 255)).save(tmp_path / "b.png")
    face = FACES + "property list uchar float texcoord\nproperty int texnumber\n"
    text = header(face=face, vertices=5, faces=2) + VERTICES + "2 0 0\n"
    text = text.replace(
        "ascii 1.0\n", "ascii 1.0\ncomment TextureFile a.png\ncomment TextureFile b.png\n"
    )
    text += "4 0 1 2 3 8 0 0 1 0 1 1 0 1 1\n3 1 4 2 6 0 0 1 0 1 1 0\n"
    mesh, found, notes = colors(tmp_path, text)
    assert found is not None and not notes
    of_face = found[mesh.faces.long()]
    left = mesh.vertices[mesh.faces.long()].mean(1)[:, 0] < 1
    assert torch.allclose(of_face[left], torch.tensor([0.0, 0, 1]))
    assert torch.allclose(of_face[~left], torch.tensor([1.0, 0, 0]))
    assert load_mesh(tmp_path / "mesh.ply").uv is None
    (tmp_path / "b.png").unlink()
    mesh, found, notes = colors(tmp_path, text)
    assert found is not None and len(notes) == 1
    assert "its texture 'b.png' is not in" in notes[0] and "put it there" in notes[0]
    assert 0 < int(found.isnan().any(1).sum()) < len(found)


def test_colours_of_other_whole_numbers(tmp_path: Path):
    for kind in ("short", "int", "uint"):
        rgb = "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
        rows = VERTICES.replace(" 0\n", " 0 200 1 0\n")
        _, found, _ = colors(tmp_path, header(vertex=XYZ + rgb) + rows + "4 0 1 2 3\n")
        assert found is not None
        wanted = torch.tensor(decoded(np.array([200, 1, 0]) / 255)).float()
        assert torch.allclose(found, wanted.expand_as(found), atol=1e-6)


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "b.png"]])
def test_faces_of_no_texture_stay(names: list[str], tmp_path: Path):
    for name in names:
        Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / name)
    face = FACES + "property list uchar float texcoord\nproperty int texnumber\n"
    comments = "".join(f"comment TextureFile {name}\n" for name in names)
    text = header(face=face, faces=2).replace("ascii 1.0\n", "ascii 1.0\n" + comments) + VERTICES
    text += "3 0 1 2 6 0 0 1 0 1 1 0\n3 0 2 3 6 0 0 1 1 0 1 -1\n"
    mesh, found, notes = colors(tmp_path, text)
    assert float(face_areas(mesh).sum()) == pytest.approx(1) and not notes
    assert found is not None
    second = mesh.vertices[mesh.faces.long()].mean(1) @ torch.tensor([-1.0, 1, 0]) > 0
    of_face = found[mesh.faces.long()]
    assert torch.equal(of_face[~second], torch.tensor([1.0, 0, 0]).expand_as(of_face[~second]))
    assert bool(of_face[second].isnan().all())


def test_a_texture_without_coordinates_is_said(tmp_path: Path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "a.png")
    text = header().replace("ascii 1.0\n", "ascii 1.0\ncomment TextureFile a.png\n")
    _, found, notes = colors(tmp_path, text + VERTICES + "4 0 1 2 3\n")
    assert found is None
    assert notes == [
        "mesh.ply: it has no texture coordinates for its texture 'a.png', and so no colour."
    ]


@pytest.mark.parametrize("comment", ["comment\tTextureFile\ta.png", "comment texturefile  a.png"])
def test_ways_to_name_a_texture(comment: str, tmp_path: Path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "a.png")
    uv = "property float s\nproperty float t\n"
    text = header(vertex=XYZ + uv).replace("1.0\n", f"1.0\ncomment one\x0ctwo\n{comment}\n")
    _, found, _ = colors(tmp_path, text + VERTICES.replace(" 0\n", " 0 0 0\n") + "4 0 1 2 3\n")
    assert found is not None and torch.allclose(found, torch.tensor([1.0, 0, 0]))


def test_texture_coordinates_of_vertices(tmp_path: Path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4, :, 1] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    uv = "property float s\nproperty float t\n"
    rows = "0 0 0 0 0\n1 0 0 1 0\n1 1 0 1 1\n0 1 0 0 1\n"
    text = header(vertex=XYZ + uv).replace("1.0\n", "1.0\ncomment TextureFile a.png\n")
    mesh, found, _ = colors(tmp_path, text + rows + "4 0 1 2 3\n")
    assert found is not None
    assert found[:, 1].tolist() == (mesh.vertices[:, 1] > 0.5).float().tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (header() + VERTICES, "it is cut off: its header promises more"),
        (header() + VERTICES + "4 0 1 2\n", "it is cut off"),
        (header() + VERTICES + "4 0 1 2 4\n", "faces have indices from 0 to 4, but there are 4"),
        (header() + VERTICES + "4 0 1 2 -1\n", "faces have indices from -1 to 2"),
        (header() + VERTICES + "-3 0 1 2\n", ""),
        (header() + VERTICES + "3 0 1 x\n", ""),
        (header() + VERTICES + "3 0 1 1e30\n", "numbers beyond its type"),
        (header(vertices=10**10) + VERTICES, "it is cut off"),
        (header(vertices=10**13) + VERTICES, "its header has the line"),
        (header(vertex="") + "3 0 1 2\n", ""),
        (header().replace("ascii", "morse"), "its header has the line 'format morse 1.0'"),
        (header().replace("format ascii 1.0\n", ""), "its header names no format"),
        (header().replace("uchar", "float"), "its header has the line"),
        (header(vertex=XYZ + "property float x\n"), "the same name twice"),
        (header().replace("end_header", ""), "it has no PLY header"),
        ("ply", "it has no PLY header"),
    ],
)
def test_damaged_files(text: str, reason: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"mesh\.ply is not a readable mesh \(") as caught:
        load(tmp_path, text)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_binary_files_that_are_cut_off(tmp_path: Path):
    data = header(faces=2).replace("ascii", "binary_big_endian").encode()
    data += struct.pack(">12f", *map(float, VERTICES.split()))
    data += struct.pack(">B3iB4i", 3, 0, 1, 2, 4, 0, 1, 2, 3)
    assert len(load(tmp_path, data).faces) == 3
    for lost in (1, 16, 17, 30, 40):
        with pytest.raises(ValueError, match="it is cut off"):
            load(tmp_path, data[:-lost])


def test_a_point_cloud_holds_no_triangles(tmp_path: Path):
    text = f"ply\nformat ascii 1.0\nelement vertex 4\n{XYZ}end_header\n{VERTICES}"
    with pytest.raises(ValueError, match=r"mesh\.ply holds no triangles; export it as a mesh"):
        load(tmp_path, text)
