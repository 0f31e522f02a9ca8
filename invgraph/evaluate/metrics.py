"""How far an estimate is from a reference, by published protocols.

Image metrics take display values: sRGB, rounded to 8 bits, in [0, 1], as ``display`` makes them.
Two inputs must agree in size; their axes have different names here so that our message says so.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.mesh import Mesh, gather_vertices
from invgraph.geometry.sampling import sample_surface
from invgraph.geometry.transforms import apply, log_so3

_CANDIDATES = 8  # nearest samples whose triangles may hold a point's nearest place


def display(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What an 8-bit sRGB file would hold, in [0, 1]: the values that image metrics compare.

    Gradients:
        None: rounding has none.
    """
    return (srgb_from_linear(linear.detach()).clamp(0, 1) * 255).round() / 255


def psnr(image: Float[Tensor, "h w c"], reference: Float[Tensor, "rh rw rc"]) -> float:
    """Peak signal-to-noise ratio over the whole image, dB; infinite for equal images.

    Args:
        image: display values in [0, 1].
        reference: the same.

    Raises:
        ValueError: the sizes differ.

    Source:
        Mildenhall et al., NeRF (2020): -10 log10 of the mean squared error of values in [0, 1].
    """
    _check_same("image", image, "reference", reference)
    return _decibel((image.double() - reference.double()).square().mean().item())


def psnr_mask(
    image: Float[Tensor, "h w c"],
    reference: Float[Tensor, "rh rw rc"],
    mask: Float[Tensor, "mh mw"],
) -> float:
    """Peak signal-to-noise ratio over the pixels of a mask, dB.

    Args:
        image: display values in [0, 1].
        reference: the same.
        mask: the true mask; pixels of at least 0.5 count.

    Raises:
        ValueError: the sizes differ or the mask is empty.

    Source:
        Boss et al., NeRD (2021): PSNR of held-out photos inside the object's mask.
    """
    _check_same("image", image, "reference", reference)
    inside = _inside(mask, image)
    return _decibel((image.double() - reference.double())[inside].square().mean().item())


def ssim(
    image: Float[Tensor, "h w c"],
    reference: Float[Tensor, "rh rw rc"],
    mask: Float[Tensor, "mh mw"] | None = None,
) -> float:
    """Structural similarity, its map averaged over all pixels or those of a mask.

    Args:
        image: display values in [0, 1].
        reference: the same.
        mask: pixels of at least 0.5 count; the window still looks at their neighbours, so set what
            is outside the mask alike in both images.

    Raises:
        ValueError: the sizes differ, an image is smaller than the window, or the mask is empty.

    Source:
        Wang et al., Image Quality Assessment (2004): 11x11 Gaussian window, sigma 1.5.
    """
    from kornia.metrics import ssim as kornia_ssim

    _check_same("image", image, "reference", reference)
    if min(image.shape[:2]) < 11:
        raise ValueError(
            f"image is {image.shape[0]}x{image.shape[1]} (h x w) but SSIM's window is 11x11; "
            "use a larger image."
        )
    planes = [picture.movedim(-1, 0)[None].double() for picture in (image, reference)]
    similarity = kornia_ssim(planes[0], planes[1], window_size=11)[0].mean(0)
    if mask is not None:
        similarity = similarity[_inside(mask, image)]
    return similarity.mean().item()


def mask_iou(mask: Float[Tensor, "h w"], reference: Float[Tensor, "rh rw"]) -> float:
    """Intersection over union of two masks cut at 0.5; 1 if both are empty.

    Raises:
        ValueError: the sizes differ.

    Source:
        Everingham et al., The Pascal Visual Object Classes Challenge (2010), section 4.
    """
    _check_same("mask", mask, "reference", reference)
    first, second = mask >= 0.5, reference >= 0.5
    union = (first | second).sum().item()
    return (first & second).sum().item() / union if union else 1.0


def chamfer_pct(mesh: Mesh, reference: Mesh, count: int = 50_000, seed: int = 0) -> float:
    """Mean distance between two surfaces, in percent of the reference's bounding-box diagonal.

    The mean of accuracy (mesh to reference) and completeness (reference to mesh). Points are drawn
    evenly by area; each is compared with triangles, not with points, of the other surface, so that
    equal surfaces score practically zero however they are sampled.

    Args:
        mesh: the estimate, in the reference's frame.
        reference: the truth.
        count: points on each surface.
        seed: of the points.

    Raises:
        ValueError: a mesh is batched, has no area, or is not finite.

    Source:
        Accuracy and completeness: Jensen et al., Large Scale Multi-view Stereopsis (2014).
    """
    for name, each in (("mesh", mesh), ("reference", reference)):
        if not bool(torch.isfinite(each.vertices).all()):
            raise ValueError(f"{name} has vertices that are not finite; remove them first.")
    generator = torch.Generator().manual_seed(seed)
    first, first_face = sample_surface(mesh, count, generator)
    second, second_face = sample_surface(reference, count, generator)
    corners = reference.vertices[reference.faces.unique().long()]
    diagonal = (corners.amax(0) - corners.amin(0)).norm().item()
    accuracy = _distance(first, reference, second, second_face)
    completeness = _distance(second, mesh, first, first_face)
    return 100 * (accuracy + completeness) / 2 / diagonal


def angular_error_deg(
    direction: Float[Tensor, "*batch 3"], reference: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch"]:
    """Angle between directions of any length, degrees; accurate near 0 and 180."""
    _check_same("direction", direction, "reference", reference)
    cross = torch.linalg.cross(direction.double(), reference.double(), dim=-1).norm(dim=-1)
    dot = (direction.double() * reference.double()).sum(-1)
    return torch.rad2deg(torch.atan2(cross, dot)).to(direction.dtype)


def add_distance(
    points: Float[Tensor, "n 3"], pose: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"]
) -> float:
    """Mean distance between a model's points under two poses (ADD), in the points' unit.

    Args:
        points: of the model's surface, object frame.
        pose: the estimate, camera_from_object.
        reference: the truth.

    Raises:
        ValueError: there are no points.

    Source:
        Hinterstoisser et al., Model Based Training, Detection and Pose Estimation of Texture-Less
        3D Objects in Heavily Cluttered Scenes (2012), equation 7.
    """
    estimated, true = _under_both(points, pose, reference)
    return (estimated - true).norm(dim=-1).mean().item()


def adds_distance(
    points: Float[Tensor, "n 3"], pose: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"]
) -> float:
    """Mean distance from a model's points to the nearest of them under another pose (ADD-S).

    For objects that look the same in several poses.

    Args:
        points: of the model's surface, object frame; dense, as distances are between points.
        pose: the estimate, camera_from_object.
        reference: the truth.

    Raises:
        ValueError: there are no points.

    Source:
        Hinterstoisser et al. (2012), equation 8, from the truth to the estimate.
    """
    from scipy.spatial import KDTree

    estimated, true = _under_both(points, pose, reference)
    return float(KDTree(estimated.numpy()).query(true.numpy())[0].mean())


def pose_error(pose: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"]) -> tuple[float, float]:
    """Distance between the origins of two poses, and the angle between them in degrees."""
    estimated, true = pose.detach().double(), reference.detach().double()
    shift = (estimated[:3, 3] - true[:3, 3]).norm().item()
    turn = log_so3(estimated[:3, :3] @ true[:3, :3].T)
    return shift, math.degrees(turn.norm().item())


def align_similarity(
    points: Float[Tensor, "n 3"], reference: Float[Tensor, "m 3"]
) -> tuple[float, Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """Scale, rotation and translation that bring points closest to others, in least squares.

    ``scale * points @ rotation.T + translation`` is near ``reference``.

    Args:
        points: to move.
        reference: where each of them belongs.

    Raises:
        ValueError: different numbers of points, fewer than three, or all in one place.

    Source:
        Umeyama, Least-squares estimation of transformation parameters (1991).
    """
    _check_same("points", points, "reference", reference)
    if len(points) < 3:
        raise ValueError(f"{len(points)} points do not fix a similarity; give at least 3.")
    source, target = points.double(), reference.double()
    source_mean, target_mean = source.mean(0), target.mean(0)
    source, target = source - source_mean, target - target_mean
    spread = source.square().sum().item()
    if spread == 0:
        raise ValueError("all points are in one place, so no scale fits; give different ones.")
    u, s, vt = torch.linalg.svd(target.T @ source)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(u @ vt))
    rotation = u @ torch.diag(sign) @ vt
    scale = (s * sign).sum().item() / spread
    return scale, rotation, target_mean - scale * rotation @ source_mean


def camera_centre_pct(centres: Float[Tensor, "n 3"], reference: Float[Tensor, "m 3"]) -> float:
    """Mean distance between camera centres after the best similarity, in percent.

    Of the diagonal of the reference centres' bounding box.

    Args:
        centres: the estimate, in any frame and scale.
        reference: the truth.

    Raises:
        ValueError: as for ``align_similarity``, or the reference is a single place.

    Source:
        Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (2012), absolute error
        after alignment, here with scale.
    """
    scale, rotation, translation = align_similarity(centres, reference)
    extent = (reference.amax(0) - reference.amin(0)).double().norm().item()
    if extent == 0:
        raise ValueError("all reference cameras are in one place; there is no extent to compare.")
    moved = scale * centres.double() @ rotation.T + translation
    return 100 * (moved - reference.double()).norm(dim=-1).mean().item() / extent


def albedo_rmse(
    albedo: Float[Tensor, "h w 3"],
    reference: Float[Tensor, "rh rw 3"],
    mask: Float[Tensor, "mh mw"],
) -> float:
    """Root mean square error of linear albedo after the best scale of each colour channel.

    Photographs tell albedo times light only, so one factor per channel is free.

    Args:
        albedo: linear.
        reference: linear.
        mask: where both are defined; pixels of at least 0.5 count.

    Raises:
        ValueError: the sizes differ or the mask is empty.

    Source:
        Zhang et al., NeRFactor (2021), section 5: per-channel scales by least squares.
    """
    _check_same("albedo", albedo, "reference", reference)
    inside = _inside(mask, albedo)
    estimate, truth = albedo.double()[inside], reference.double()[inside]
    scale = (estimate * truth).sum(0) / (estimate * estimate).sum(0).clamp_min(1e-12)
    return (scale * estimate - truth).square().mean().sqrt().item()


def _decibel(mean_square: float) -> float:
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)


def _inside(mask: Tensor, image: Tensor) -> Bool[Tensor, "mh mw"]:
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f"mask is {tuple(mask.shape)} (h, w) but the image is {tuple(image.shape[:2])}; "
            "resize one of them first."
        )
    inside = mask >= 0.5
    if not bool(inside.any()):
        raise ValueError("mask has no pixel of at least 0.5, so there is nothing to score.")
    return inside


def _check_same(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} but {other_name} has {tuple(other.shape)}; "
            "resize one of them first."
        )


def _distance(
    points: Float[Tensor, "n 3"],
    mesh: Mesh,
    samples: Float[Tensor, "m 3"],
    sample_faces: Int[Tensor, " m"],
) -> float:
    """Mean distance from points to the triangles on which their nearest samples lie."""
    from scipy.spatial import KDTree

    near = KDTree(samples.detach().double().numpy()).query(
        points.detach().double().numpy(), k=_CANDIDATES
    )[1]
    faces = mesh.faces[sample_faces[torch.from_numpy(near)]]
    triangles = gather_vertices(mesh.vertices.double(), faces.reshape(-1, 3))
    spread = points.double()[:, None].expand(-1, _CANDIDATES, -1).reshape(-1, 3)
    return _triangle_distance(spread, triangles).reshape(-1, _CANDIDATES).amin(-1).mean().item()


def _under_both(points: Tensor, pose: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if not len(points):
        raise ValueError("points are empty but distances are between points; give a model's.")
    points = points.detach().double()
    return apply(pose.detach().double(), points), apply(reference.detach().double(), points)


def _triangle_distance(
    points: Float[Tensor, "n 3"], triangles: Float[Tensor, "n 3 3"]
) -> Float[Tensor, " n"]:
    """Distance from each point to its triangle: to the plane if above it, else to an edge."""
    best = torch.full_like(points[:, 0], math.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        start, edge = triangles[:, first], triangles[:, second] - triangles[:, first]
        length2 = edge.square().sum(-1).clamp_min(1e-300)
        along = (((points - start) * edge).sum(-1) / length2).clamp(0, 1)
        best = torch.minimum(best, (points - start - along[:, None] * edge).norm(dim=-1))
    a, b, c = triangles.unbind(1)
    normal = torch.linalg.cross(b - a, c - a, dim=-1)
    area2 = normal.square().sum(-1).clamp_min(1e-300)
    above = torch.ones_like(best, dtype=torch.bool)
    for start, end in ((a, b), (b, c), (c, a)):
        above &= (torch.linalg.cross(end - start, points - start, dim=-1) * normal).sum(-1) >= 0
    height = ((points - a) * normal).sum(-1).abs() / area2.sqrt()
    return torch.where(above & (area2 > 1e-290), height, best)
