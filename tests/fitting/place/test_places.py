"""Depth of places and fusion, against planes and spheres rendered by ourselves."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invgraph.fitting.place import DepthMap, Matches, estimate_depth, fuse, refine_cameras
from invgraph.fitting.place.agreement import agreement, fill
from invgraph.fitting.place.images import RECENT, PosedImages
from invgraph.fitting.place.maps import Maps
from invgraph.fitting.place.sweep import PosedImage
from invgraph.fitting.place.views import exact, transfer
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import linear_from_srgb
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh, volume
from invgraph.geometry.primitives import icosphere
from invgraph.geometry.transforms import look_at
from invgraph.photometric.warp import undistort, warp
from invgraph.rendering.render import render
from invgraph.scene import Material, Object, Scene

HEIGHT, WIDTH, FOCAL = 72, 96, 100.0


def camera_at(x: float, *, y: float = 0.0) -> Camera:
    pose = torch.eye(4)
    pose[0, 3], pose[1, 3] = -x, -y
    principal = torch.tensor([WIDTH / 2, HEIGHT / 2])
    return Camera(Lens(torch.full((2,), FOCAL), principal, HEIGHT, WIDTH), pose)


def speckled(corners: list[tuple[float, float, float]], seed: int) -> Object:
    """A quadrilateral covered with smooth noise; corners go around."""
    noise = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(seed))
    noise = torch.nn.functional.interpolate(
        noise, size=(320, 320), mode="bicubic", align_corners=False
    )
    albedo = noise[0].movedim(0, -1).clamp(0, 1).contiguous()
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32)
    material = Material(albedo, torch.ones(1), torch.zeros(1), "texture")
    return Object(Mesh(torch.tensor(corners), faces, uv), torch.eye(4), material)


def wall(depth: float = 4.0, slope: float = 0.0, *, left: float = -6.0, right: float = 6.0):
    a, b = depth + slope * left, depth + slope * right
    return [(left, -6.0, a), (right, -6.0, b), (right, 6.0, b), (left, 6.0, a)]


def photograph(objects: Sequence[Object], cameras: list[Camera]) -> tuple[list[Tensor], list]:
    shots = [
        render(Scene(tuple(objects), (), None), camera, outputs=("albedo", "depth"))
        for camera in cameras
    ]
    return [shot.albedo for shot in shots], [shot.depth for shot in shots]  # type: ignore[misc]


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_rendered_wall_is_recovered_by_a_stereo_pair(slope):
    cameras = [camera_at(0.0), camera_at(0.4)]
    images, truth = photograph([speckled(wall(4.0, slope), 0)], cameras)
    found = estimate_depth(images, cameras)[0]
    error = (found.depth / truth[0] - 1).abs()
    # The disparity is 10 px: 1 % is a tenth of a pixel.
    assert error.median() < 0.01
    assert error.quantile(0.95) < 0.03
    assert found.confidence[:, 20:].mean() > 0.9


def test_three_photos_agree_on_a_wall_and_tell_its_distance():
    cameras = [camera_at(0.0), camera_at(0.35), camera_at(0.0, y=0.35)]
    images, truth = photograph([speckled(wall(5.0, 0.1), 1)], cameras)
    for index, found in enumerate(estimate_depth(images, cameras)):
        assert (found.depth / truth[index] - 1).abs().median() < 0.01


def test_sparse_points_bound_the_search():
    cameras = [camera_at(0.0), camera_at(0.4)]
    images, truth = photograph([speckled(wall(4.0), 0)], cameras)
    near = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.4
    found = estimate_depth(images, cameras, points=near + torch.tensor([0.0, 0.0, 3.8]))[0]
    assert (found.depth / truth[0] - 1).abs().median() < 0.01
    with pytest.raises(ValueError, match=r"photo 0 shows 0 of the points, fewer than 20; leave"):
        estimate_depth(images, cameras, points=-near)


def test_what_the_other_photo_cannot_see_takes_the_depth_behind():
    behind, front = speckled(wall(8.0), 2), speckled(wall(4.0, left=-0.6, right=0.6), 3)
    cameras = [camera_at(0.0), camera_at(0.6)]
    images, truth = photograph([behind, front], cameras)
    found = estimate_depth(images, cameras)[0]
    # The front moves 15 px, the back 7.5: left of the front the right camera misses 7 columns.
    row, edge = HEIGHT // 2, int(torch.nonzero(truth[0][HEIGHT // 2] < 5)[0])
    hidden = slice(edge - 6, edge - 2)
    assert (found.confidence[row - 10 : row + 10, hidden] == 0).float().mean() > 0.8
    assert ((found.depth[row - 10 : row + 10, hidden] - 8).abs() < 0.5).float().mean() > 0.8


def test_gaps_are_filled_from_the_farther_end_of_their_epipolar_line():
    view = exact(camera_at(0.0))
    photo = PosedImage(view, np.zeros((1, 6, 3), np.float32), np.zeros((1, 6), np.float32))
    right = replace_view(photo, camera_at(1.0))
    inverse = np.array([[0.5, 0, 0, 0.2, 0, 0]], np.float32)
    valid = np.array([[True, False, False, True, False, False]])
    filled = fill(inverse, valid, photo, right)
    np.testing.assert_allclose(filled, [[0.5, 0.2, 0.2, 0.2, 0.2, 0.2]])


def replace_view(photo: PosedImage, camera: Camera) -> PosedImage:
    return PosedImage(exact(camera), photo.color, photo.grey)


def test_agreement_counts_sources_that_lead_back():
    camera, other = camera_at(0.0), camera_at(0.4)
    views = [exact(camera), exact(other)]
    flat = np.full((HEIGHT, WIDTH), 0.25, np.float32)
    votes = agreement(0, views, [flat, flat], [1], 1.0)
    # The disparity is 100 * 0.4 / 4 = 10 px: the first 10 columns leave the other photo.
    assert votes[:, 10:].all() and not votes[:, :10].any()
    votes = agreement(0, views, [flat, 2 * flat], [1], 1.0)
    assert not votes.any()


def test_transfer_moves_pixels_as_cameras_do():
    eye = torch.tensor([0.3, -0.2, 0.1])
    turned = replace(
        camera_at(0.0),
        camera_from_world=look_at(eye, torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0.0, -1, 0])),
    )
    matrix = transfer(exact(camera_at(0.2)), exact(turned))
    moved = matrix @ [30.0, 40.0, 1.0, 1 / 3]
    point = camera_at(0.2).unproject_pixels(torch.tensor([[30.0, 40.0]]), torch.tensor([3.0]))
    np.testing.assert_allclose(moved[:2] / moved[2], turned.project(point)[0][0], atol=1e-3)


def test_warp_brings_one_photo_into_the_other():
    cameras = [camera_at(0.0), camera_at(0.4)]
    images, truth = photograph([speckled(wall(4.0, 0.2), 0)], cameras)
    seen = warp(images[1], cameras[1], truth[0], cameras[0])
    inside = seen.known
    assert 0.8 < inside.float().mean() < 0.95
    assert (seen.image - images[0]).abs()[inside].mean() < 0.01
    assert (images[1] - images[0]).abs()[inside].mean() > 0.1


def test_warp_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(4)
    u = torch.linspace(0, 3, 12, dtype=torch.float64)
    image = torch.stack((torch.sin(u)[:, None] * u, torch.cos(u[:, None] + u)), -1)
    camera = Camera(
        Lens(
            torch.full((2,), 15.0, dtype=torch.float64),
            torch.full((2,), 6.0, dtype=torch.float64),
            12,
            12,
        ),
        torch.eye(4, dtype=torch.float64),
    )
    depth = 4 + 0.3 * torch.rand(12, 12, generator=generator, dtype=torch.float64)
    shift = torch.tensor([0.13, 0.08, 0.02], dtype=torch.float64)

    def total(depth: Tensor, shift: Tensor) -> Tensor:
        pose = torch.eye(4, dtype=torch.float64).index_put(
            (torch.tensor([0, 1, 2]), torch.tensor([3, 3, 3])), shift
        )
        seen = warp(image, replace(camera, camera_from_world=pose), depth, camera)
        return (seen.image * seen.known[..., None])[2:-2, 2:-2].square().sum()

    inputs = (depth.requires_grad_(), shift.requires_grad_())
    assert torch.autograd.gradcheck(total, inputs, eps=1e-7, atol=1e-4)
    slope = torch.autograd.grad(total(*inputs), inputs)
    assert slope[0].abs().max() > 0.01 and (slope[1].abs() > 0.01).all()


def test_warp_refuses_an_image_of_another_size():
    camera = camera_at(0.0)
    with pytest.raises(ValueError, match=r"image is 5x6 \(h x w\) but its camera is 72x96; resize"):
        warp(torch.zeros(5, 6, 3), camera, torch.ones(HEIGHT, WIDTH), camera)


def sphere_maps() -> tuple[list[DepthMap], list[Tensor]]:
    ball = Object(
        icosphere(4),
        torch.eye(4),
        Material(torch.tensor([0.2, 0.5, 0.8]), torch.ones(1), torch.zeros(1)),
    )
    maps, images = [], []
    for eye in ([0, 0, -4.0], [0, 0, 4.0], [4.0, 0, 0], [-4.0, 0, 0], [0, 4.0, 0], [0, -4.0, 0]):
        up = torch.tensor([0.0, 0.0, 1.0] if eye[1] else [0.0, 1.0, 0.0])
        camera = replace(
            camera_at(0.0), camera_from_world=look_at(torch.tensor(eye), torch.zeros(3), up)
        )
        shot = render(Scene((ball,), (), None), camera, outputs=("albedo", "depth"))
        assert shot.depth is not None and shot.albedo is not None
        maps.append(DepthMap(shot.depth, (shot.depth > 0).float(), camera))
        images.append(shot.albedo)
    return maps, images


def test_depth_maps_of_a_sphere_fuse_into_that_sphere():
    maps, images = sphere_maps()
    fused = fuse(maps, images, voxel=0.04)
    radius = fused.mesh.vertices.norm(dim=-1)
    assert abs(float(radius.mean()) - 1) < 0.003
    assert (radius - 1).abs().max() < 0.04  # a voxel
    # Positive: faces look outwards; closed: no hole is left between blocks or photos.
    assert abs(float(volume(fused.mesh)) / (4 / 3 * np.pi) - 1) < 0.01
    middle = fused.material.albedo.median(0).values
    torch.testing.assert_close(middle, torch.tensor([0.2, 0.5, 0.8]), atol=5e-3, rtol=0)


def test_what_is_far_away_takes_coarser_voxels():
    camera = camera_at(0.0)
    depth = torch.full((HEIGHT, WIDTH), 3.0)
    depth[: HEIGHT // 3] = 300.0  # 100 times as far: the coarsest voxels, 64 times as large
    item = DepthMap(depth, torch.ones(HEIGHT, WIDTH), camera)
    image = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    fused = fuse([item], [image])
    z = fused.mesh.vertices[:, 2]
    near, far = z < 30, z > 200
    voxel = 3.0 / float(camera.focal.mean())
    assert near.any() and far.any()
    assert (z[near] - 3).abs().median() < voxel and (z[far] - 300).abs().median() < 64 * voxel
    # A pixel of the far part covers more than a voxel there, so vertices follow the pixels' number.
    assert 0.2 < float(far.sum()) / (HEIGHT * WIDTH / 3) < 5
    # Colours come from the pixels that show the vertices, far as near.
    pixels = camera.project(fused.mesh.vertices)[0].long()
    inside = (pixels >= 1).all(-1) & (pixels < pixels.new_tensor([WIDTH - 1, HEIGHT - 1])).all(-1)
    told = image[pixels[inside, 1], pixels[inside, 0]]
    assert (fused.material.albedo[inside] - told).abs().mean() < 0.2


def test_what_is_behind_a_camera_takes_no_colour_from_it():
    ahead = camera_at(0.0)
    back = replace(ahead, camera_from_world=torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0])))
    depth, sure = torch.full((HEIGHT, WIDTH), 3.0), torch.ones(HEIGHT, WIDTH)
    maps = [DepthMap(depth, sure, camera) for camera in (ahead, back)]
    images = [torch.full((HEIGHT, WIDTH, 3), color) for color in (0.2, 0.7)]
    fused = fuse(maps, images)
    front = fused.mesh.vertices[:, 2] > 0
    albedo = fused.material.albedo
    assert front.any() and not front.all()
    torch.testing.assert_close(albedo[front], torch.full_like(albedo[front], 0.2))
    torch.testing.assert_close(albedo[~front], torch.full_like(albedo[~front], 0.7))


def test_places_are_fused_and_seen_from_elsewhere():
    cameras = [camera_at(0.0), camera_at(0.4), camera_at(0.2, y=0.3)]
    images, _ = photograph([speckled(wall(4.0, 0.2), 0)], cameras)
    maps = estimate_depth(images, cameras)
    fused = fuse(maps, images)
    between = camera_at(0.2)
    expected = photograph([speckled(wall(4.0, 0.2), 0)], [between])[0][0]
    shot = render(Scene((fused,), (), None), between, outputs=("albedo", "alpha"))
    assert shot.alpha is not None and shot.albedo is not None
    covered = shot.alpha > 0.99
    assert covered.float().mean() > 0.8
    assert -10 * (shot.albedo - expected)[covered].square().mean().log10() > 22


def test_a_shared_lens_and_poses_follow_the_matches():
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(200, 3, generator=generator) * 4 + torch.tensor([-2.0, -2.0, 4.0])
    true = []
    for eye in ([0.0, 0, 0], [1.0, 0.2, 0], [0.4, 1.0, 0.3], [-0.7, 0.4, 0.5]):
        pose = look_at(torch.tensor(eye), torch.tensor([0.0, 0.0, 6.0]), torch.tensor([0.1, -1, 0]))
        true.append(replace(camera_at(0.0), camera_from_world=pose))
    pixels = [camera.project(points)[0] for camera in true]
    matches = [Matches(a, b, pixels[a], pixels[b]) for b in range(4) for a in range(b)]
    given = [camera.with_lens(focal=1.1 * camera.focal) for camera in true]
    refined, residual = refine_cameras(given, matches)
    assert residual < 0.05
    for camera, wanted in zip(refined, true, strict=True):
        assert abs(float(camera.focal[0]) / FOCAL - 1) < 0.005
        assert (camera.centre - wanted.centre).norm() < 0.01
    lens = torch.tensor([-0.08, 0.02, 0.0, 0.0, 0.0])
    bent = [camera.with_lens(distortion=lens).project(points)[0] for camera in true]
    bent[1][0] += 40.0  # a wrong match
    matches = [Matches(a, b, bent[a], bent[b]) for b in range(4) for a in range(b)]
    refined, residual = refine_cameras(given, matches)
    assert residual < 0.05
    for camera, pixels_seen in zip(refined, bent, strict=True):
        assert camera.distortion is not None
        assert (camera.project(points)[0] - pixels_seen)[1:].norm(dim=-1).median() < 0.5
    with pytest.raises(ValueError, match=r"0 points match between three photos or more from"):
        refine_cameras(given, [Matches(0, 1, pixels[0][:3], pixels[1][:3])])


def test_undistorted_photos_are_those_of_a_straight_camera():
    lens = torch.tensor([-0.2, 0.05, 0.0, 0.0, 0.0])
    straight, bent = camera_at(0.0), camera_at(0.0).with_lens(distortion=lens)

    def sky(camera: Camera) -> Tensor:
        """A smooth image of the directions that a camera sees."""
        return 0.5 + 0.4 * torch.sin(6 * camera.unproject(torch.ones(HEIGHT, WIDTH)))

    found, camera = undistort(sky(bent), bent)
    assert camera.distortion is None
    assert (found - sky(straight)).abs().max() < 0.01
    assert (sky(bent) - sky(straight)).abs().max() > 0.05
    assert undistort(found, straight)[0] is found


class Counted(Sequence[Tensor]):
    """Images that count how often they are asked for."""

    def __init__(self, images: list[Tensor]) -> None:
        self.images, self.asked = images, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        self.asked += 1
        return self.images[index]


def test_kept_maps_are_used_again_and_belong_to_their_cameras(tmp_path):
    cameras = [camera_at(0.0), camera_at(0.4)]
    images = Counted(photograph([speckled(wall(4.0), 0)], cameras)[0])
    first = estimate_depth(images, cameras, keep=tmp_path)
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
    assert len(written) == 8  # four stages of two photos
    again = estimate_depth(images, cameras, keep=tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")} == written
    assert torch.equal(first[1].depth, again[1].depth)
    [lost] = tmp_path.glob("*/depth_00001.safetensors")
    lost.unlink()
    assert torch.equal(estimate_depth(images, cameras, keep=tmp_path)[1].depth, first[1].depth)
    lost.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"depth_00001.* is damaged .*; delete it and resume"):
        _ = Maps(lost.parent, "depth")[1]
    moved = [camera_at(0.0), camera_at(0.41)]
    estimate_depth(images, moved, keep=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_only_the_last_photos_stay_in_memory():
    cameras = [camera_at(0.01 * index) for index in range(RECENT + 5)]
    images = Counted([torch.rand(HEIGHT, WIDTH, 3)] * len(cameras))
    photos = PosedImages(images, cameras, 40)
    images.asked = 0  # the check of types looks at some
    for index in [*range(len(photos)), len(photos) - 1]:
        assert photos[index].grey.shape == (24, 32)
    once = images.asked
    assert photos[0].grey.shape == (24, 32)
    assert images.asked > once >= len(photos)  # the first one had to be read again


def test_bad_input_is_refused_in_one_line():
    cameras = [camera_at(0.0), camera_at(0.4)]
    image = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(6))
    images = [image, image]
    nan = replace(cameras[1], camera_from_world=torch.full((4, 4), float("nan")))
    away = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    away[0, 3] = 1.0
    bent = cameras[1].with_lens(distortion=torch.full((5,), 0.1))
    small = [torch.zeros(4, 5, 3), image]
    for photos, views, message in (
        (images[:1], cameras[:1], r"depth needs at least 2 photos from different places, got 1\."),
        (images, cameras[:1], r"there are 2 images for 1 cameras; give one camera per image\."),
        (
            small,
            cameras,
            r"image 0 has shape \(4, 5, 3\) but its camera is 72x96 \(h x w\); resize",
        ),
        (images, [cameras[0], nan], r"camera 1 is not finite; leave its photo out\."),
        (
            images,
            [cameras[0], bent],
            r"camera 1 has lens distortion; undistort its photo first \(invgraph",
        ),
        (
            images,
            [cameras[0], replace(cameras[0], camera_from_world=away)],
            r"photo 0 shows nothing that another photo shows; leave it out\.",
        ),
        (images, [cameras[0], cameras[0]], r"photo 0 shows nothing that another photo shows"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            estimate_depth(photos, views)
        assert "\n" not in str(caught.value)
    other = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(7))
    with pytest.raises(ValueError, match=r"photo 0 does not match the others: they agree with"):
        estimate_depth([image, other], cameras)


def test_fuse_refuses_what_it_cannot_use(monkeypatch):
    camera = camera_at(0.0)
    item = DepthMap(torch.full((HEIGHT, WIDTH), 3.0), torch.ones(HEIGHT, WIDTH), camera)
    image = torch.zeros(HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=r"there are 0 images for 1 depth maps; give one image"):
        fuse([item], [])
    with pytest.raises(ValueError, match=r"image 0 has shape \(3, 4, 3\) but its depth map is"):
        fuse([item], [torch.zeros(3, 4, 3)])
    with pytest.raises(ValueError, match=r"no depth has a confidence of 0\.5; lower it or add"):
        fuse([replace(item, confidence=torch.zeros(HEIGHT, WIDTH))], [image])
    for voxel in (-1.0, 0.001, float("nan")):
        with pytest.raises(ValueError, match=r"voxel is .* but a pixel covers 0\.03; use at least"):
            fuse([item], [image], voxel=voxel)
    monkeypatch.setattr(sys.modules["invgraph.fitting.place.fuse"], "_MOST_BLOCKS", 3)
    with pytest.raises(ValueError, match=r"voxels of 0\.01 need more than 3 blocks of 64\^3; use"):
        fuse([item], [image], voxel=0.01)


@pytest.mark.slow
def test_a_recorded_stereo_pair_beats_semi_global_matching(data_dir):
    folder = data_dir("motorcycle_stereo")
    images = []
    for name in ("motorcycle_left.png", "motorcycle_right.png"):
        pixels = np.asarray(Image.open(folder / name).convert("RGB"), np.float32) / 255
        images.append(linear_from_srgb(torch.from_numpy(pixels)))
    height, width = images[0].shape[:2]
    left = camera_at(0.0).with_lens(height=height, width=width)
    left = left.with_lens(focal=torch.full((2,), 1000.0))
    right_pose = torch.eye(4)
    right_pose[0, 3] = -1.0
    depth = estimate_depth(images, [left, replace(left, camera_from_world=right_pose)])[0].depth
    truth = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    known = np.isfinite(truth)
    error = np.abs(1000 / depth.numpy() - np.where(known, truth, 0))[known]
    assert 100 * (error > 2).mean() < 8.0
    assert np.median(error) < 0.15
