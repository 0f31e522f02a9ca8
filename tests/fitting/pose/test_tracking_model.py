"""Reading what is tracked: units, colours, and meshes as they are found in the wild."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from tracking_scenes import box
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from invgraph.fitting.pose import load_object, make_object
from invgraph.fitting.pose.color_model import initial_color_model
from invgraph.fitting.pose.known_object import FINE, LEARNT
from invgraph.fitting.pose.window import Target
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import linear_from_srgb
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.primitives import icosphere
from invgraph.geometry.subdivision import split_finely, subdivide
from invgraph.scene.mesh_files import load_colored_mesh, save_mesh

EYE = torch.eye(4)


def edges(mesh: Mesh) -> torch.Tensor:
    corners = mesh.vertices[mesh.faces.long()]
    return (corners - corners.roll(1, 1)).norm(dim=-1)


def test_a_box_in_metres(tmp_path: Path):
    save_mesh(box(0.1), tmp_path / "box.ply")
    model = load_object(tmp_path / "box.ply")
    assert model.name == "box" and model.albedo is None
    assert model.diameter == pytest.approx(0.1 * math.sqrt(3), rel=1e-5)
    assert torch.allclose(model.centre, torch.zeros(3), atol=1e-6)
    assert float(edges(model.mesh).max()) <= LEARNT * model.diameter
    assert ((model.normals * model.mesh.vertices).sum(1) > 0).all()
    assert torch.equal(model.sides[:, 0] == model.sides[:, 1], torch.zeros(len(model.sides)) > 0)
    # Every edge once: 3 per 2 faces where nothing is open.
    assert 2 * len(model.rims) == 3 * len(model.mesh.faces)
    # The places are spread: nothing is farther from all of them than they are from each other.
    apart = torch.cdist(model.places, model.places) + torch.eye(len(model.places))
    uncovered = torch.cdist(model.mesh.vertices, model.places).amin(1).max()
    assert 0.01 < float(uncovered) <= float(apart.min()) + 1e-6


def test_millimetres_are_refused_and_mended_by_the_scale(tmp_path: Path):
    save_mesh(box(100.0), tmp_path / "box.stl")
    with pytest.raises(ValueError, match=r"173.2 m across.*0.001 for millimetres \(--object-scale"):
        load_object(tmp_path / "box.stl")
    model = load_object(tmp_path / "box.stl", 0.001)
    assert model.diameter == pytest.approx(0.1 * math.sqrt(3), rel=1e-5)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_scales_that_are_none_are_refused(scale: float, tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"expected a positive scale, metres per unit of .* but got"
    ):
        load_object(tmp_path / "box.ply", scale)


@pytest.mark.parametrize("back", ["red", "blue"])
def test_a_card_whose_sides_differ_is_said(back: str, tmp_path: Path):
    text = "v 0 0 0\nv 0.1 0 0\nv 0.1 0.1 0\nv 0 0.1 0\nmtllib card.mtl\n"
    text += f"usemtl red\nf 1 2 3 4\nusemtl {back}\nf 4 3 2 1\n"
    (tmp_path / "card.obj").write_text(text)
    (tmp_path / "card.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    notes = load_object(tmp_path / "card.obj").notes
    assert [note.split(":")[0] for note in notes] == ["card.obj"] * (back == "blue")
    assert all("back to back, and their colours are mixed" in note for note in notes)
    # Colours that meet at edges are another matter.
    (tmp_path / "card.obj").write_text(text.replace("f 4 3 2 1", "v 0 0 0.1\nf 1 4 5\nf 1 5 2"))
    assert load_object(tmp_path / "card.obj").notes == ()


def test_holes_are_rims(tmp_path: Path):
    whole = box(0.1)
    save_mesh(Mesh(whole.vertices, whole.faces[2:]), tmp_path / "open.off")
    model = load_object(tmp_path / "open.off")
    border = model.sides[:, 0] == model.sides[:, 1]
    ends = model.mesh.vertices[model.rims[border]]
    length = (ends[:, 0] - ends[:, 1]).norm(dim=1).sum()
    assert float(length) == pytest.approx(4 * 0.1, rel=1e-4)


def test_a_file_without_normals_gets_them(tmp_path: Path):
    (tmp_path / "one.obj").write_text("v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n")
    model = load_object(tmp_path / "one.obj")
    assert torch.allclose(model.normals, torch.tensor([0.0, 0.0, 1.0]))
    assert (model.sides[:, 0] == model.sides[:, 1]).any()


def test_a_large_flat_sheet(tmp_path: Path):
    sheet = Mesh(
        torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [0.3, 0.4, 0], [0, 0.4, 0]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
    )
    for _ in range(6):
        sheet = subdivide(sheet)
    assert len(sheet.vertices) > 2000  # its hull has no volume
    save_mesh(sheet, tmp_path / "sheet.ply")
    assert load_object(tmp_path / "sheet.ply").diameter == pytest.approx(0.5, rel=1e-3)


def test_a_point_is_no_model(tmp_path: Path):
    (tmp_path / "dot.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    with pytest.raises(ValueError, match=r"dot\.obj holds no triangle with an area"):
        load_object(tmp_path / "dot.obj")
    dot = Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]], dtype=torch.int32))
    with pytest.raises(ValueError, match="dot: all vertices are at one place; export the model"):
        make_object(dot, None, "dot")


def test_vertices_that_are_not_finite(tmp_path: Path):
    (tmp_path / "bad.obj").write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(
        ValueError,
        match=r"bad\.obj holds vertices that are not finite, 1 of 3; remove them, or exp",
    ):
        load_object(tmp_path / "bad.obj")


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("none.ply", None, "does not exist"),
        ("box.txt", "", "is not a mesh file this reads"),
        ("box.ply", "nonsense", "is not a readable mesh"),
        ("dots.obj", "v 0 0 0\n", "holds no triangles|not a readable mesh"),
    ],
)
def test_files_that_are_no_model(name: str, text: str | None, reason: str, tmp_path: Path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name} .*({reason})"):
        load_object(tmp_path / name)


def test_texture_is_sampled_after_splitting(tmp_path: Path):
    # Red left of u = 1/4, blue right of it; a single quad, v up.
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :16, 0], picture[:, 16:, 2], picture[:8, :, 1] = 200, 100, 255
    Image.fromarray(picture).save(tmp_path / "quad.png")
    (tmp_path / "quad.mtl").write_text("newmtl m\nmap_Kd quad.png\n")
    (tmp_path / "quad.obj").write_text(
        "mtllib quad.mtl\nusemtl m\nv 0 0 0\nv 0.4 0 0\nv 0.4 0.2 0\nv 0 0.2 0\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    model = load_object(tmp_path / "quad.obj")
    assert model.albedo is not None and float(edges(model.mesh).max()) < 0.4 / 60
    x, y, _ = model.mesh.vertices.unbind(1)
    red, blue = linear_from_srgb(torch.tensor([200 / 255, 100 / 255]))
    left, right = x < 0.09, x > 0.11
    assert torch.allclose(model.albedo[left, 0], red) and not model.albedo[right, 0].any()
    assert torch.allclose(model.albedo[right, 2], blue) and not model.albedo[left, 2].any()
    top, below = y > 0.16, y < 0.14
    assert torch.allclose(model.albedo[top, 1], torch.ones(1)) and not model.albedo[below, 1].any()


def test_base_colour_of_a_material(tmp_path: Path):
    part: Any = trimesh.creation.box((0.1, 0.1, 0.1))
    part.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[204, 51, 102, 255]))
    part.export(tmp_path / "one.glb")
    albedo = load_object(tmp_path / "one.glb").albedo
    # glTF's factors are linear already.
    assert albedo is not None
    assert torch.allclose(albedo, torch.tensor([0.8, 0.2, 0.4]), atol=1e-3)


def test_colours_of_vertices(tmp_path: Path):
    part: Any = trimesh.creation.box((0.1, 0.1, 0.1))
    upper = part.vertices[:, 2] > 0
    part.visual.vertex_colors = np.where(upper[:, None], [255, 0, 0, 255], [0, 128, 0, 255])
    part.export(tmp_path / "two.ply")
    model = load_object(tmp_path / "two.ply")
    assert model.albedo is not None and len(model.albedo) == len(model.mesh.vertices)
    green = float(linear_from_srgb(torch.tensor([128 / 255]))[0])
    for vertex, color in zip(model.mesh.vertices, model.albedo, strict=True):
        wanted = torch.tensor([1.0, 0, 0] if vertex[2] > 0 else [0, green, 0])
        assert torch.allclose(color, wanted, atol=1e-4)


def painted_and_bare(folder: Path, bare_size: float) -> Path:
    """A white box, and one without colour beside it."""
    painted: Any = trimesh.creation.box((0.1, 0.1, 0.1))
    bare = trimesh.creation.box((bare_size,) * 3)
    painted.visual.vertex_colors = np.tile([255, 255, 255, 255], (8, 1))
    bare.apply_translation((0.5, 0.0, 0.0))
    trimesh.Scene([painted, bare]).export(folder / "pair.glb")
    return folder / "pair.glb"


def test_parts_without_colours_have_none_next_to_parts_with(tmp_path: Path):
    mesh, color = load_colored_mesh(painted_and_bare(tmp_path, 0.1), FINE, 1000)
    assert color is not None
    white = mesh.vertices[:, 0] < 0.25
    assert torch.allclose(color[white], torch.ones(1))
    assert bool(color[~white].isnan().all())
    ends = white[mesh.faces.long()].sum(1)
    assert int((ends == 3).sum()) == int((ends == 0).sum()) == 12


def test_a_smaller_part_without_colours_is_guessed_and_learnt(tmp_path: Path):
    model = load_object(painted_and_bare(tmp_path, 0.05))
    assert model.albedo is not None and torch.allclose(model.albedo, torch.ones(1))
    assert torch.equal(model.given, model.mesh.vertices[:, 0] < 0.25)
    assert model.notes == ("pair.glb: where it has no colour, colours are learnt from the photos.",)
    camera = Camera(Lens(torch.tensor([100.0, 100.0]), torch.tensor([32.0, 32.0]), 64, 64), EYE)
    known = initial_color_model(model, Target(torch.full((64, 64, 3), 0.2), camera), None)
    assert torch.equal(known.vertex_colors.seen.isinf(), model.given)
    # What a photo shows of the guessed vertices is learnt; given colours stay.
    every = torch.arange(len(model.given))
    seen = torch.full((len(every), 3), 0.3)
    learnt = known.vertex_colors.learn(every, seen, torch.ones(len(every), 3))
    assert torch.allclose(learnt.albedo[~model.given], torch.tensor(0.3))
    assert torch.equal(learnt.albedo[model.given], model.albedo[model.given])


def test_a_larger_part_without_colours_makes_the_object_one_without(tmp_path: Path):
    model = load_object(painted_and_bare(tmp_path, 0.2))
    assert model.albedo is None and not model.given.any()
    assert model.notes == (
        "pair.glb: most of it has no colour, so colours are learnt from the photos.",
    )


@pytest.mark.parametrize("mtl", [None, "newmtl other\nKd 1 0 0\n", "newmtl m\nmap_Kd no.png\n"])
def test_a_missing_material_or_texture_is_said_and_no_colour(mtl: str | None, tmp_path: Path):
    if mtl is not None:
        (tmp_path / "one.mtl").write_text(mtl)
    (tmp_path / "one.obj").write_text(
        "mtllib one.mtl\nusemtl m\nv 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nvt 0 0\nf 1/1 2/1 3/1\n"
    )
    model = load_object(tmp_path / "one.obj")
    assert model.albedo is None
    named = "one.mtl" if mtl is None else "no.png" if "no.png" in mtl else "'m'"
    assert any(named in note for note in model.notes)


def test_an_object_far_from_its_origin_keeps_its_shape(tmp_path: Path):
    place = torch.tensor([500000.123, 5400000.456, 0.0], dtype=torch.float64)
    corners = box(2.0).vertices.double() + place
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in corners.tolist()]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in box(2.0).faces.tolist()]
    (tmp_path / "far.obj").write_text("\n".join(lines))
    model = load_object(tmp_path / "far.obj")
    assert model.mesh.vertices.dtype == torch.float32
    assert model.diameter == pytest.approx(2 * math.sqrt(3), rel=1e-5)
    assert torch.allclose(model.centre, torch.tensor([0.123, 0.456, 0.0]), atol=1e-4)
    [note] = model.notes
    assert "moved by (-500000, -5400000, 0) m" in note
    scaled = load_object(tmp_path / "far.obj", 0.001)
    assert scaled.diameter == pytest.approx(0.002 * math.sqrt(3), rel=1e-4)


def test_seams_are_closed_and_their_colours_averaged():
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [4, 3, 5]], dtype=torch.int32)
    color = torch.arange(6.0)[:, None].expand(6, 3).contiguous()
    model = make_object(Mesh(corners, faces), color, "pair")
    assert len(model.mesh.vertices) == 4 and model.albedo is not None
    assert sorted(model.albedo[:, 0].tolist()) == [0, 2, 3, 5]
    assert int((model.sides[:, 0] != model.sides[:, 1]).sum()) == 1


def test_splitting_stops_at_the_length_or_at_the_number():
    whole = box(0.1)
    fine = split_finely(whole, 0.03, 1_000_000)
    assert len(fine.faces) == 12 * 4**3 and float(edges(fine).max()) <= 0.03
    assert len(split_finely(whole, 1e-4, 12 * 16 + 1).faces) == 12 * 16


@pytest.mark.slow
def test_a_million_faces(tmp_path: Path):
    ball = icosphere(8)
    trimesh.Trimesh(0.1 * ball.vertices.numpy(), ball.faces.numpy(), process=False).export(
        tmp_path / "ball.ply"
    )
    began = time.process_time()
    model = load_object(tmp_path / "ball.ply")
    assert time.process_time() - began < 60
    assert len(model.mesh.faces) == 20 * 4**8
    assert model.diameter == pytest.approx(0.2, rel=1e-3)


def test_an_object_is_painted_all_over_or_not_at_all(tmp_path: Path):
    model = load_object(painted_and_bare(tmp_path, 0.05))
    assert model.one_color and not bool(model.given.all())
    red = torch.tensor([0.8, 0.0, 0.0]).expand(len(model.given), 3)
    assert bool(model.painted(red).given.all()) and model.painted(red).one_color
    blue_too = red.clone()
    blue_too[0] = torch.tensor([0.0, 0.0, 0.8])
    assert not model.painted(blue_too).one_color
    bare = model.painted(None)
    assert bare.albedo is None and not bool(bare.given.any()) and not bare.one_color
    with pytest.raises(ValueError, match="which colours of albedo are known"):
        replace(bare, albedo=red)
