"""Mesh files: what was saved comes back, what is broken is refused."""

import struct
from dataclasses import replace

import pytest
import torch
from known_meshes import FOLD

from invgraph.geometry import mesh as meshes
from invgraph.geometry import primitives
from invgraph.geometry.mesh import Mesh
from invgraph.scene.mesh_files import load_colored_mesh, load_mesh, save_mesh, split_seams


def surface_points(mesh: Mesh) -> torch.Tensor:
    """Every corner's position and texture coordinate, sorted."""
    columns = [mesh.vertices[mesh.faces.long()].reshape(-1, 3)]
    if mesh.uv is not None:
        columns.append(mesh.uv[mesh.texture_faces.long()].reshape(-1, 2))
    rows = torch.cat(columns, -1).double().mul(1e4).round()
    return torch.unique(rows, dim=0)


@pytest.mark.parametrize("ending", ["obj", "ply", "stl", "off", "glb"])
def test_files_round_trip(ending, tmp_path):
    mesh = primitives.cube()
    path = tmp_path / "new" / f"cube.{ending}"
    save_mesh(mesh, path)
    back = load_mesh(path)
    meshes.check_indices(back)
    assert back.vertices.dtype == torch.float32 and back.faces.dtype == torch.int32
    assert len(back.faces) == 12
    assert float(meshes.volume(back)) == pytest.approx(8)
    if ending in ("obj", "glb"):
        assert back.uv is not None
        assert torch.equal(surface_points(back), surface_points(mesh))
    if ending == "stl":
        assert len(back.vertices) == 8
    notes = []
    assert load_colored_mesh(path, 0.1, 1000, notes)[1] is None and not notes
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_splitting_seams_keeps_the_surface():
    mesh = primitives.uv_sphere(6, 8)
    split, old = split_seams(mesh)
    assert split.uv_faces is None and split.uv is not None
    assert len(split.vertices) == len(old) > len(mesh.vertices)
    assert torch.equal(split.vertices, mesh.vertices[old])
    assert torch.equal(surface_points(split), surface_points(mesh))


@pytest.mark.parametrize("ending", ["obj", "ply", "stl", "off", "glb", "gltf"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe rubbish \x00" * 9, b'{"meshes": [{"a"'])
def test_broken_files_are_refused_in_one_line(ending, content, tmp_path):
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a readable mesh|holds no triangles") as caught:
        load_mesh(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist or is not a file"):
        load_mesh(tmp_path / "no.obj")
    with pytest.raises(ValueError, match=r"is not a mesh file this reads; use one of .glb"):
        load_mesh(tmp_path / "mesh.pkl")
    with pytest.raises(ValueError, match=r"is not a mesh file this writes; use one of .glb"):
        save_mesh(FOLD, tmp_path / "mesh.fbx")
    with pytest.raises(ValueError, match="has no triangles"):
        save_mesh(replace(FOLD, faces=FOLD.faces[:0]), tmp_path / "mesh.obj")
    with pytest.raises(ValueError, match="has batch axes"):
        save_mesh(replace(FOLD, vertices=FOLD.vertices[None]), tmp_path / "mesh.obj")
    assert not list(tmp_path.iterdir())


def test_files_with_wild_indices_or_numbers_are_refused(tmp_path):
    path = tmp_path / "wild.off"
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n")
    with pytest.raises(ValueError, match=r"is not a readable mesh|is not a valid mesh"):
        load_mesh(path)
    path.write_text("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n")
    with pytest.raises(ValueError, match=r"not finite|is not a readable mesh"):
        load_mesh(path)
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 0 1\n")
    with pytest.raises(ValueError, match=r"wild\.off holds no triangle with an area"):
        load_mesh(path)


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", 1.0),
        ("OFF 4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 0.1 0.2 0.3\n3 0 1 2 7\n", 1.5),
        ("# a\nOFF # b\n\n4 1 0\n0 0 0\n4 1 0\n1 1 0 # c\n1 4 0\n4 0 1 2 3\n", 3.0),
        ("COFF\n3 1\n0 0 0 255 0 0 255\n1 0 0 9 9 9 9\n0 1 0 0 0 0 0\n3 0 1 2\n", 0.5),
        ("OFF\n4\n1\n0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", 1.0),
        ("OFF 4\n1 0 # b\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", 1.0),
        ("OFF\n3 1\n0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", 0.5),
        ("\ufeffOFF\n# \u00c5 4 1\n3 1 0\n0 0 0 # \u00c5 9\n1 0 0\n0 1 0\n3 0 1 2\n", 0.5),
        ("NOFF\n3 1\n0 0 0 0 0 1\n1 0 0 0 0 1\n0 1 0 0 0 1\n3 0 1 2\n", 0.5),
    ],
)
def test_off_files_as_programs_write_them(text, area, tmp_path):
    (tmp_path / "mesh.off").write_bytes(text.encode() + b"# fa\xe7ade\n")
    mesh = load_mesh(tmp_path / "mesh.off")
    assert float(meshes.face_areas(mesh).sum()) == pytest.approx(area)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("4OFF\n1 1\n", "it begins with '4OFF', expected OFF"),
        ("OFF\nthree 1\n", "it does not say how many vertices and faces there are"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n", "it is cut off"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "a face is '4 0 1 2', expected 4 indices"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "indices from 0 to 3, but there are 3"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n", "indices from -1 to 1"),
        ("OFF\n99999999999 1 0\n", "it is cut off"),
        ("OFF\n3 1 0\n0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "is not a readable mesh"),
    ],
)
def test_damaged_off_files(text, reason, tmp_path):
    (tmp_path / "mesh.off").write_text(text)
    with pytest.raises(ValueError, match=r"mesh\.off is not a readable mesh") as caught:
        load_mesh(tmp_path / "mesh.off")
    assert reason in str(caught.value)


def test_stl_texts_with_names_that_are_no_ascii(tmp_path):
    corners = "vertex {} 0 0\nvertex 1 0 0\nvertex 0 1 -0\n"
    facet = f"facet normal 0 0 1\nouter loop\n{corners}endloop\nendfacet\n"
    text = "".join(
        f"solid {name}\n{facet.format(x)}endsolid {name}\n" for name, x in (("façade", 0), ("b", 2))
    )
    (tmp_path / "mesh.stl").write_bytes(text.encode("latin-1"))
    mesh = load_mesh(tmp_path / "mesh.stl")
    assert len(mesh.vertices) == 4 and len(mesh.faces) == 2
    assert float(meshes.face_areas(mesh).sum()) == pytest.approx(1)


def test_stl_files_of_another_length(tmp_path):
    path = tmp_path / "mesh.stl"
    data = (
        bytes(80)
        + struct.pack("<I", 1)
        + struct.pack("<12fH", *[0, 0, 1, 1], *[0] * 4, 1, *[0] * 4)
    )
    path.write_bytes(data)
    assert len(load_mesh(path).faces) == 1
    for other in (data[:-1], data + b"\0\0", data[:80] + b"\2" + data[81:]):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=rf"it has {len(other)} bytes, but \d+ by the triang"):
            load_mesh(path)
    for start, end in (("", "\r"), ("\n", "\r\n"), ("\ufeff", "\n")):
        path.write_bytes((start + STL.format(0)).replace("\n", end).encode())
        assert len(load_mesh(path).faces) == 2


PLACE = torch.tensor([500000.123, 5400000.456, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("ending", ["obj", "off"])
def test_large_coordinates_keep_their_shape(ending, tmp_path):
    cube = primitives.cube()
    far = Mesh(cube.vertices.double() + PLACE, cube.faces)
    save_mesh(far, tmp_path / f"far.{ending}")
    mesh = load_mesh(tmp_path / f"far.{ending}")
    assert mesh.vertices.dtype == torch.float64
    assert float(meshes.face_areas(mesh).sum()) == pytest.approx(24, abs=1e-5)
    assert torch.allclose(mesh.vertices.mean(0), PLACE, atol=1e-5, rtol=0)
    near = Mesh(cube.vertices + 100, cube.faces)
    save_mesh(near, tmp_path / f"near.{ending}")
    assert load_mesh(tmp_path / f"near.{ending}").vertices.dtype == torch.float32


@pytest.mark.parametrize("ending", ["ply", "stl", "glb"])
def test_large_coordinates_are_not_written_as_float32(ending, tmp_path):
    cube = primitives.cube()
    with pytest.raises(ValueError, match=rf"far\.{ending}: the mesh is so far from its origin"):
        save_mesh(Mesh(cube.vertices.double() + PLACE, cube.faces), tmp_path / f"far.{ending}")
    assert not list(tmp_path.iterdir())
    save_mesh(Mesh(cube.vertices.double(), cube.faces), tmp_path / f"near.{ending}")


def test_recorded_meshes_load(data_dir):
    for path in sorted(data_dir("meshes").rglob("*.obj")):
        mesh = load_mesh(path)
        assert mesh.uv is not None and float(meshes.volume(mesh)) > 0


STL = """solid a
facet normal 0 0 1
outer loop
vertex 0 0 {}
vertex 1 0 0
vertex 0 1 0
endloop
endfacet
facet normal 0 0 1
outer loop
vertex 1 0 0
vertex 1 1 0
vertex 0 1 0
endloop
endfacet
endsolid a
"""


def test_vertices_that_are_no_numbers_are_not_left_out_in_silence(tmp_path):
    path = tmp_path / "a.stl"
    path.write_text(STL.format(0))
    assert load_mesh(path).vertices.shape == (4, 3) and load_mesh(path).faces.shape == (2, 3)
    for number in ("nan", "inf", "1e300"):
        path.write_text(STL.format(number))
        obj = tmp_path / "a.obj"
        obj.write_text(f"v 0 0 {number}\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n")
        for file in (path, obj):
            for load in (load_mesh, lambda file: load_colored_mesh(file, 0.1, 100)):
                with pytest.raises(ValueError, match=r"a\.\w+ holds vertices that are not finite"):
                    load(file)


def test_texture_coordinates_that_are_none(tmp_path):
    path = tmp_path / "a.obj"
    lines = ["vt nan 0", "vt 1 0", "vt 1 1"]
    path.write_text("\n".join(["v 0 0 0", "v 1 0 0", "v 0 1 0", *lines, "f 1/1 2/2 3/3", ""]))
    for load in (load_mesh, lambda file: load_colored_mesh(file, 0.1, 100)):
        with pytest.raises(ValueError, match=r"a\.obj.* texture coordinates that are not"):
            load(path)
