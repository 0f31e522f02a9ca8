"""Descent on the pose: render, compare outline and surface with the image, step, again.

Source:
    Gauss-Newton on the pose from outlines: Tjaden et al., A region-based Gauss-Newton approach to
    real-time monocular multiple object tracking (PAMI 2018).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from invgraph.fitting.pose import contour, surface
from invgraph.fitting.pose.colors import Palette
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import NEAREST, Target, Window, box_around, crop_window
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.least_squares import NormalEquations, minimise, weighted_equations
from invgraph.geometry.transforms import perturb
from invgraph.photometric.response import respond, solve_response
from invgraph.raster import interpolate

POINTS = 900  # of the surface that are compared, at most
LEAST_POINTS = 30
FULL_PX = 150.0  # size in the image from which strides are what they say; less for smaller ones
JUMP = 0.5  # how far it may have moved since the last image, relative to its size there
SLIDE_PX = 32  # size of the object in the image in which it is searched
# Colours seen in images hold their shading; given ones lack it, so that many err together, and at
# the outline, where the image is mixed with what is behind, they pull the points inwards.
TOGETHER = {"seen": 3.0, "given": 12.0}  # colours that tell one thing, three per point
BORDER = {"seen": 0, "given": 2}  # px inside the outline that are not compared
WITHIN = 2.0  # px inside the outline at which is looked whether something is in front of it
NOISE = 0.02  # least error of a colour, square root of linear values
DAMPING = 1e-3  # relative to the information
TRIES = 4
FARTHEST, WIDEST = 0.1, 0.3  # one step at most: relative to the distance, rad
CALM = 2.0  # residual, in standard deviations, above which the robust weight falls


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a descent arrived.

    Attributes:
        pose: ``camera_from_object``.
        information: inverse covariance of ``(rho, phi)`` as if all measurements were independent.
    """

    pose: Float[Tensor, "4 4"]
    information: Float[Tensor, "6 6"]


def refine(
    model: KnownObject,
    target: Target,
    palette: Palette,
    vertex_colors: VertexColors,
    pose: Float[Tensor, "4 4"],
    strides: tuple[int, ...],
    hidden: Bool[Tensor, "h w"] | None = None,
    any_camera: bool = False,
) -> Fit | None:
    """Improve a pose by Levenberg-Marquardt steps, from coarse strides to fine ones.

    Args:
        model: the object.
        target: the image.
        palette: colours of object and surroundings.
        vertex_colors: colours of the surface; not used where nothing is known.
        pose: to start from, ``camera_from_object``.
        strides: per step, px between the samples across the outline, whose reach is 12 of them; of
            an object of FULL_PX, less for a smaller one.
        hidden: pixels of the image where something is in front of the object, if that is known:
            they are not compared.
        any_camera: solve what the camera made of given colours. Far from the right pose that
            explains too much, and leads astray.

    Returns:
        None if the object leaves the image.
    """
    information = torch.zeros(6, 6)
    size = float(target.camera.focal.mean()) * model.diameter / max(float(pose[2, 3]), NEAREST)
    if hidden is None:
        hidden = torch.zeros_like(target.cell, dtype=torch.bool)
    for stride in strides:
        stride = max(1, round(stride * min(1.0, size / FULL_PX)))
        window = crop_window(model, target.camera, pose, contour.REACH * stride + 2)
        if window is None:
            return None
        front = window.cut(hidden[None])[0]
        lines = _outline(model, window, target, palette, stride, front)
        points = _surface(model, window, pose, target, vertex_colors, stride, front, any_camera)
        pose, information = _step(pose, lines, points)
    return Fit(pose, information)


def slide(
    model: KnownObject, target: Target, vertex_colors: VertexColors, pose: Float[Tensor, "4 4"]
) -> Float[Tensor, "4 4"]:
    """Move an object parallel to the image to where its rendered colours fit best.

    All shifts are compared at once, in a small copy of the image: a start for :func:`refine` when
    the object jumped.
    """
    window = crop_window(model, target.camera, pose, 2)
    if window is None or not bool((vertex_colors.seen > 0).any()):
        return pose
    size = max(window.camera.height, window.camera.width)
    corner = window.pixels.new_tensor([window.left, window.top])
    box = box_around(window.pixels + corner, int(JUMP * size), target.camera)
    assert box is not None
    left, top, right, bottom = box
    factor = max(round(size / SLIDE_PX), 1)
    drawn = predicted(model, window, pose, target, vertex_colors)
    if drawn is None:
        return pose
    mask = window.covered.float()[None]
    template = avg_pool2d(torch.cat([drawn * mask, mask]), factor)
    image = avg_pool2d(target.root[:, top:bottom, left:right], factor)
    weight = template[3:]
    kernel = torch.cat([-2 * template[:3], weight.expand(3, -1, -1)])[None]
    if image.shape[1] < kernel.shape[2] or image.shape[2] < kernel.shape[3]:
        return pose
    error = conv2d(torch.cat([image, image.square()])[None], kernel)[0, 0]
    row, column = divmod(int(error.argmin()), error.shape[1])
    here = pose.new_tensor([window.left - left, window.top - top]) / factor
    jump = (pose.new_tensor([column, row]) - here) * factor
    moved = pose.clone()
    moved[:2, 3] += jump * pose[2, 3] / target.camera.focal
    return moved


def predicted(
    model: KnownObject,
    window: Window,
    pose: Float[Tensor, "4 4"],
    target: Target,
    vertex_colors: VertexColors,
    any_camera: bool = False,
) -> Float[Tensor, "3 h w"] | None:
    """Root of the object's colours in a window, under the light that fits them best.

    Args:
        any_camera: as for :func:`lit`.

    Returns:
        None if too little of the object is known or visible.
    """
    normals = transforms.rotate(pose, model.normals)
    shown = compared(model, window, normals)
    shown = shown[vertex_colors.seen[shown] > 0]
    if len(shown) < LEAST_POINTS:
        return None
    _, wanted = lit(window, normals, target, vertex_colors, shown, any_camera)
    wanted = wanted.clamp_max(1)
    return interpolate(wanted[None], model.mesh.topology, window.fragments)[0].permute(2, 0, 1)


def lit(
    window: Window,
    normals: Tensor,
    target: Target,
    vertex_colors: VertexColors,
    shown: Tensor,
    any_camera: bool,
) -> tuple[Float[Tensor, "9 3"], Float[Tensor, "v 3"]]:
    """The light that explains some vertices best, and the root of all vertices' colours in it.

    Args:
        normals: of all vertices, camera frame.
        shown: the vertices that the image shows.
        any_camera: solve what the camera made of given colours, too.
    """
    if any_camera and vertex_colors.source == "given":
        return _photographed(window, normals, target, vertex_colors, shown)
    color = contour.sample(window.cut(target.root), window.pixels[shown][:, None])[..., 0].T
    light = surface.find_light(vertex_colors.albedo[shown], normals[shown], color.square())
    return light, (vertex_colors.albedo * surface.shading(light, normals)).sqrt()


def _photographed(
    window: Window, normals: Tensor, target: Target, vertex_colors: VertexColors, shown: Tensor
) -> tuple[Tensor, Tensor]:
    """As :func:`lit`, with what the camera made of the colours.

    Colours above 1 are cut off in the image.
    """
    color = contour.sample(window.cut(target.root), window.pixels[shown][:, None])[..., 0].T
    albedo = vertex_colors.albedo
    own, shape = albedo[shown], surface.columns(normals[shown])

    def relit(color: Tensor) -> tuple[Tensor, Tensor]:
        light = surface.light_of(shape, own, color.square(), overexposed=True)
        return light, (own * surface.radiance(shape, light)).sqrt()

    def solved(roots: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        response = solve_response(roots, color, weight)
        change = respond(roots, response) - roots  # what the camera did to it
        return response, *relit((color - change).clamp_min(0))

    _, roots = relit(color)
    response, _, roots = solved(roots, torch.ones(len(shown)))
    # What is in front of the object tells nothing of the camera.
    error = (color - respond(roots, response)).norm(dim=-1)
    usual = 1.48 * error.median() + NOISE
    weight = 1 / (1 + (error / (CALM * usual)).square()).square()
    response, light, _ = solved(roots, weight)
    return light, respond((albedo * surface.shading(light, normals)).sqrt(), response)


class _Lines:
    """Residuals of the outline, at any pose."""

    def __init__(self, rim: contour.Rim, window: Window, found: tuple) -> None:
        self.rim, self.camera = rim, window.camera
        mean, variance, body = found
        self.wanted = (rim.pixels * rim.normals).sum(-1) + mean
        self.scale = variance.rsqrt()
        calm = CALM * variance.sqrt() + float(mean.abs().median()) * 2
        self.weight = body / (1 + (mean / calm).square())

    def error(self, pose: Tensor) -> Tensor:
        flat = self.camera.homogeneous_pixels(transforms.apply(pose, self.rim.points))
        pixels = flat[:, :2] / flat[:, 2:].clamp_min(1e-6)
        return ((pixels * self.rim.normals).sum(-1) - self.wanted) * self.scale

    def jacobian(self, pose: Tensor) -> Tensor:
        turned = transforms.rotate(pose, self.rim.points)
        moves = _pixel_by_twist(self.camera, turned, turned + pose[:3, 3])
        return self.scale[:, None] * (self.rim.normals[:, None] @ moves)[:, 0]


class _Points:
    """Residuals of the surface's colours, at any pose."""

    def __init__(
        self, points: Tensor, wanted: Tensor, image: Tensor, camera: Camera, together: float
    ) -> None:
        self.together = together
        self.points, self.wanted, self.image, self.camera = points, wanted, image, camera
        self.scale = 1.0
        self.weight = torch.ones(len(points), 3)

    def settle(self, pose: Tensor) -> None:
        """Find the noise and the robust weights at a pose."""
        error = self.raw(pose)[0]
        self.scale = 1 / max(1.48 * float(error.abs().median()), NOISE)
        size2 = (error * self.scale).square().mean(-1, keepdim=True)
        self.weight = (1 / (1 + size2 / CALM**2)).square().expand(-1, 3) / self.together

    def raw(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        flat = self.camera.homogeneous_pixels(transforms.apply(pose, self.points))
        pixels = flat[:, :2] / flat[:, 2:].clamp_min(1e-6)
        value, slope = surface.slopes(self.image, pixels)
        return value - self.wanted, slope

    def error(self, pose: Tensor) -> Tensor:
        return (self.raw(pose)[0] * self.scale).flatten()

    def jacobian(self, pose: Tensor) -> Tensor:
        turned = transforms.rotate(pose, self.points)
        moves = _pixel_by_twist(self.camera, turned, turned + pose[:3, 3])
        return (self.scale * (self.raw(pose)[1] @ moves)).flatten(0, 1)


def _pixel_by_twist(camera: Camera, turned: Tensor, seen: Tensor) -> Tensor:
    """How pixels change with the twist, ``n 2 6``; the lens is taken as a pinhole."""
    x, y, z = seen.unbind(-1)
    z = z.clamp_min(1e-6)
    zero = torch.zeros_like(z)
    fx, fy = camera.focal.unbind(-1)
    by_point = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * x / z.square()], -1),
            torch.stack([zero, fy / z, -fy * y / z.square()], -1),
        ],
        1,
    )
    return torch.cat([by_point, -by_point @ transforms.cross_matrix(turned)], -1)


def _outline(
    model: KnownObject,
    window: Window,
    target: Target,
    palette: Palette,
    stride: int,
    hidden: Tensor,
) -> _Lines | None:
    rim = contour.outline(model, window.seen, window.pixels, window.camera, window.covered)
    if len(rim.points) < 6:
        return None
    cell = window.cut(target.cell[None])[0]
    mean, variance, body = contour.offsets(palette, cell, window.covered, rim, stride)
    seen = ~contour.nearest(hidden, rim.pixels - WITHIN * rim.normals)
    return _Lines(rim, window, (mean, variance, body * seen))


def visible(model: KnownObject, window: Window, normals: Tensor) -> Tensor:
    """All vertices that the window shows; ``normals`` in the camera frame."""
    depth, tolerance = window.fragments.depth[0], 0.01 * model.diameter
    return surface.visible(window.seen, normals, window.pixels, depth, tolerance).nonzero()[:, 0]


def compared(model: KnownObject, window: Window, normals: Tensor) -> Tensor:
    """Vertices that the window shows, a spread of them if there are many."""
    shown = visible(model, window, normals)
    return shown[:: -(-len(shown) // POINTS)] if len(shown) else shown


def _surface(
    model: KnownObject,
    window: Window,
    pose: Tensor,
    target: Target,
    vertex_colors: VertexColors,
    stride: int,
    hidden: Tensor,
    any_camera: bool,
) -> _Points | None:
    """Known parts of the surface; image and render are as smooth as ``stride``."""
    normals = transforms.rotate(pose, model.normals)
    chosen = compared(model, window, normals)
    chosen = chosen[
        (vertex_colors.seen[chosen] > 0) & ~contour.nearest(hidden, window.pixels[chosen])
    ]
    if len(chosen) < LEAST_POINTS:
        return None
    image = window.cut(target.root)
    _, wanted = lit(window, normals, target, vertex_colors, chosen, any_camera)
    wanted = wanted.clamp_max(1)
    size = 2 * stride - 1
    mask = window.covered.float()[None]
    at = window.pixels[chosen][:, None]
    inner = contour.sample(_blur(mask, size + 2 * BORDER[vertex_colors.source]), at)[0, :, 0] > 0.99
    if stride > 1:
        drawn = interpolate(wanted[None], model.mesh.topology, window.fragments)[0].permute(2, 0, 1)
        blurred = contour.sample(_blur(torch.cat([drawn * mask, mask]), size), at)[..., 0].T
        wanted, image = blurred[:, :3] / blurred[:, 3:].clamp_min(0.1), _blur(image, size)
    else:
        wanted = wanted[chosen]
    chosen, wanted = chosen[inner], wanted[inner]
    if len(chosen) < LEAST_POINTS:
        return None
    points = _Points(
        model.mesh.vertices[chosen], wanted, image, window.camera, TOGETHER[vertex_colors.source]
    )
    points.settle(pose)
    return points


def _blur(image: Tensor, size: int) -> Tensor:
    return avg_pool2d(image, size, 1, size // 2, count_include_pad=False)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """What an image says about a pose, as a problem of least squares over ``(rho, phi)``."""

    parts: list[_Lines | _Points]
    weights: np.ndarray

    def linearise(self, pose: Tensor) -> NormalEquations:
        errors = self._errors(pose)
        jacobian = torch.cat([part.jacobian(pose) for part in self.parts]).numpy()
        return weighted_equations(errors, jacobian, self.weights, self.weights * errors**2)

    def cost(self, pose: Tensor) -> float:
        return float((self.weights * self._errors(pose) ** 2).sum())

    def retract(self, pose: Tensor, step: np.ndarray) -> Tensor:
        return perturb(pose, _limited(torch.from_numpy(step).to(pose), pose))

    def _errors(self, pose: Tensor) -> np.ndarray:
        return torch.cat([part.error(pose) for part in self.parts]).numpy()


def _limited(twist: Tensor, pose: Tensor) -> Tensor:
    """No step goes farther than what was measured can tell."""
    ahead = twist[:3].norm() / (FARTHEST * pose[2, 3].abs())
    turn = twist[3:].norm() / WIDEST
    return twist / torch.stack([ahead, turn, torch.ones(())]).max()


def _step(pose: Tensor, lines: _Lines | None, points: _Points | None) -> tuple[Tensor, Tensor]:
    """One step of damped least squares, and the information before it."""
    parts = [part for part in (lines, points) if part is not None]
    if not parts:
        return pose, torch.zeros(6, 6)
    weights = torch.cat([part.weight.flatten() for part in parts]).numpy()
    problem = _Comparison(parts, weights)
    found = minimise(problem, pose, steps=1, enough=0.0, tries=TRIES, damping=DAMPING)
    return found.state, torch.from_numpy(found.equations.matrix)
