"""The pieces of a fit, each against an answer that is known."""

import math

import numpy as np
import pytest
import torch
from scenes import ring_of_cameras

from invgraph.fitting.object.cameras import Corrections
from invgraph.fitting.object.hull import visual_hull
from invgraph.fitting.object.large_steps import LIMIT, LargeSteps, UniformAdam
from invgraph.fitting.object.object_estimate import (
    ALBEDO,
    DOMAINS,
    LIGHT,
    METALLIC,
    ROUGHNESS,
    STEPS,
    VERTICES,
    Estimate,
    first_guess,
)
from invgraph.fitting.object.per_image_light import RIDGE, PerImageLight
from invgraph.fitting.object.remesh import mean_edge, remesh, unwrap
from invgraph.fitting.object.stages import bake_texture, retriangulate
from invgraph.fitting.object.views import TrainingView, without_outliers
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera, stack
from invgraph.geometry.laplacian import uniform_laplacian
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.primitives import icosphere
from invgraph.geometry.tensor_tree import flatten, replaced


def ball_mask(
    camera: Camera, radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """Exact silhouette of a ball: rays that pass closer to its centre than its radius."""
    origins, directions = camera.rays()
    nearest = torch.linalg.cross(origins - torch.tensor(centre), directions).norm(dim=-1)
    return (nearest < radius).numpy()


def test_hull_of_a_ball_is_nearly_the_ball():
    cameras = ring_of_cameras(24)
    hull = visual_hull([ball_mask(camera, 0.8) for camera in cameras], cameras, cells=64)
    radii = hull.mesh.vertices.norm(dim=-1)
    assert hull.outliers == ()
    assert float(radii.min()) > 0.78 and float(radii.median()) < 0.83
    normals_out = torch.linalg.cross(*_edges(hull.mesh)).mul(_centres(hull.mesh)).sum(-1)
    assert float((normals_out > 0).float().mean()) > 0.99


def test_hull_ignores_and_names_a_mask_with_a_hole():
    cameras = ring_of_cameras(24)
    masks = [ball_mask(camera, 0.8) for camera in cameras]
    masks[5][38:58, 38:58] = False
    hull = visual_hull(masks, cameras, cells=64)
    assert hull.outliers == (5,)
    assert float(hull.mesh.vertices.norm(dim=-1).min()) > 0.78


def test_hull_believes_the_photos_before_a_part_moved():
    cameras = ring_of_cameras(24)
    before, after = (0.0, 0.0, 0.8), (0.0, 0.8, 0.0)
    masks = [
        ball_mask(camera, 0.6) | ball_mask(camera, 0.3, before if i < 15 else after)
        for i, camera in enumerate(cameras)
    ]
    hull = visual_hull(masks, cameras, cells=64)
    assert hull.outliers == tuple(range(15, 24))
    knob = hull.mesh.vertices - torch.tensor(before)
    assert float(hull.mesh.vertices[:, 2].max()) > 1.05
    assert float(knob[knob[:, 2] > 0.1].norm(dim=-1).max()) < 0.37


def test_a_photo_is_doubted_where_its_mask_and_the_shape_differ_in_thick_parts():
    (camera,) = ring_of_cameras(1)
    body = ball_mask(camera, 0.62)  # a thin rim around the shape
    knob = ball_mask(camera, 0.3, (0.0, 0.0, 0.8)) & ~body
    layer = torch.from_numpy(body | knob).byte() * 255
    full = torch.full_like(layer, 255)
    photo = TrainingView(full[..., None].expand(-1, -1, 3), layer, full, camera)
    ball = icosphere(4)
    known = without_outliers(photo, Mesh(0.6 * ball.vertices, ball.faces)).known.numpy()
    assert knob.sum() > 100 and known[knob].mean() < 10
    assert known[ball_mask(camera, 0.4)].min() == 255
    assert (known == 0).sum() < 2 * knob.sum()


def test_hull_of_masks_that_never_meet_says_so():
    cameras = ring_of_cameras(8)
    masks = [np.zeros((96, 96), bool) for _ in cameras]
    for i, mask in enumerate(masks):
        mask[:8, :8] = i % 2 == 0
        mask[-8:, -8:] = i % 2 == 1
    with pytest.raises(ValueError, match="no volume in common"):
        visual_hull(masks, cameras, cells=32)


def test_hull_needs_two_photos():
    camera = ring_of_cameras(1)
    with pytest.raises(ValueError, match="at least 2 photos but there is 1"):
        visual_hull([ball_mask(camera[0], 0.8)], camera)


def test_large_steps_keep_the_start_and_differentiate_like_a_dense_solve():
    mesh = icosphere(1)
    steps = LargeSteps(mesh.vertices, mesh.faces, smoothness=7.0)
    torch.testing.assert_close(steps.vertices(), mesh.vertices, atol=1e-5, rtol=0)
    weight = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    (steps.vertices() * weight).sum().backward()
    count = len(mesh.vertices)
    dense = torch.eye(count) + 7.0 * uniform_laplacian(mesh.faces, count).to_dense()
    torch.testing.assert_close(steps.u.grad, torch.linalg.solve(dense.T, weight), atol=1e-5, rtol=0)


def test_uniform_adam_scales_all_vertices_alike():
    x = torch.zeros(2, 3, requires_grad=True)
    x.grad = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, -1.0]])
    UniformAdam([x], lr=0.1).step()  # the root of the mean squared gradient is sqrt(7)
    torch.testing.assert_close(x.detach(), -0.1 * x.grad / 7**0.5)


def test_uniform_adam_holds_back_a_vertex_that_would_run_away():
    x = torch.zeros(100, 3, requires_grad=True)
    x.grad = torch.zeros(100, 3)
    x.grad[7] = torch.tensor([0.0, 3.0, 4.0])  # ten times the root of the mean square
    UniformAdam([x], lr=0.1).step()
    torch.testing.assert_close(x.detach()[7], -0.1 * LIMIT * torch.tensor([0.0, 0.6, 0.8]))
    assert int(x.detach().count_nonzero()) == 2


def test_remesh_reaches_the_asked_edge_and_stays_on_the_surface():
    mesh = remesh(icosphere(3), edge=0.2)
    assert mean_edge(mesh) == pytest.approx(0.2, rel=0.15)
    assert float((mesh.vertices.norm(dim=-1) - 1).abs().max()) < 0.02


def test_unwrap_gives_every_face_its_own_place():
    ball = icosphere(2)
    small = Mesh(0.01 * ball.vertices, ball.faces)
    mesh, (height, width) = unwrap(small, 128)
    assert mesh.uv is not None and mesh.uv_faces is not None
    assert 90 < height < 180 and 90 < width < 180
    corners = mesh.uv[mesh.uv_faces.long()].double()
    a, b = (corners[:, i] - corners[:, 0] for i in (1, 2))
    areas = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs() / 2
    assert float(areas.min()) > 0 and 0.3 < float(areas.sum()) < 1


def _edges(mesh):
    corners = mesh.vertices[mesh.faces.long()]
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]


def _centres(mesh):
    return mesh.vertices[mesh.faces.long()].mean(1)


def test_corrections_turn_the_world_about_the_object():
    camera = stack(ring_of_cameras(3))
    centre = torch.tensor([0.3, -0.2, 0.1])
    twists = torch.zeros(3, 6)
    twists[1, 5] = math.pi / 2
    twists[2, 0] = 0.5
    corrections = Corrections(twists, centre, size=2.0)
    moved = corrections.apply(camera, [0, 1, 2]).camera_from_world
    points = centre + torch.tensor([[[0.0, 0, 0]], [[1.0, 0, 0]], [[1.0, 0, 0]]])
    # Nothing; a quarter turn about z, x to y; half of an object along x.
    there = centre + torch.tensor([[[0.0, 0, 0]], [[0.0, 1, 0]], [[2.0, 0, 0]]])
    expected = transforms.apply(camera.camera_from_world, there)
    torch.testing.assert_close(transforms.apply(moved, points).detach(), expected)
    assert corrections.usual_deg == 0


def test_a_correction_turns_the_object_where_it_has_moved_to():
    camera, centre = stack(ring_of_cameras(1)), torch.tensor([0.3, -0.2, 0.1])
    twist = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.0, math.pi / 2]])
    moved = Corrections(twist, centre, size=2.0).apply(camera, [0]).camera_from_world
    points = centre + torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]])
    there = centre + torch.tensor([[[1.0, 0, 0], [1.0, 1, 0]]])
    expected = transforms.apply(camera.camera_from_world, there)
    torch.testing.assert_close(transforms.apply(moved, points).detach(), expected)


def test_corrections_keep_what_all_photos_share_out_and_learn_only_chosen_photos():
    corrections = Corrections(torch.zeros(4, 6), torch.zeros(3), 1.0)
    camera = stack(ring_of_cameras(4))
    corrections.apply(camera[:2], [0, 2]).camera_from_world.square().sum().backward()
    assert corrections.twists.grad is not None
    assert corrections.twists.grad.coalesce().indices().tolist() == [[0, 2]]
    with torch.no_grad():
        corrections.twists += torch.arange(24.0).reshape(4, 6)
    corrections.recentre()
    assert float(corrections.twists.detach().mean(0).abs().max()) < 1e-6


def test_a_held_out_photo_is_lit_as_its_neighbours_in_the_capture():
    rows = torch.arange(9.0).reshape(3, 3)  # of photos 1, 2 and 5; one coefficient each
    centres = torch.tensor(
        [[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 3, 0], [2, 6, 0], [2, 8, 0], [9, 9, 9]]
    )
    per_image_light = PerImageLight(rows, (1, 2, 5), centres)
    assert per_image_light.around(0).tolist() == [[0, 1, 2]]
    assert per_image_light.around(6).tolist() == [[6, 7, 8]]
    between = torch.tensor([[5.25, 6.25, 7.25]])  # 4 is 6 away from 2 and 2 from 5
    torch.testing.assert_close(per_image_light.around(4), between)
    near = torch.tensor([[2 / 3, 5 / 3, 8 / 3]])  # 2 is 1 away from 1 and 8 from 5; itself is out
    torch.testing.assert_close(per_image_light.around(2), near)
    assert per_image_light.mean.tolist() == [[3, 4, 5]]
    assert per_image_light.own([2, 0]).tolist() == [[[6, 7, 8]], [[0, 1, 2]]]


def test_light_of_other_photos_does_not_descend_and_differences_cost():
    per_image_light = PerImageLight(
        torch.tensor([[0.0, 0, 0], [1, 2, 2], [1, 1, 1]]), (0, 1, 2), torch.eye(3)
    )
    cost = per_image_light.cost([0, 1])
    assert cost.item() == pytest.approx(RIDGE * 9 / 2)
    cost.backward()
    assert per_image_light.deltas.grad is not None
    assert per_image_light.deltas.grad.coalesce().indices()[0].tolist() == [0, 1]


def small_estimate(per_image_light: PerImageLight | None = None) -> Estimate:
    start = first_guess(icosphere(1), torch.tensor([0.1, 0.2, 0.3]), "camera")
    corrections = Corrections(0.01 * torch.ones(3, 6), torch.zeros(3), 2.0)
    return Estimate(start, 0.01, 2.0, corrections, per_image_light)


def brightness(estimate: Estimate) -> torch.Tensor:
    """Something that every unknown decides."""
    values = flatten(estimate.scene([0, 2]))
    return torch.stack([values[path].square().sum() for path in (VERTICES, *DOMAINS)]).sum()


def test_a_fit_starts_from_its_first_guess():
    estimate = small_estimate()
    scene, start = flatten(estimate.frozen()), small_estimate().frozen()
    for path, tensor in flatten(start).items():
        torch.testing.assert_close(scene[path], tensor, atol=1e-6, rtol=0)
    logits = {path: x.detach() for path, x in estimate.coordinates.items()}
    assert list(logits) == list(DOMAINS)
    assert torch.equal(logits[ALBEDO], torch.zeros(42, 3))
    torch.testing.assert_close(logits[ROUGHNESS], torch.tensor([-0.4]))
    torch.testing.assert_close(logits[METALLIC], torch.tensor([-4.0]))
    assert torch.equal(logits[LIGHT], start.lights[0].coefficients)  # pyright: ignore


def test_the_first_step_of_every_unknown_has_its_length():
    estimate = small_estimate()
    before = {path: x.detach().clone() for path, x in estimate.coordinates.items()}
    values = flatten(estimate.scene())
    loss = torch.stack([values[path].sum() for path in DOMAINS]).sum()
    estimate.step(loss + 0 * values[VERTICES].sum(), 0.5)
    for path, x in estimate.coordinates.items():  # Adam's first step is the rate itself
        down = torch.full_like(x, -0.5 * STEPS[path])
        torch.testing.assert_close(x.detach() - before[path], down, atol=1e-5, rtol=0)


def test_a_fit_goes_on_from_the_named_tensors_of_its_checkpoint():
    deltas = PerImageLight(torch.zeros(3, 75), (0, 1, 2), torch.eye(3))
    estimate = small_estimate(deltas)
    for _ in range(3):
        estimate.step(brightness(estimate), 1.0)
    state, facts = estimate.state(), estimate.facts()
    scene = flatten(estimate.frozen())
    assert set(scene) < set(state)
    assert {VERTICES, ALBEDO, LIGHT, "objects.0.visibility", "background"} < set(scene)
    again = Estimate.from_state({name: x.detach().clone() for name, x in state.items()}, facts)
    assert again.facts() == facts
    for _ in range(2):
        for one in (estimate, again):
            one.step(brightness(one), 1.0)
        for path, tensor in flatten(again.frozen()).items():
            torch.testing.assert_close(
                tensor, flatten(estimate.frozen())[path], atol=1e-5, rtol=1e-5
            )


def test_per_image_light_adds_to_the_named_light():
    rows = torch.arange(225.0).reshape(3, 75)
    estimate = small_estimate(PerImageLight(rows, (0, 1, 2), torch.eye(3)))
    own = flatten(estimate.scene([2, 0]))[LIGHT].detach()
    shared = flatten(estimate.frozen())[LIGHT]
    torch.testing.assert_close(own - shared, rows[[2, 0]].reshape(2, 25, 3))
    everyone = flatten(estimate.scene())[LIGHT].detach()
    torch.testing.assert_close(everyone - shared, rows.mean(0).reshape(25, 3))
    estimate.share_light()
    torch.testing.assert_close(flatten(estimate.frozen())[LIGHT], everyone)


def test_a_texture_takes_over_the_colours_of_the_vertices():
    start = first_guess(icosphere(2), torch.zeros(3), "world")
    (thing,) = start.objects
    side = (thing.mesh.vertices[:, :1] > 0).float().expand(-1, 3)
    for albedo in (torch.full_like(side, 0.37), 0.1 + 0.8 * side):
        (textured,) = bake_texture(replaced(start, {ALBEDO: albedo}), 64).objects
        texels = textured.material.albedo
        assert texels.ndim == 3 and textured.mesh.uv is not None
        assert float(texels.min()) == pytest.approx(float(albedo.min()), abs=1e-5)
        assert float(texels.max()) == pytest.approx(float(albedo.max()), abs=1e-5)
        assert textured.material.roughness.shape == (*texels.shape[:2], 1)


def test_new_triangles_take_the_colours_of_the_nearest_old_ones():
    start = first_guess(icosphere(3), torch.zeros(3), "world")
    colours = 0.5 + 0.4 * start.objects[0].mesh.vertices
    (finer,) = retriangulate(replaced(start, {ALBEDO: colours}), 0.15).objects
    expected = 0.5 + 0.4 * finer.mesh.vertices
    assert float((finer.material.albedo - expected).abs().max()) < 0.4 * 0.15
    assert finer.visibility is None
