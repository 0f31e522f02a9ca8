import math

import pytest
import torch

from invgraph.evaluate.metrics import (
    add_distance,
    adds_distance,
    albedo_rmse,
    align_similarity,
    angular_error_deg,
    camera_centre_pct,
    chamfer_pct,
    display,
    mask_iou,
    pose_error,
    psnr,
    psnr_mask,
    ssim,
)
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.primitives import cube, icosphere
from invgraph.geometry.subdivision import subdivide


def test_display_rounds_to_8_bit_srgb():
    shown = display(torch.tensor([-1.0, 0.21404114, 0.5, 7.0]))
    # 0.21404 encodes to 0.5, so 127.5, which rounds to the even 128; 0.5 encodes to 187.5.
    assert (shown * 255).round().tolist() == [0, 128, 188, 255]


def test_psnr_by_hand():
    reference = torch.zeros(2, 2, 3)
    image = torch.full((2, 2, 3), 0.1)
    assert psnr(image, reference) == pytest.approx(20.0, abs=1e-5)
    image[0, 0] = 0
    # Mean square 0.01 * 3 / 4.
    assert psnr(image, reference) == pytest.approx(-10 * math.log10(0.0075), abs=1e-5)
    assert psnr(reference, reference) == math.inf


def test_psnr_mask_ignores_the_outside():
    reference = torch.zeros(2, 2, 3)
    image = torch.full((2, 2, 3), 0.9)
    image[1, 1] = 0.01
    mask = torch.zeros(2, 2)
    mask[1, 1] = 0.5
    mask[0, 0] = 0.49
    assert psnr_mask(image, reference, mask) == pytest.approx(40.0, abs=1e-4)


def test_ssim_known_values():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(24, 20, 3, generator=generator)
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-9)
    # Constant images: variances vanish, leaving (2 a b + C1) / (a^2 + b^2 + C1), C1 = 0.01^2.
    flat = torch.full((24, 20, 3), 0.5)
    expected = (2 * 0.5 * 0.7 + 1e-4) / (0.25 + 0.49 + 1e-4)
    assert ssim(flat, flat + 0.2) == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_scikit_image_and_masks():
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(32, 32, 3, generator=generator)
    image = (reference + 0.2 * torch.rand(32, 32, 3, generator=generator)).clamp(0, 1)
    full = structural_similarity(
        image.double().numpy(),
        reference.double().numpy(),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[-1]
    mask = torch.zeros(32, 32)
    mask[8:24, 8:20] = 1
    expected = full[8:24, 8:20].mean()
    assert ssim(image, reference, mask) == pytest.approx(expected, abs=1e-4)
    assert abs(ssim(image, reference) - expected) > 1e-4


def test_mask_iou_by_hand():
    first = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.4, 0.0]])
    second = torch.tensor([[1.0, 0.0, 0.6], [0.0, 0.0, 0.0]])
    assert mask_iou(first, second) == pytest.approx(1 / 3)
    assert mask_iou(torch.zeros(2, 2), torch.zeros(2, 2)) == 1.0


def test_chamfer_of_equal_surfaces_is_zero_whatever_the_triangles():
    box = cube()
    # Distances between the 2000 samples themselves would come to about 1.5 %.
    assert chamfer_pct(box, subdivide(subdivide(box)), count=2000) < 0.02


def test_chamfer_of_concentric_spheres():
    sphere = icosphere(4)
    larger = Mesh(sphere.vertices * 1.1, sphere.faces)
    # Every point is 0.1 away; the diagonal of the unit sphere's box is 2 sqrt(3).
    expected = 100 * 0.1 / (2 * math.sqrt(3))
    assert chamfer_pct(larger, sphere, count=4000) == pytest.approx(expected, rel=0.01)


def test_chamfer_sees_a_missing_part():
    sphere = icosphere(3)
    centres = sphere.vertices[sphere.faces.long()].mean(1)
    half = Mesh(sphere.vertices, sphere.faces[centres[:, 2] > 0])
    # A point at angle t below the rim is 2 sin(t / 2) away; over the missing half that is 0.5523 on
    # average. Half of the true points are there, and accuracy is perfect.
    expected = 100 * 0.5523 / 2 / 2 / (2 * math.sqrt(3))
    assert chamfer_pct(half, sphere, count=4000) == pytest.approx(expected, rel=0.05)
    # The bounding box is that of the reference's faces, so a loose vertex changes nothing.
    loose = Mesh(torch.cat([sphere.vertices, torch.full((1, 3), 50.0)]), sphere.faces)
    assert chamfer_pct(half, loose, count=4000) == pytest.approx(expected, rel=0.05)


def test_angular_error_by_hand():
    first = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [1.0, 1.0, 0], [1.0, 0, 0]])
    second = torch.tensor([[0, 1.0, 0], [0, 0.1, 0], [1.0, 0, 0], [-3.0, 0, 0]])
    expected = torch.tensor([90.0, 0.0, 45.0, 180.0])
    assert torch.allclose(angular_error_deg(first, second), expected, atol=1e-4)
    tiny = torch.tensor([1.0, 1e-6, 0])
    assert angular_error_deg(tiny, first[0]).item() == pytest.approx(math.degrees(1e-6), rel=1e-3)


def test_albedo_rmse_frees_one_scale_per_channel():
    generator = torch.Generator().manual_seed(2)
    reference = torch.rand(6, 5, 3, generator=generator)
    mask = torch.ones(6, 5)
    assert albedo_rmse(reference * torch.tensor([0.5, 2.0, 3.0]), reference, mask) < 1e-6
    # One channel, estimate (1, 1), truth (1, 3): best scale 2, error 1 in each.
    estimate = torch.ones(1, 2, 3)
    truth = torch.tensor([1.0, 3.0])[None, :, None].expand(1, 2, 3)
    assert albedo_rmse(estimate, truth, torch.ones(1, 2)) == pytest.approx(1.0)


def test_bad_input_says_what_to_do():
    image, mask = torch.zeros(12, 12, 3), torch.zeros(12, 12)
    with pytest.raises(ValueError, match=r"image has shape .* but reference has .*; resize"):
        psnr(image, torch.zeros(12, 13, 3))
    with pytest.raises(ValueError, match=r"mask is \(3, 3\).*resize"):
        psnr_mask(image, image, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="nothing to score"):
        psnr_mask(image, image, mask)
    with pytest.raises(ValueError, match="window is 11x11"):
        ssim(image[:5], image[:5])
    with pytest.raises(ValueError, match="mask has shape"):
        mask_iou(mask, mask[:3])
    broken = Mesh(torch.full((3, 3), math.nan), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="mesh has vertices that are not finite"):
        chamfer_pct(broken, cube())


def test_a_similarity_is_found_by_hand():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    # Twice the size, a quarter turn about z, moved by (1, 2, 3).
    moved = torch.tensor([[1.0, 2, 3], [1, 4, 3], [-1, 2, 3], [1, 2, 5]])
    scale, rotation, translation = align_similarity(points, moved)
    assert scale == pytest.approx(2.0)
    assert torch.allclose(rotation, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).double())
    assert translation.tolist() == pytest.approx([1.0, 2.0, 3.0])
    # A mirror image is no rotation of the points.
    assert torch.linalg.det(align_similarity(points, -moved)[1]) == pytest.approx(1.0)


def test_camera_centre_error_by_hand():
    reference = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert camera_centre_pct(5 * reference + 7, reference) == pytest.approx(0.0, abs=1e-5)
    # Out of the plane by turns, by h: rotation and scale of the least squares stay
    # (the scale is 4 / (4 + 4 h^2)), so each centre is off by |(1 - s, s h)|.
    height = 0.1
    bent = reference.clone()
    bent[:, 2] = torch.tensor([1.0, 1, -1, -1]) * height
    scale = 1 / (1 + height**2)
    expected = math.hypot(1 - scale, scale * height) / math.sqrt(8) * 100
    assert camera_centre_pct(bent, reference) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("points", "reference", "words"),
    [
        (torch.zeros(3, 3), torch.eye(3), "all points are in one place"),
        (torch.eye(3), torch.ones(3, 3), "all reference cameras are in one place"),
        (torch.eye(3)[:2], torch.eye(3)[:2], "2 points do not fix a similarity"),
        (torch.eye(3)[:2], torch.eye(3), "points has shape"),
    ],
)
def test_what_cannot_be_aligned_is_refused(points, reference, words):
    with pytest.raises(ValueError, match=words):
        camera_centre_pct(points, reference)


# The corners of a square of side 2 around the origin.
SQUARE = torch.tensor([[1.0, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])


def _placed(shift, turn_deg):
    """A turn about z, then a shift."""
    angle = math.radians(turn_deg)
    pose = torch.eye(4)
    pose[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    pose[:3, 3] = torch.tensor(shift)
    return pose


def test_add_by_hand():
    reference = _placed((0.0, 0, 5), 0)
    # A shift moves every point alike; half a turn moves each corner across the diagonal 2 sqrt(2).
    assert add_distance(SQUARE, _placed((0.3, 0, 5.4), 0), reference) == pytest.approx(0.5)
    assert add_distance(SQUARE, _placed((0.0, 0, 5), 180), reference) == pytest.approx(8**0.5)
    # A quarter turn moves each corner along a side.
    assert add_distance(SQUARE, _placed((0.0, 0, 5), 90), reference) == pytest.approx(2.0)
    assert add_distance(SQUARE, reference, reference) == 0


def test_adds_by_hand():
    reference = _placed((0.0, 0, 5), 0)
    # The square turned by a quarter is itself.
    assert adds_distance(SQUARE, _placed((0.0, 0, 5), 90), reference) == pytest.approx(0, abs=1e-6)
    assert adds_distance(SQUARE, _placed((0.0, 0, 5.5), 90), reference) == pytest.approx(0.5)
    # Shifted by 2 along x, two corners land on others; of the true ones the two on the left are 2
    # away from the nearest estimated one, the two on the right 0.
    assert adds_distance(SQUARE, _placed((2.0, 0, 5), 0), reference) == pytest.approx(1.0)
    # From the truth 0, 1, 9 on a line to the estimate 10, 11, 19; the other way it is 13 / 3.
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    assert adds_distance(line, _placed((10.0, 0, 0), 0), torch.eye(4)) == pytest.approx(20 / 3)


def test_pose_error_by_hand():
    shift, turn = pose_error(_placed((0.0, 3, 9), 30), _placed((0.0, 0, 5), -15))
    assert shift == pytest.approx(5) and turn == pytest.approx(45, abs=1e-4)
    assert pose_error(_placed((0.0, 0, 5), 180), _placed((0.0, 0, 5), 0))[1] == pytest.approx(180)


def test_distances_need_points():
    for distance in (add_distance, adds_distance):
        with pytest.raises(ValueError, match="points are empty"):
            distance(torch.zeros(0, 3), torch.eye(4), torch.eye(4))
