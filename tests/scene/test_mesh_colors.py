"""Every kind of mesh file and of colour against the numbers that the file was written from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mesh_writers import QUADS, Box, box_gltf, colors_at, decoded, write_obj, write_ply

from invgraph.geometry import transforms
from invgraph.geometry.mesh import Mesh, face_areas, volume
from invgraph.geometry.primitives import icosphere
from invgraph.scene import Material, Object, Scene
from invgraph.scene.material import ParameterKind
from invgraph.scene.mesh_files import load_colored_mesh, load_mesh, save_mesh
from invgraph.scene.scene_files import save_scene

KINDS = [
    *(("obj", style) for style in ("faces", "vertices", "factor", "texture", "texture*factor")),
    *(
        (order, style)
        for order in ("ascii", "binary_little_endian", "binary_big_endian")
        for style in ("faces", "vertices", "texture")
    ),
    *(
        (ending, style)
        for ending in ("glb", "gltf")
        for style in ("faces", "vertices", "factor", "texture", "texture*factor*vertices")
    ),
]


def check_shape(mesh: Mesh, box: Box) -> None:
    """Area, extent and which side is outside."""
    assert float(face_areas(mesh).sum()) == pytest.approx(box.area, rel=1e-5)
    low, high = mesh.vertices.amin(0).numpy(), mesh.vertices.amax(0).numpy()
    np.testing.assert_allclose(low, box.vertices.min(0), atol=1e-5)
    np.testing.assert_allclose(high, box.vertices.max(0), atol=1e-5)
    assert float(volume(mesh)) == pytest.approx(np.prod(np.ptp(box.vertices, axis=0)), rel=1e-4)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("kind", "style"), KINDS)
def test_shape_and_colours_are_those_that_were_written(
    kind: str, style: str, seed: int, tmp_path: Path
):
    box = Box.random(seed)
    if kind == "obj":
        path = tmp_path / "box.obj"
        write_obj(box, style, path)
    elif kind in ("glb", "gltf"):
        path = tmp_path / f"box.{kind}"
        box_gltf(box, style, tmp_path).write(path)
    else:
        path = tmp_path / "box.ply"
        write_ply(box, style, path, kind)
    check_shape(load_mesh(path), box)
    notes: list[str] = []
    mesh, colors = load_colored_mesh(path, 1 / 30, 50_000, notes)
    check_shape(mesh, box)
    assert colors is not None and not notes
    points, wanted = box.points(style)
    np.testing.assert_allclose(colors_at(mesh, colors, points), wanted, atol=0.01)


@pytest.mark.parametrize("ending", ["off", "stl", "ply", "obj", "glb"])
def test_shapes_without_colours_have_none(ending: str, tmp_path: Path):
    box = Box.random(3)
    triangles = np.concatenate([QUADS[:, [0, 1, 2]], QUADS[:, [0, 2, 3]]])
    mesh = Mesh(torch.tensor(box.vertices).float(), torch.from_numpy(triangles).int())
    save_mesh(mesh, tmp_path / f"box.{ending}")
    check_shape(load_mesh(tmp_path / f"box.{ending}"), box)
    assert load_colored_mesh(tmp_path / f"box.{ending}", 1 / 30, 1000)[1] is None


@pytest.mark.parametrize("style", ["constant", "vertex", "face", "texture"])
def test_our_own_scene_keeps_its_colours(style: ParameterKind, tmp_path: Path):
    box = Box.random(4)
    triangles = np.concatenate([QUADS[:, [0, 1, 2]], QUADS[:, [0, 2, 3]]])
    order = np.concatenate([4 * np.arange(6)[:, None] + k for k in ([0, 1, 2], [0, 2, 3])])
    mesh = Mesh(
        torch.tensor(box.vertices).float(),
        torch.from_numpy(triangles).int(),
        torch.tensor(box.uv.reshape(-1, 2) * [1, -1] + [0, 1]).float(),
        torch.from_numpy(order).int(),
    )
    names = {"constant": "factor", "vertex": "vertices", "face": "faces", "texture": "texture"}
    albedo = {
        "constant": torch.tensor(box.of_face[0]),
        "vertex": torch.tensor(box.of_vertex),
        "face": torch.tensor(np.concatenate([box.of_face, box.of_face])),
        "texture": torch.from_numpy(decoded(box.picture / 255)),
    }[style].float()
    material = Material(albedo, torch.tensor([0.5]), torch.zeros(1), albedo_kind=style)
    tint = torch.tensor([0.5, 1.0, 0.8])
    pose = transforms.pose(
        transforms.exp_so3(torch.tensor([0.1, -0.7, 0.4])), torch.tensor([1.0, 2, 3])
    )
    save_scene(Scene((Object(mesh, pose, material, tint=tint),)), tmp_path)
    found, colors = load_colored_mesh(tmp_path / "scene.glb", 1 / 30, 50_000)
    assert colors is not None
    found = replace(found, vertices=transforms.apply(torch.linalg.inv(pose), found.vertices))
    check_shape(found, box)
    points, wanted = box.points(names[style])
    at = colors_at(found, colors, points)
    np.testing.assert_allclose(at, wanted * tint.numpy(), atol=0.01)


def test_a_textured_part_is_split_beside_one_of_very_many_triangles(tmp_path: Path):
    box = Box.random(5)
    file = box_gltf(box, "texture", tmp_path)
    ball = icosphere(5)  # more triangles than a split of all would allow
    corners = ball.vertices[ball.faces.long()].reshape(-1, 3).numpy() * 0.01
    accessor = file.accessor((corners + box.vertices.mean(0)).astype("<f4"))
    file.root["meshes"][0]["primitives"].append({"attributes": {"POSITION": accessor}})
    file.write(tmp_path / "box.glb")
    mesh, colors = load_colored_mesh(tmp_path / "box.glb", 1 / 30, 50_000)
    assert colors is not None and len(mesh.faces) < 50_000
    points, wanted = box.points("texture")
    np.testing.assert_allclose(colors_at(mesh, colors, points), wanted, atol=0.01)
