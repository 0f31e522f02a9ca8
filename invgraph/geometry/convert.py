"""Cameras in other conventions, to and from ours.

Ours: OpenCV axes (x right, y down, z forward), ``camera_from_world`` on column vectors, pixels with
the origin at the image's top-left corner, so that the first pixel's centre is at (0.5, 0.5).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.distortion import COEFFICIENTS, Model
from invgraph.geometry.lens import Lens


def _flip(like: Tensor, *signs: int) -> Tensor:
    return torch.diag(like.new_tensor(signs))


# OpenGL and Blender: x right, y up, z backward; the pose is the camera's placement in the world.


def from_opengl(
    world_from_camera: Float[Tensor, "*batch 4 4"],
    focal: Float[Tensor, "*batch 2"],
    principal: Float[Tensor, "*batch 2"],
    height: int,
    width: int,
) -> Camera:
    """A camera from an OpenGL or Blender pose, such as ``transform_matrix`` of transforms.json.

    Args:
        world_from_camera: placement of a camera with x right, y up, z backward.
        focal: pixels.
        principal: pixels from the top-left corner.
        height: rows of the image.
        width: columns of the image.
    """
    world_from_ours = world_from_camera @ _flip(world_from_camera, 1, -1, -1, 1)
    return Camera(Lens(focal, principal, height, width), transforms.invert(world_from_ours))


def to_opengl(camera: Camera) -> Float[Tensor, "*batch 4 4"]:
    """``world_from_camera`` for OpenGL or Blender: x right, y up, z backward."""
    pose = transforms.invert(camera.camera_from_world)
    return pose @ _flip(pose, 1, -1, -1, 1)


# PyTorch3D: row vectors times R, x left, y up, z forward.


def from_pytorch3d(
    R: Float[Tensor, "*batch 3 3"],
    T: Float[Tensor, "*batch 3"],
    focal_length: Float[Tensor, "*batch 2"],
    principal_point: Float[Tensor, "*batch 2"],
    image_size: Float[Tensor, "*batch 2"],
) -> Camera:
    """A camera from the arguments of PyTorch3D's ``PerspectiveCameras(..., in_ndc=False)``.

    Args:
        R: acts on row vectors: x_camera = x_world R + T, camera axes x left, y up, z forward.
        T: translation in those axes.
        focal_length: pixels.
        principal_point: pixels from the top-left corner.
        image_size: height, width; the same for the whole batch.

    Raises:
        ValueError: the batch holds several image sizes.
    """
    sizes = image_size.reshape(-1, 2)
    if not bool((sizes == sizes[0]).all()):
        raise ValueError("image_size differs within the batch; convert the sizes separately.")
    height, width = (int(size) for size in sizes[0])
    flip = _flip(R, -1, -1, 1)
    pose = transforms.pose(flip @ R.transpose(-1, -2), (flip @ T[..., None])[..., 0])
    return Camera(Lens(focal_length, principal_point, height, width), pose)


def to_pytorch3d(camera: Camera) -> dict[str, Tensor | bool]:
    """Keyword arguments for PyTorch3D's ``PerspectiveCameras``, which wants one batch axis.

    Raises:
        ValueError: the camera has distortion, which PyTorch3D's cameras lack.
    """
    _refuse_distortion(camera, "PyTorch3D")
    camera = camera.expanded()
    pose = camera.camera_from_world
    flip = _flip(pose, -1, -1, 1)
    size = pose.new_tensor([camera.height, camera.width])
    return {
        "R": (flip @ pose[..., :3, :3]).transpose(-1, -2),
        "T": (flip @ pose[..., :3, 3:])[..., 0],
        "focal_length": camera.focal,
        "principal_point": camera.principal,
        "image_size": size.expand(*camera.batch_shape, 2),
        "in_ndc": False,
    }


# nvdiffrast: OpenGL clip space. Its tensors have row 0 at the bottom (y = -1).


def from_nvdiffrast(
    clip_from_world: Float[Tensor, "*batch 4 4"], height: int, width: int
) -> Camera:
    """A camera from an OpenGL projection of the world, as nvdiffrast's vertices are made with.

    Args:
        clip_from_world: model-view-projection matrix of a perspective camera with square angles:
            rigid view, no skew. Clip y points up.
        height: rows of the image.
        width: columns of the image.

    Raises:
        ValueError: the matrix is not such a projection; a negated y row is the usual reason.
    """
    x, y, z, w = clip_from_world.unbind(-2)
    scale = w[..., :3].norm(dim=-1, keepdim=True)
    x, y, z, w = x / scale, y / scale, z / scale, w / scale
    forward = w[..., :3]
    shift_x = (x[..., :3] * forward).sum(-1, keepdim=True)
    shift_y = (y[..., :3] * forward).sum(-1, keepdim=True)
    row_x, row_y = x - shift_x * w, y - shift_y * w
    scale_x = row_x[..., :3].norm(dim=-1, keepdim=True)
    scale_y = row_y[..., :3].norm(dim=-1, keepdim=True)
    # Clip y is up, ours is down.
    top = torch.stack((row_x / scale_x, -row_y / scale_y, w), -2)
    rotation = top[..., :3]
    eye = torch.eye(3, dtype=top.dtype, device=top.device)
    error = (rotation @ rotation.transpose(-1, -2) - eye).abs().amax((-1, -2))
    if not bool((error < 1e-3).all()) or not bool((torch.linalg.det(rotation) > 0).all()):
        raise ValueError(
            "clip_from_world is not a rigid view times an OpenGL projection; "
            "undo skew, scaling or a negated y row first."
        )
    size = top.new_tensor([width, height])
    focal = torch.cat((scale_x, scale_y), -1) * size / 2
    principal = torch.cat((1 + shift_x, 1 - shift_y), -1) * size / 2
    # z_clip = a * depth + b with near = -b / (a + 1).
    a = (z[..., :3] * forward).sum(-1)
    near = float(((a * w[..., 3] - z[..., 3]) / (a + 1)).reshape(-1)[0])
    return Camera(
        Lens(focal, principal, height, width, near=near), transforms.pose(rotation, top[..., 3])
    )


def to_nvdiffrast(camera: Camera, far: float) -> Float[Tensor, "*batch 4 4"]:
    """``clip_from_world``: world points times this are what ``nvdiffrast.rasterize`` takes.

    Clip y points up as OpenGL has it, so nvdiffrast's images come with the bottom row first: flip
    their rows to get ours.

    Args:
        camera: its ``near`` becomes the near plane.
        far: depth of the far plane, beyond which nvdiffrast clips.

    Raises:
        ValueError: the camera has distortion, or ``far`` is not beyond ``near``.
    """
    _refuse_distortion(camera, "nvdiffrast's clip space")
    if not far > camera.near:
        raise ValueError(f"far {far} should be beyond the camera's near {camera.near}.")
    size = camera.focal.new_tensor([camera.width, camera.height])
    scale, shift = 2 * camera.focal / size, 2 * camera.principal / size - 1
    span = far - camera.near
    one = torch.ones_like(scale[..., 0])
    zero = torch.zeros_like(one)
    rows = (
        (scale[..., 0], zero, shift[..., 0], zero),
        (zero, -scale[..., 1], -shift[..., 1], zero),
        (zero, zero, one * (far + camera.near) / span, one * -2 * far * camera.near / span),
        (zero, zero, one, zero),
    )
    clip_from_camera = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return clip_from_camera @ camera.camera_from_world


# COLMAP: our axes and pixels; quaternion and translation of camera_from_world.

# Per model: ours, and where its parameters go in (fx, fy, cx, cy, coefficients in our order).
_COLMAP: dict[str, tuple[Model, tuple[int, ...]]] = {
    "SIMPLE_PINHOLE": ("brown", (0, 0, 1, 2)),
    "PINHOLE": ("brown", (0, 1, 2, 3)),
    "SIMPLE_RADIAL": ("brown", (0, 0, 1, 2, 3)),
    "RADIAL": ("brown", (0, 0, 1, 2, 3, 4)),
    "OPENCV": ("brown", (0, 1, 2, 3, 4, 5, 6, 7)),
    "FULL_OPENCV": ("rational", tuple(range(12))),
    "SIMPLE_RADIAL_FISHEYE": ("fisheye", (0, 0, 1, 2, 3)),
    "RADIAL_FISHEYE": ("fisheye", (0, 0, 1, 2, 3, 4)),
    "OPENCV_FISHEYE": ("fisheye", (0, 1, 2, 3, 4, 5, 6, 7)),
    "SIMPLE_FISHEYE": ("fisheye", (0, 0, 1, 2)),
    "FISHEYE": ("fisheye", (0, 1, 2, 3)),
}


def lens_from_colmap(
    model: str, params: Float[Tensor, "*batch p"], height: int, width: int
) -> Lens:
    """A lens from COLMAP's ``cameras`` record.

    Args:
        model: SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV, FULL_OPENCV, or
            SIMPLE_RADIAL_FISHEYE, RADIAL_FISHEYE, OPENCV_FISHEYE, SIMPLE_FISHEYE, FISHEYE.
        params: the model's parameters in COLMAP's order; pixels have the corner origin there too.
        height: rows of the image.
        width: columns of the image.

    Raises:
        ValueError: another model, or another number of parameters.
    """
    if model not in _COLMAP:
        raise ValueError(
            f"COLMAP model {model} is not supported; use one of {', '.join(_COLMAP)}, "
            "for instance by undistorting with COLMAP's image_undistorter."
        )
    ours, places = _COLMAP[model]
    if params.shape[-1] != max(places) + 1:
        raise ValueError(
            f"COLMAP model {model} has {max(places) + 1} parameters but got {params.shape[-1]}."
        )
    values = params[..., list(places)]
    if ours == "rational" and not bool((values[..., 9:] != 0).any()):
        ours, values = "brown", values[..., :9]
    distortion = None
    if ours != "brown" or len(places) > 4:
        distortion = values[..., 4:]
        missing = len(COEFFICIENTS[ours]) - distortion.shape[-1]
        distortion = torch.nn.functional.pad(distortion, (0, missing))
    return Lens(values[..., :2], values[..., 2:4], height, width, distortion, ours)


def lens_to_colmap(lens: Lens) -> tuple[str, Float[Tensor, "*batch p"]]:
    """Model and parameters for COLMAP's ``cameras`` record.

    The model is PINHOLE without distortion, OPENCV for Brown's where k3 is zero, FULL_OPENCV for
    it otherwise and for the rational one, and OPENCV_FISHEYE.
    """
    params = torch.cat((lens.focal, lens.principal), -1)
    if lens.distortion is None:
        return "PINHOLE", params
    whole = torch.cat((params, lens.distortion), -1)
    if lens.model == "fisheye":
        return "OPENCV_FISHEYE", whole
    if lens.model == "brown" and not bool((lens.distortion[..., 4] != 0).any()):
        return "OPENCV", whole[..., :8]
    return "FULL_OPENCV", torch.nn.functional.pad(whole, (0, 12 - whole.shape[-1]))


def from_colmap(
    quat_wxyz: Float[Tensor, "*batch 4"], translation: Float[Tensor, "*batch 3"], lens: Lens
) -> Camera:
    """A camera from COLMAP's ``images`` record.

    Args:
        quat_wxyz: QW, QX, QY, QZ of an image.
        translation: TX, TY, TZ of the image.
        lens: of the image's camera (:func:`lens_from_colmap`).
    """
    rotation = transforms.matrix_from_quat_wxyz(quat_wxyz)
    return Camera(lens, transforms.pose(rotation, translation))


def to_colmap(camera: Camera) -> tuple[Float[Tensor, "*batch 4"], Float[Tensor, "*batch 3"]]:
    """``quat_wxyz`` and translation for COLMAP's ``images`` record."""
    pose = camera.camera_from_world
    return transforms.quat_wxyz_from_matrix(pose[..., :3, :3]), pose[..., :3, 3]


# KITTI: our axes; its integers are pixel centres.


def from_kitti(
    projection: Float[Tensor, "*batch 3 4"],
    world_from_reference: Float[Tensor, "*batch 3 4"],
    height: int,
    width: int,
) -> Camera:
    """A camera from KITTI's calibration and pose files.

    Args:
        projection: P0 to P3 of calib.txt: pixels from the rectified reference camera (camera 0),
            with the first pixel's centre at (0, 0); half a pixel is added to its principal point.
        world_from_reference: a row of poses.txt.
        height: rows of the image.
        width: columns of the image.

    Raises:
        ValueError: ``projection`` has skew or a rotation: it is not a rectified camera's.
    """
    k = projection[..., :3]
    off = torch.stack((k[..., 0, 1], k[..., 1, 0], k[..., 2, 0], k[..., 2, 1], k[..., 2, 2] - 1))
    if not bool((off.abs() < 1e-6).all()):
        raise ValueError("projection is not K [I | t] of a rectified camera without skew.")
    offset = torch.linalg.solve(k, projection[..., 3:])[..., 0]
    eye = torch.eye(3, dtype=k.dtype, device=k.device).expand_as(k)
    reference_from_world = transforms.invert(
        transforms.pose(world_from_reference[..., :3], world_from_reference[..., 3])
    )
    focal = torch.stack((k[..., 0, 0], k[..., 1, 1]), -1)
    pose = transforms.pose(eye, offset) @ reference_from_world
    return Camera(Lens(focal, k[..., :2, 2] + 0.5, height, width), pose)


def to_kitti(
    camera: Camera,
) -> tuple[Float[Tensor, "*batch 3 4"], Float[Tensor, "*batch 3 4"]]:
    """Projection and ``world_from_camera`` rows for KITTI's files; this camera is the reference.

    Raises:
        ValueError: the camera has distortion, which KITTI's rectified images lack.
    """
    _refuse_distortion(camera, "KITTI's calibration")
    half = torch.zeros_like(camera.K)
    half[..., :2, 2] = 0.5
    projection = torch.nn.functional.pad(camera.K - half, (0, 1))
    return projection, transforms.invert(camera.camera_from_world)[..., :3, :]


def _refuse_distortion(camera: Camera, where: str) -> None:
    if camera.distortion is not None:
        raise ValueError(f"{where} has no lens distortion; undistort the images first.")
