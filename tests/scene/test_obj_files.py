"""OBJ files by the rules of the format, and as programs write them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mesh_writers import decoded
from PIL import Image

from invgraph.geometry.mesh import Mesh, face_areas
from invgraph.scene.mesh_files import load_colored_mesh, load_mesh

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
QUAD = TRIANGLE.replace("v 0 1 0", "v 1 1 0\nv 0 1 0")
MAPPED = QUAD + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def load(folder: Path, text: str | bytes) -> Mesh:
    path = folder / "mesh.obj"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_mesh(path)


def colors(
    folder: Path, text: str, mtl: str | bytes | None
) -> tuple[torch.Tensor | None, list[str]]:
    (folder / "mesh.obj").write_text(text)
    if mtl is not None:
        (folder / "mesh.mtl").write_bytes(mtl if isinstance(mtl, bytes) else mtl.encode())
    notes: list[str] = []
    return load_colored_mesh(folder / "mesh.obj", 1.0, 100, notes)[1], notes


def test_negative_indices_count_from_the_vertices_so_far(tmp_path: Path):
    text = TRIANGLE + "f -3 -2 -1\nv 5 0 0\nv 6 0 0\nv 5 1 0\nf -3 -2 -1\n"
    mesh = load(tmp_path, text)
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert mesh.vertices[:, 0].tolist() == [0, 1, 0, 5, 6, 5]


def test_negative_texture_indices_too(tmp_path: Path):
    text = TRIANGLE + "vt 0 0\nvt 1 0\nvt 0 1\nf -3/-3 -2/-2 -1/-1\nvt 0.5 0.5\nf 1/-1 2/-1 3/-1\n"
    mesh = load(tmp_path, text)
    assert mesh.uv is not None and len(mesh.vertices) == 6
    assert mesh.uv[mesh.faces.long()][0].tolist() == [[0, 1], [1, 1], [0, 0]]
    assert mesh.uv[mesh.faces.long()][1].tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize(
    ("text", "area", "faces"),
    [
        (QUAD + "f 1 2 3 4\n", 1.0, 2),
        (QUAD + "v 2 0 0\nf 1 2 3 4\nf 2 5 3\n", 1.5, 3),
        (QUAD + "v 2 0 0\nf 2 5 3\nf 1 2 3 4\n", 1.5, 3),
        ("v 0 0 0\nv 4 1 0\nv 1 1 0\nv 1 4 0\nf 1 2 3 4\n", 3.0, 2),
        (TRIANGLE + "l 1 2\np 1\nf 1//1 2//1 3//1\nvn 0 0 1\n", 0.5, 1),
        (TRIANGLE.replace(" ", "\t") + "f\t1 2\t\t3\n", 0.5, 1),
        (TRIANGLE.replace("\n", "\r\n") + "f 1 2 3\r\n", 0.5, 1),
        (TRIANGLE.replace("\n", "\r") + "f 1 2 3\r", 0.5, 1),
        ("\ufeff# made\n" + TRIANGLE + "f 1 2 3 # last\n", 0.5, 1),
        (TRIANGLE + "f 1 \\\n2 3\n", 0.5, 1),
        (TRIANGLE + "f 1 \\\n 2 \\\n 3\nf 3 2 1\n", 1.0, 2),
        ("f 1 2 3\n" + TRIANGLE, 0.5, 1),
        ("# C:\\models\\\n" + TRIANGLE + "v 9 9 9\nf 1 2 3\n", 0.5, 1),
        ("v 0 0 0 1\nv 1 0 0 1\nv 0 1 0 1\ng a\ns off\no b\nf 1 2 3\n", 0.5, 1),
        (TRIANGLE + "f 1 2\nf 1 2 3\n", 0.5, 1),
    ],
)
def test_what_the_format_allows(text: str, area: float, faces: int, tmp_path: Path):
    mesh = load(tmp_path, text)
    assert len(mesh.faces) == faces
    assert float(face_areas(mesh).sum()) == pytest.approx(area)


def test_bytes_that_are_no_utf8(tmp_path: Path):
    text = b"# fa\xe7ade \xff\xfe\no fen\xeatre\n" + TRIANGLE.encode() + b"usemtl \xe9\nf 1 2 3\n"
    assert len(load(tmp_path, text).faces) == 1
    notes: list[str] = []
    assert load_colored_mesh(tmp_path / "mesh.obj", 1.0, 100, notes)[1] is None
    assert notes[0].isascii()


def test_texture_coordinates_of_one_column(tmp_path: Path):
    mesh = load(tmp_path, TRIANGLE + "vt 0\nvt 1\nvt 0.5\nf 1/1 2/2 3/3\n")
    assert mesh.uv is not None and mesh.uv.tolist() == [[0, 1], [1, 1], [0.5, 1]]


def test_vertices_of_no_triangle_are_left_out(tmp_path: Path):
    mesh = load(tmp_path, "v 100 0 0\n" + TRIANGLE + "f 2 3 4\n")
    assert float(mesh.vertices.max()) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("f 1 2 4", "line 5 has the index 4, but there are 3 vertices"),
        ("f 1/1 2/1 3/1", "line 5 has the index 1, but there are 0 texture coordinates"),
        ("f 0 1 2", "line 5, 'f 0 1 2', is no valid f"),
        ("f -4 1 2", "line 5, 'f -4 1 2', is no valid f"),
        ("f 1 2 x", "line 5, 'f 1 2 x', is no valid f"),
        ("f 1 2 99999999999999999999", "is no valid f"),
        ("v 1 2", "line 5, 'v 1 2', is no valid v"),
        ("v 1 2 z", "is no valid v"),
        ("vt x", "is no valid vt"),
        ("v 1 2 3 -1 0 0", "colours of vertices reach 0, expected 0 to 1"),
        ("v 1 2 3 nan 0 0", "colours of vertices reach nan, expected 0 to 1"),
        ("v 1 2 3 1.5 0 0", "colours of vertices reach 1.5, expected 0 to 1"),
        ("v", "line 5, 'v', is no valid v"),
        ("vt", "line 5, 'vt', is no valid vt"),
    ],
)
def test_lines_that_say_nothing_valid(line: str, reason: str, tmp_path: Path):
    with pytest.raises(ValueError) as caught:
        load(tmp_path, TRIANGLE + "f 1 2 3\n" + line + "\n")
    assert "mesh.obj is not a readable mesh (" in str(caught.value) and reason in str(caught.value)
    assert str(caught.value).endswith("export it again.") and "\n" not in str(caught.value)


def test_many_materials_are_one_mesh(tmp_path: Path):
    text = (
        MAPPED
        + "v 2 0 0\nmtllib mesh.mtl\nusemtl red\nf 1/1 2/2 3/3 4/4\nusemtl map\nf 2/1 5/2 3/3\n"
    )
    mtl = "newmtl red\nKd 1 0 0\n\nnewmtl map\nmap_Kd blue.png\n"
    Image.new("RGB", (4, 4), (0, 0, 255)).save(tmp_path / "blue.png")
    found, notes = colors(tmp_path, text, mtl)
    assert found is not None and not notes
    mesh = load_colored_mesh(tmp_path / "mesh.obj", 1.0, 100)[0]
    of_face = found[mesh.faces.long()].mean(1)
    left = mesh.vertices[mesh.faces.long()].mean(1)[:, 0] < 1
    assert torch.allclose(of_face[left], torch.tensor([1.0, 0, 0]))
    assert torch.allclose(of_face[~left], torch.tensor([0.0, 0, 1]))
    # The coordinates are those of the one texture.
    assert load_mesh(tmp_path / "mesh.obj").uv is not None
    Image.new("RGB", (4, 4)).save(tmp_path / "black.png")
    (tmp_path / "mesh.mtl").write_text(mtl.replace("Kd 1 0 0", "map_Kd black.png"))
    assert load_mesh(tmp_path / "mesh.obj").uv is None


@pytest.mark.parametrize(
    "statement",
    [
        "map_Kd pictures\\wood one.png",
        "map_Kd C:\\Users\\me\\pictures\\Wood One.PNG",
        "map_Kd /home/me/wood one.png",
        "map_Kd ../elsewhere/wood one.png",
        "map_kd ./pictures/wood one.png",
        "\tMAP_KD\tpictures/WOOD ONE.png  ",
        "map_Kd pictures/wood one.png\nmap_Kd",
        "map_Kd -mm 0.000 1.000 pictures/wood one.png",
        "map_Kd -blendu on -mm 0 1 -texres 512 pictures/wood one.png",
        "map_Kd -s 1 1 1 -o 0 0 0 -t 0 0 0 -bm 1.0 -imfchan l pictures/wood one.png",
        'map_Kd "pictures/wood one.png"',
    ],
)
def test_ways_to_name_a_texture(statement: str, tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    picture = Image.new("RGB", (4, 4), (200, 100, 50))
    for folder in (tmp_path, tmp_path / "pictures"):
        picture.save(folder / "wood one.png")
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    found, notes = colors(tmp_path, text, f"newmtl m\n{statement}\n")
    assert found is not None and not notes
    wanted = torch.tensor(decoded(np.array([200, 100, 50]) / 255)).float()
    assert torch.allclose(found, wanted.expand_as(found), atol=1e-6)


def test_names_that_are_no_utf8(tmp_path: Path):
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "bo\xeete.png")
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    found, notes = colors(tmp_path, text, b"newmtl m\nmap_Kd bo\xeete.png\n")
    assert found is not None and torch.allclose(found, torch.ones(1)) and not notes


def test_scale_and_offset_of_a_texture(tmp_path: Path):
    # Four stripes; a quarter of the texture, from the second stripe on.
    stripes = np.repeat(np.array([[0, 255, 0, 255]], np.uint8), 4, 0)
    Image.fromarray(np.repeat(stripes[..., None], 3, -1).repeat(16, 0).repeat(16, 1)).save(
        tmp_path / "stripes.png"
    )
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    found, _ = colors(tmp_path, text, "newmtl m\nmap_Kd -s 0.1 1 -o 0.3 stripes.png\n")
    assert found is not None and torch.allclose(found, torch.ones(1))
    found, _ = colors(tmp_path, text, "newmtl m\nmap_Kd -s 0.1 1 -o 0.55 stripes.png\n")
    assert found is not None and torch.allclose(found, torch.zeros(1))


@pytest.mark.parametrize(
    ("mtl", "wanted"),
    [
        ("Kd 0.5 0.25 1", [0.5, 0.25, 1]),
        ("kd 0.5", [0.5, 0.5, 0.5]),
        ("Kd 0.5 0.5 0.5\nmap_Kd white.png", [0.5, 0.5, 0.5]),
        ("Kd 0 0 0\nmap_Kd white.png", [1, 1, 1]),
        ("map_Kd white.png", [1, 1, 1]),
        ("Ka 1 1 1\nKs 1 1 1\nmap_Ks white.png", None),
        ("Kd spectral a.rfl", None),
    ],
)
def test_colours_of_a_material(mtl: str, wanted: list[float] | None, tmp_path: Path):
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "white.png")
    text = MAPPED + "mtllib mesh.mtl\nusemtl m 1\nf 1/1 2/2 3/3 4/4\n"
    found, notes = colors(tmp_path, text, f"newmtl m 1\n{mtl}\n")
    assert not notes
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        want = torch.tensor(decoded(np.array(wanted))).float()
        assert torch.allclose(found, want.expand_as(found), atol=1e-6)


@pytest.mark.parametrize(
    ("use", "mtl", "said"),
    [
        ("usemtl m", None, ["its materials 'mesh.mtl' are not in", "defines its material 'm'"]),
        ("usemtl x", "newmtl m\nKd 1 1 1", ["no file defines its material 'x': no colour"]),
        ("", "newmtl m\nKd 1 1 1", []),
        ("usemtl m", "newmtl m\nKd 1 1 1\nmap_Kd a.png", ["its texture 'a.png' is not in"]),
        ("usemtl m", "newmtl m\nmap_Kd -mm 0.5 1 a.png", ["'a.png' has the option -mm"]),
        ("usemtl m", "newmtl m\nmap_Kd out.png", ["its texture 'out.png' is not in"]),
        ("usemtl m", "newmtl m\nmap_Kd pipe.png", ["its texture 'pipe.png' is not in"]),
    ],
)
def test_no_colour_is_no_colour(use: str, mtl: str | None, said: list[str], tmp_path: Path):
    import os

    folder = tmp_path / "model"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (folder / "out.png").symlink_to(tmp_path / "a.png")
    os.mkfifo(folder / "pipe.png")
    found, notes = colors(folder, MAPPED + f"mtllib mesh.mtl\n{use}\nf 1/1 2/2 3/3 4/4\n", mtl)
    assert found is None
    assert len(notes) == len(said)
    for note, part in zip(notes, said, strict=True):
        assert part in note and note.startswith("mesh.obj: ")


def test_faces_without_texture_coordinates_have_no_colour(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    text = MAPPED + "v 2 0 0\nmtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\nf 2 5 3\n"
    found, notes = colors(tmp_path, text, "newmtl m\nKd 1 1 1\nmap_Kd a.png\n")
    assert found is not None and 0 < int(found.isnan().any(1).sum()) < len(found)
    assert notes == [
        "mesh.obj: 1 triangles of the material 'm' have no texture coordinates, and so no colour."
    ]


def test_vertex_colours_up_to_255_and_of_some_vertices(tmp_path: Path):
    text = "v 0 0 0 255 0 0\nv 1 0 0 255 0 0\nv 0 1 0 255 0 0\nf 1 2 3\nv 5 5 5\nf 1 2 4\n"
    found, _ = colors(tmp_path, text, None)
    assert found is not None
    assert found[:3].tolist() == [[1, 0, 0]] * 3 and bool(found[3].isnan().all())


def test_vertex_colours_that_rounding_put_above_1(tmp_path: Path):
    text = "v 0 0 0 1.0000001 1 0\nv 1 0 0 1 1 0\nv 0 1 0 1 1 0\nf 1 2 3\n"
    found, _ = colors(tmp_path, text, None)
    wanted = torch.tensor([1.0, 1, 0])
    assert found is not None and torch.allclose(found, wanted.expand_as(found), atol=1e-6)


def test_materials_beside_vertex_colours_of_other_parts(tmp_path: Path):
    text = "v 0 0 0 0 1 0\nv 1 0 0 0 1 0\nv 0 1 0 0 1 0\nf 1 2 3\nv 5 0 0\nv 6 0 0\nv 5 1 0\n"
    text += "mtllib mesh.mtl\nusemtl red\nf 4 5 6\n"
    found, notes = colors(tmp_path, text, "newmtl red\nKd 1 0 0\n")
    assert found is not None and not notes
    assert found.tolist() == [[0, 1, 0]] * 3 + [[1, 0, 0]] * 3


@pytest.mark.parametrize("picture", ["none.png", "a.png"])
def test_vertex_colours_do_not_stand_in_for_a_texture(picture: str, tmp_path: Path):
    # The texture is missing, or texture coordinates for it are.
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    text = "v 0 0 0 0 1 0\nv 1 0 0 0 1 0\nv 0 1 0 0 1 0\nmtllib mesh.mtl\nusemtl m\nf 1 2 3\n"
    found, notes = colors(tmp_path, text, f"newmtl m\nmap_Kd {picture}\n")
    assert found is None
    assert len(notes) == 1 and "no colour" in notes[0]


def test_usemtl_without_a_name_ends_the_material(tmp_path: Path):
    text = QUAD + "mtllib mesh.mtl\nusemtl red\nf 1 2 3\nusemtl\nf 1 3 4\n"
    found, notes = colors(tmp_path, text, "newmtl red\nKd 1 0 0\n")
    mesh = load_colored_mesh(tmp_path / "mesh.obj", 1.0, 100)[0]
    assert found is not None and not notes
    # Corners of the second triangle are nearer to the corner at (0, 1).
    second = mesh.vertices[mesh.faces.long()].mean(1) @ torch.tensor([-1.0, 1, 0]) > 0
    of_face = found[mesh.faces.long()]
    assert torch.equal(of_face[~second], torch.tensor([1.0, 0, 0]).expand_as(of_face[~second]))
    assert bool(of_face[second].isnan().all())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # Of libraries in one line the first counts; of several lines the last before.
        ("mtllib a.mtl b.mtl\nusemtl m\nf 1 2 3\nf 1 3 4\n", ["red", "red"]),
        ("mtllib a.mtl\nmtllib b.mtl\nusemtl m\nf 1 2 3\nf 1 3 4\n", ["blue", "blue"]),
        (
            "mtllib a.mtl\nusemtl m\nf 1 2 3\nmtllib b.mtl\nusemtl m\nf 1 3 4\n",
            ["red", "blue"],
        ),
        (
            "mtllib b.mtl\nusemtl m\nf 1 2 3\nmtllib none.mtl\nusemtl m\nf 1 3 4\n",
            ["blue", "blue"],
        ),
    ],
)
def test_materials_of_one_name_in_two_libraries(text: str, wanted: list[str], tmp_path: Path):
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 1 0 0\n")
    (tmp_path / "b.mtl").write_text("newmtl m\nKd 0 0 1\n")
    found, _ = colors(tmp_path, QUAD + text, None)
    mesh = load_colored_mesh(tmp_path / "mesh.obj", 1.0, 100)[0]
    assert found is not None
    second = mesh.vertices[mesh.faces.long()].mean(1) @ torch.tensor([-1.0, 1, 0]) > 0
    for side, name in zip((~second, second), wanted, strict=True):
        color = torch.tensor([1.0, 0, 0] if name == "red" else [0.0, 0, 1])
        of_face = found[mesh.faces[side].long()]
        assert torch.equal(of_face, color.expand_as(of_face))


def test_what_is_lacking_is_said_once(tmp_path: Path):
    text = QUAD + "mtllib a.mtl\nusemtl m\nf 1 2 3\nmtllib a.mtl\nusemtl m\nf 1 3 4\n"
    _, notes = colors(tmp_path, text, None)
    assert len(notes) == 2 and "'a.mtl' are not in" in notes[0] and "material 'm'" in notes[1]


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0\n", b"", b"\x89PNG\r\n\x1a\n"])
def test_a_texture_that_is_no_image(content: bytes, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(content)
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    with pytest.raises(
        ValueError, match=r"mesh\.obj: its texture 'a\.png' cannot be read .*save it"
    ):
        colors(tmp_path, text, "newmtl m\nmap_Kd a.png\n")


def test_a_bad_material_names_its_line(tmp_path: Path):
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    for level in ("nan 0 0", "2 0 0", "red"):
        with pytest.raises(ValueError, match=r"mesh\.obj .*line 2 of mesh\.mtl has .* as Kd"):
            colors(tmp_path, text, f"newmtl m\nKd {level}\n")


def test_many_libraries_in_a_line(tmp_path: Path):
    (tmp_path / "a.mtl").write_text("newmtl a\nKd 1 1 1\n")
    (tmp_path / "b c.mtl").write_text("newmtl b\nKd 1 1 1\n")
    text = QUAD + "mtllib a.mtl no.mtl\nmtllib b c.mtl\nusemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\n"
    found, notes = colors(tmp_path, text, None)
    assert found is not None and torch.allclose(found, torch.ones(1))
    assert len(notes) == 1 and "'no.mtl'" in notes[0]


def test_blender_writes_linear_colours(tmp_path: Path):
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1 2 3 4\n"
    for first in ("# Blender 3.4.1 MTL File: 'a.blend'", "# Blender MTL File: 'None'"):
        found, _ = colors(tmp_path, text, f"{first}\nnewmtl m\nKd 0.5 0.25 1\n")
        assert found is not None
        assert torch.allclose(found, torch.tensor([0.5, 0.25, 1]).expand_as(found))


def test_textures_of_other_modes_and_too_large_ones(tmp_path: Path, monkeypatch):
    text = MAPPED + "mtllib mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    grey = float(decoded(np.array(128 / 255)))
    for mode, level in (
        ("L", 128),
        ("LA", (128, 9)),
        ("RGBA", (128, 128, 128, 0)),
        ("I;16", 32896),
    ):
        Image.new(mode, (4, 4), level).save(tmp_path / "a.png")
        found, _ = colors(tmp_path, text, "newmtl m\nmap_Kd a.png\n")
        assert found is not None and torch.allclose(found, torch.tensor(grey), atol=1e-4), mode
    for mode in ("F", "I"):  # black, if read as levels of 8 bits
        Image.new(mode, (4, 4), 1).save(tmp_path / "a.tif")
        with pytest.raises(
            ValueError, match=r"expected 8 or 16 bits .* remove it from the model\.$"
        ):
            colors(tmp_path, text, "newmtl m\nmap_Kd a.tif\n")
    Image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    monkeypatch.setattr("invgraph.files.opening.available_bytes", lambda: 64 * 80_000_000)
    with pytest.raises(ValueError, match=r"a\.png' cannot be read \(.*9000x9000 .*80\.0 million"):
        colors(tmp_path, text, "newmtl m\nmap_Kd a.png\n")
    assert len(load_mesh(tmp_path / "mesh.obj").faces) == 2


def test_textures_are_sought_beside_the_material_too(tmp_path: Path):
    (tmp_path / "looks").mkdir()
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "looks" / "a.png")
    (tmp_path / "looks" / "mesh.mtl").write_text("newmtl m\nmap_Kd a.png\n")
    text = MAPPED + "mtllib looks\\Mesh.mtl\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    found, notes = colors(tmp_path, text, None)
    assert found is not None and torch.allclose(found, torch.ones(1)) and not notes
