"""Meshes: shapes with known area and volume, operators with known answers, files."""

import math
from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch.autograd import gradcheck

from invgraph.geometry import mesh as meshes
from invgraph.geometry.mesh import Mesh
from invgraph.scene.mesh_files import load_mesh, save_mesh, split_seams

CLOSED = {
    "icosphere": meshes.icosphere(2),
    "uv_sphere": meshes.uv_sphere(12, 24),
    "torus": meshes.torus(1.0, 0.4, 24, 48),
    "cube": meshes.cube(),
}
TEXTURED = {name: mesh for name, mesh in CLOSED.items() if mesh.uv is not None}
TEXTURED["plane"] = meshes.plane(2, 3)

# Two triangles that share the edge (0, 1), at a right angle.
FOLD = Mesh(
    torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    torch.tensor([[0, 1, 2], [1, 0, 3]], dtype=torch.int32),
)


@pytest.fixture
def without_shape_checks(monkeypatch):
    """What a user meets: the checks of the test run would speak first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def bumpy(mesh: Mesh, seed: int = 0) -> Mesh:
    generator = torch.Generator().manual_seed(seed)
    vertices = mesh.vertices.double()
    noise = torch.rand(vertices.shape, generator=generator, dtype=torch.float64)
    return replace(mesh, vertices=vertices + 0.1 * noise)


def total_area(mesh: Mesh) -> float:
    return float(meshes.face_areas(mesh).sum())


@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_are_closed_and_consistently_wound(name):
    mesh = CLOSED[name]
    meshes.check_indices(mesh)
    directed = [(int(f[i]), int(f[(i + 1) % 3])) for f in mesh.faces for i in range(3)]
    # Every edge once in each direction.
    assert len(set(directed)) == len(directed)
    assert {(b, a) for a, b in directed} == set(directed)
    holes = 1 if name == "torus" else 0
    count = len(mesh.vertices) - len(meshes.edges(mesh)) + len(mesh.faces)
    assert count == 2 - 2 * holes
    assert mesh.faces.dtype == torch.int32 and mesh.vertices.dtype == torch.float32


def test_volumes_and_areas():
    assert float(meshes.volume(CLOSED["cube"])) == pytest.approx(8)
    assert total_area(CLOSED["cube"]) == pytest.approx(24)
    fine = meshes.icosphere(5)
    assert float(meshes.volume(fine)) == pytest.approx(4 / 3 * math.pi, rel=2e-3)
    assert total_area(fine) == pytest.approx(4 * math.pi, rel=2e-3)
    sphere = meshes.uv_sphere(64, 128)
    assert float(meshes.volume(sphere)) == pytest.approx(4 / 3 * math.pi, rel=3e-3)
    ring = meshes.torus(1.0, 0.4, 64, 128)
    assert float(meshes.volume(ring)) == pytest.approx(2 * math.pi**2 * 0.16, rel=3e-3)
    assert total_area(ring) == pytest.approx(4 * math.pi**2 * 0.4, rel=3e-3)
    assert total_area(meshes.plane(3, 5)) == pytest.approx(4)


@pytest.mark.parametrize("name", ["icosphere", "uv_sphere"])
def test_normals_of_spheres_point_outwards(name):
    mesh = CLOSED[name]
    normals = meshes.vertex_normals(mesh)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals)), atol=1e-6)
    assert float((normals * mesh.vertices).sum(-1).min()) > 0.99
    centres = mesh.vertices[mesh.faces.long()].mean(1)
    assert float((meshes.face_normals(mesh) * centres).sum(-1).min()) > 0.9


def test_normals_of_a_fold():
    assert torch.equal(meshes.face_normals(FOLD), torch.tensor([[0.0, 0, 1], [0, 1, 0]]))
    half = math.sqrt(0.5)
    expected = torch.tensor([[0, half, half], [0, half, half], [0, 0, 1], [0, 1, 0]])
    assert torch.allclose(meshes.vertex_normals(FOLD), expected)


def test_lonely_vertices_and_flat_faces_have_zero_normals_and_finite_gradients():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]], requires_grad=True)
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2]], dtype=torch.int32))
    total = (
        meshes.vertex_normals(mesh).sum()
        + meshes.face_normals(mesh).sum()
        + meshes.face_areas(mesh).sum()
        + meshes.edge_length_spread(mesh)
    )
    assert torch.equal(meshes.vertex_normals(mesh), torch.zeros(4, 3))
    (gradient,) = torch.autograd.grad(total, vertices)
    assert float(gradient.abs().max()) < 10


def test_compiled_normals_agree_with_plain_torch():
    mesh = bumpy(CLOSED["torus"])
    batch = torch.stack((mesh.vertices, bumpy(CLOSED["torus"], seed=1).vertices))
    weights = bumpy(CLOSED["torus"], seed=2).vertices
    results = []
    for dtype in (torch.float64, torch.float32):
        vertices = batch.to(dtype).requires_grad_()
        normals = meshes.vertex_normals(replace(mesh, vertices=vertices))
        (gradient,) = torch.autograd.grad((normals * weights.to(dtype)).sum(), vertices)
        results.append((normals.detach(), gradient))
    (exact, exact_gradient), (fast, gradient) = results
    assert torch.allclose(fast.double(), exact, atol=1e-5)
    assert torch.allclose(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-3)
    assert float(exact_gradient.abs().max()) > 1
    one = meshes.vertex_normals(replace(mesh, vertices=batch[1].float()))
    assert torch.equal(one, fast[1])


def test_compiled_normals_refuse_wild_indices():
    with pytest.raises(ValueError, match="faces hold indices from 1 to 4 but there are 4 vertices"):
        meshes.vertex_normals(replace(FOLD, faces=FOLD.faces + 1))


@pytest.mark.parametrize(
    "function",
    [
        meshes.face_normals,
        meshes.vertex_normals,
        meshes.face_areas,
        meshes.volume,
        meshes.laplacian_roughness,
        meshes.normal_consistency,
        meshes.edge_length_spread,
        lambda mesh: meshes.subdivide(mesh).vertices,
    ],
)
def test_gradients_and_batches(function):
    mesh = bumpy(meshes.icosphere(0))
    vertices = mesh.vertices.clone().requires_grad_()
    assert gradcheck(lambda v: function(replace(mesh, vertices=v)), (vertices,))
    other = bumpy(mesh, seed=1)
    batch = replace(mesh, vertices=torch.stack((mesh.vertices, other.vertices)))
    assert torch.allclose(function(batch)[0], function(mesh))
    assert torch.allclose(function(batch)[1], function(other))


def test_edges_are_sorted_and_unique():
    expected = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3]]
    assert meshes.edges(FOLD).tolist() == expected
    assert meshes.face_pairs(FOLD.faces).tolist() == [[0, 1]]


def test_face_pairs_of_a_closed_mesh_are_its_edges():
    mesh = CLOSED["torus"]
    assert len(meshes.face_pairs(mesh.faces)) == len(meshes.edges(mesh))


def test_uniform_laplacian_sums_squared_edges():
    mesh = bumpy(CLOSED["torus"])
    laplacian = meshes.uniform_laplacian(mesh.faces, len(mesh.vertices)).double()
    v = mesh.vertices
    a, b = v[meshes.edges(mesh).long()].unbind(1)
    assert float((v * (laplacian @ v)).sum()) == pytest.approx(float((a - b).square().sum()))
    assert torch.allclose(laplacian @ torch.ones_like(v), torch.zeros_like(v), atol=1e-12)
    dense = laplacian.to_dense()
    assert torch.equal(dense, dense.T)


def test_cotangent_laplacian_of_a_right_triangle():
    mesh = Mesh(FOLD.vertices[:3], FOLD.faces[:1])
    # The legs face angles of 45 degrees (cot = 1), the hypotenuse a right angle (cot = 0).
    expected = torch.tensor([[1.0, -0.5, -0.5], [-0.5, 0.5, 0], [-0.5, 0, 0.5]])
    assert torch.allclose(meshes.cotangent_laplacian(mesh).to_dense(), expected, atol=1e-6)


def test_cotangent_laplacian_measures_area_and_its_gradient():
    mesh = bumpy(CLOSED["torus"])
    vertices = mesh.vertices.clone().requires_grad_()
    laplacian = meshes.cotangent_laplacian(mesh)
    area = meshes.face_areas(replace(mesh, vertices=vertices)).sum()
    flow = laplacian @ mesh.vertices
    assert float((mesh.vertices * flow).sum()) == pytest.approx(2 * area.item())
    (gradient,) = torch.autograd.grad(area, vertices)
    assert torch.allclose(flow, gradient, atol=1e-10)


def test_cotangent_laplacian_ignores_faces_without_area():
    vertices = torch.cat((FOLD.vertices, torch.tensor([[0.5, 0.0, 0.0]])))
    faces = torch.cat((FOLD.faces, torch.tensor([[0, 4, 1]], dtype=torch.int32)))
    with_sliver = meshes.cotangent_laplacian(Mesh(vertices, faces)).to_dense()
    assert with_sliver.isfinite().all()
    assert torch.allclose(with_sliver[:4, :4], meshes.cotangent_laplacian(FOLD).to_dense())


def test_regularisers_by_hand():
    # The cube: 12 right angles, 6 flat diagonals.
    assert float(meshes.normal_consistency(CLOSED["cube"])) == pytest.approx(12 / 18)
    assert float(meshes.normal_consistency(meshes.plane(3, 3))) == pytest.approx(0, abs=1e-6)
    assert float(meshes.normal_consistency(Mesh(FOLD.vertices, FOLD.faces[:1]))) == 0
    assert float(meshes.edge_length_spread(meshes.icosphere(0))) == pytest.approx(0, abs=1e-10)
    # Edges 1, 1, sqrt(2).
    triangle = Mesh(FOLD.vertices[:3], FOLD.faces[:1])
    mean = (2 + math.sqrt(2)) / 3
    expected = (4 / 3 - mean**2) / mean**2
    assert float(meshes.edge_length_spread(triangle)) == pytest.approx(expected, rel=1e-5)
    # Offsets (-1/2, -1/2), (1, -1/2), (-1/2, 1) of the three vertices.
    assert float(meshes.laplacian_roughness(triangle)) == pytest.approx((0.5 + 1.25 + 1.25) / 3)


@pytest.mark.parametrize("name", TEXTURED)
def test_textures_are_upright_seen_from_outside(name):
    mesh = TEXTURED[name]
    assert mesh.uv is not None
    assert float(mesh.uv.min()) == 0 and float(mesh.uv.max()) == 1
    corners, uv = mesh.vertices[mesh.faces.long()], mesh.uv[mesh.texture_faces.long()]
    (du1, dv1), (du2, dv2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    # Counter-clockwise faces are clockwise with v down, unless the texture is mirrored.
    determinant = du1 * dv2 - du2 * dv1
    assert (determinant < 0).all()
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    along_v = (du1[:, None] * e2 - du2[:, None] * e1) / determinant[:, None]
    centres = corners.mean(1)
    if name == "torus":
        outer = centres[:, [0, 2]].norm(dim=-1) > 1.2
        assert (along_v[outer][:, 1] < 0).all()
    elif name == "cube":
        walls = centres[:, 1].abs() < 0.9
        assert (along_v[walls][:, 1] < 0).all()
    else:
        assert (along_v[:, 1] < 0).all()


def test_sphere_unwraps_like_a_map():
    sphere = TEXTURED["uv_sphere"]
    assert sphere.uv is not None
    points = sphere.vertices[sphere.faces.long()].reshape(-1, 3)
    uv = sphere.uv[sphere.texture_faces.long()].reshape(-1, 2)
    for wanted, at in (
        ((0.5, 0.5), (0, 0, 1)),
        ((0.75, 0.5), (1, 0, 0)),
        ((0.25, 0.5), (-1, 0, 0)),
    ):
        nearest = (uv - torch.tensor(wanted)).norm(dim=-1).argmin()
        assert torch.allclose(points[nearest], torch.tensor(at, dtype=torch.float32), atol=1e-6)


@pytest.mark.parametrize("mesh", [*CLOSED.values(), meshes.plane(2, 3)])
def test_subdivision_keeps_the_surface_and_the_texture(mesh):
    fine = meshes.subdivide(mesh)
    assert len(fine.faces) == 4 * len(mesh.faces)
    assert len(fine.vertices) == len(mesh.vertices) + len(meshes.edges(mesh))
    assert torch.equal(fine.vertices[: len(mesh.vertices)], mesh.vertices)
    assert torch.allclose(meshes.volume(fine), meshes.volume(mesh), atol=1e-5)
    parents = meshes.face_normals(mesh).repeat_interleave(4, 0)
    assert torch.allclose(meshes.face_normals(fine), parents, atol=1e-4)
    assert (fine.uv is None) == (mesh.uv is None)
    if mesh.uv is not None and fine.uv is not None:
        # The mean corner of the middle child is the parent's, in space and in the texture.
        middle = slice(3, None, 4)
        for values, faces, new, new_faces in (
            (mesh.vertices, mesh.faces, fine.vertices, fine.faces),
            (mesh.uv, mesh.texture_faces, fine.uv, fine.texture_faces),
        ):
            parent = values[faces.long()].mean(1)
            assert torch.allclose(new[new_faces[middle].long()].mean(1), parent, atol=1e-6)


def test_icosphere_sizes():
    assert len(meshes.icosphere(0).faces) == 20
    assert len(meshes.icosphere(3).faces) == 1280


def test_samples_lie_on_the_surface_in_proportion_to_area():
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    # Areas 1.5, 0 and 0.5.
    faces = torch.tensor([[0, 1, 2], [0, 1, 1], [0, 2, 3]], dtype=torch.int32)
    mesh = Mesh(vertices, faces)
    points, face = meshes.sample_surface(mesh, 4000, torch.Generator().manual_seed(3))
    assert points.shape == (4000, 3)
    counts = torch.bincount(face, minlength=3)
    assert counts[1] == 0
    assert float(counts[0]) == pytest.approx(3000, abs=100)
    first = points[face == 0]
    assert torch.allclose(first.mean(0), torch.tensor([1.0, 1 / 3, 0]), atol=0.05)
    assert (first[:, 0] / 3 + first[:, 1] <= 1 + 1e-5).all() and (first >= 0).all()
    again, _ = meshes.sample_surface(mesh, 4000, torch.Generator().manual_seed(3))
    assert torch.equal(points, again)


def test_samples_carry_gradients():
    mesh = bumpy(meshes.icosphere(0))
    vertices = mesh.vertices.clone().requires_grad_()

    def sample(vertices):
        generator = torch.Generator().manual_seed(0)
        return meshes.sample_surface(replace(mesh, vertices=vertices), 7, generator)[0]

    assert gradcheck(sample, (vertices,))


def test_sampling_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a mesh with area"):
        meshes.sample_surface(Mesh(FOLD.vertices, FOLD.faces[:0]), 3)
    batch = replace(FOLD, vertices=FOLD.vertices[None])
    with pytest.raises(ValueError, match=r"takes one mesh but got batch \(1,\)"):
        meshes.sample_surface(batch, 3)
    with pytest.raises(ValueError, match=r"takes one mesh but got batch \(1,\)"):
        meshes.cotangent_laplacian(batch)
    with pytest.raises(ValueError, match="needs a mesh with faces"):
        meshes.edge_length_spread(Mesh(FOLD.vertices, FOLD.faces[:0]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vertices": torch.zeros(4, 2)}, r"vertices should be \(\*batch, v, 3\)"),
        ({"faces": torch.zeros(1, 4).int()}, "split polygons into triangles"),
        ({"uv_faces": torch.zeros(2, 3).int()}, "uv_faces are given but uv is not"),
        ({"uv": torch.zeros(9, 2)}, "uv has 9 rows for 4 vertices; give uv_faces"),
        (
            {"uv": torch.zeros(9, 2), "uv_faces": torch.zeros(1, 3).int()},
            "they should match corner by corner",
        ),
    ],
)
def test_bad_meshes_are_refused(change, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        replace(FOLD, **change)


def test_indices_out_of_range_are_refused():
    with pytest.raises(ValueError, match="faces hold indices from 0 to 4 but there are 4 vertices"):
        meshes.check_indices(replace(FOLD, faces=FOLD.faces + torch.tensor([0, 0, 1])))
    negative = replace(FOLD, uv=torch.zeros(2, 2), uv_faces=torch.full((2, 3), -1))
    with pytest.raises(ValueError, match=r"uv_faces hold .*-1 to -1 but there are 2 uv"):
        meshes.check_indices(negative)


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="level should be at least 0 but is -1"):
        meshes.icosphere(-1)
    with pytest.raises(ValueError, match="needs 2 rows and 3 columns but got 1 and 3"):
        meshes.uv_sphere(1, 3)
    with pytest.raises(ValueError, match="needs 3 rows and 3 columns but got 2 and 3"):
        meshes.torus(rows=2, columns=3)
    with pytest.raises(ValueError, match=r"0 < minor < major but got 2.0 and 1.0"):
        meshes.torus(1.0, 2.0)


def surface_points(mesh: Mesh) -> torch.Tensor:
    """Every corner's position and texture coordinate, sorted."""
    columns = [mesh.vertices[mesh.faces.long()].reshape(-1, 3)]
    if mesh.uv is not None:
        columns.append(mesh.uv[mesh.texture_faces.long()].reshape(-1, 2))
    rows = torch.cat(columns, -1).double().mul(1e4).round()
    return torch.unique(rows, dim=0)


@pytest.mark.parametrize("ending", ["obj", "ply", "stl", "off", "glb"])
def test_files_round_trip(ending, tmp_path):
    mesh = meshes.cube()
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
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_splitting_seams_keeps_the_surface():
    mesh = meshes.uv_sphere(6, 8)
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


def test_recorded_meshes_load(data_dir):
    for path in sorted(data_dir("meshes").rglob("*.obj")):
        mesh = load_mesh(path)
        assert mesh.uv is not None and float(meshes.volume(mesh)) > 0
