"""The light of a scene whose object is found, and how sure that is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.scene.descent import draw
from invgraph.fitting.scene.likelihood import Likelihood
from invgraph.fitting.scene.object_prior import LIGHT, POSE
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import vertex_normals
from invgraph.rendering import harmonics
from invgraph.rendering.render import render
from invgraph.rendering.visibility import directions, occluded_irradiance
from invgraph.scene import Object, Scene
from invgraph.scene.distributions import Gaussian
from invgraph.scene.material import unlit
from invgraph.scene.prior import Prior

# Chosen on path-traced crops at their true poses (experiments/scene_crops.py, dev).
ROUNDS = 3  # of robust least squares
LEAST, FACTOR = 0.02, 2.5  # error of a linear colour that tells one thing: at least, over the mean
WHITE = 0.93  # linear, from which a colour may have been brighter
ROBUST = 3.0  # times the mean error, at which a pixel counts half
# Times as wide as independent errors make it: then 90 % cones hold the light of 90 % of these crops
# under their panoramas, sharper ones, and ones with a sun.
WIDER = 1.3
WIDEST = 10.0  # standard deviation of anything, relative to the constant coefficient
COUNT = 9


@torch.no_grad()
def believed_light(
    prior: Prior,
    values: dict[str, Tensor],
    expected: Float[Tensor, "b 9 3"],
    images: Float[Tensor, "b h w 3"],
    lens: Lens,
) -> tuple[Float[Tensor, "n b 9 3"], Float[Tensor, "n b 27 27"]]:
    """The light under which scenes look most like the images, camera frame, and its spread.

    What a matt surface shows is linear in the light, shadows included, so that robust least squares
    give mean and covariance. That the light is about as it was expected, as exactly as the prior is
    wide, is another measurement. How bright it is altogether is free.

    Args:
        prior: of the object in detail, with the visibility that keeps light from it.
        values: of its unknowns, ``n b *shape`` by path; the light is a first guess.
        expected: coefficients, of which those relative to the mean constant one count.
        images: linear RGB.
        lens: theirs.

    Returns:
        Coefficients, and Cholesky factors of the covariance of all of them, flattened.

    Source:
        Ng, Ramamoorthi & Hanrahan, All-frequency shadows using non-linear wavelet lighting
        approximation (2003), for radiance that is a matrix of visibility times light; here in
        spherical harmonics.
    """
    light = values[LIGHT]
    transfer, pull = _transfer(prior, values[POSE], lens), _pull(prior, expected)[:, None]
    likelihood = Likelihood.of(images)
    matrix = torch.zeros(())
    for _ in range(ROUNDS):
        drawn = draw(prior, {**values, LIGHT: light}, lens)
        assert drawn.color is not None and drawn.albedo is not None and drawn.alpha is not None
        albedo = drawn.albedo
        matt = albedo * torch.einsum("nbhwi,nbic->nbhwc", transfer, light)
        gloss = drawn.color - matt
        told = likelihood.belongs(drawn) * (drawn.alpha == 1)
        error = images - gloss - matt
        # Where white is rendered brighter, nothing is wrong.
        error = torch.where((images > WHITE) & (error < 0), 0.0, error)
        size = error.abs().mean(-1)
        usual = (told * size).sum((-1, -2), keepdim=True)
        usual = usual / told.sum((-1, -2), keepdim=True).clamp_min(1e-6)
        weight = told / (1 + (size / (ROBUST * usual).clamp_min(1e-3)).square())
        counted = weight / (LEAST**2 + (FACTOR * usual).square())
        matrix = torch.einsum(
            "nbhw,nbhwc,nbhwi,nbhwj->nbcij", counted, albedo.square(), transfer, transfer
        )
        level = light[..., 0, :, None, None].clamp_min(0.1)
        matrix = (matrix + pull / level.square()).double()
        sums = torch.einsum("nbhw,nbhwc,nbhwi->nbci", counted, albedo * (matt + error), transfer)
        light = torch.linalg.solve(matrix, sums.double()).mT.to(images)
    covariance = matrix.new_zeros(*matrix.shape[:2], COUNT, 3, COUNT, 3)
    for channel in range(3):
        factor = torch.linalg.cholesky(matrix[:, :, channel])
        covariance[:, :, :, channel, :, channel] = torch.cholesky_inverse(factor)
    scale = WIDER * torch.linalg.cholesky(covariance.flatten(4).flatten(2, 3))
    return light, scale.to(images)


def _pull(prior: Prior, expected: Float[Tensor, "b 9 3"]) -> Float[Tensor, "b 9 9"]:
    """What is expected of coefficients relative to the constant one, as a matrix of squares."""
    distribution = prior.distributions[LIGHT]
    assert isinstance(distribution, Gaussian)
    mean, spread = expected.mean(-1), (distribution.scale / distribution.mean[0]).mean(-1)
    off = torch.eye(COUNT)[1:].repeat(len(mean), 1, 1)
    off[..., 0] = -mean[:, 1:] / mean[:, :1].clamp_min(0.1)
    off = off / spread[1:, None]
    return off.mT @ off + torch.eye(COUNT) / WIDEST**2


def _transfer(
    prior: Prior, poses: Float[Tensor, "n b 4 4"], lens: Lens
) -> Float[Tensor, "n b h w 9"]:
    """What pixels of a white object show of each harmonic of the light, shadows included."""
    [thing] = prior.template.objects
    table = thing.visibility
    assert table is not None
    normals = vertex_normals(thing.mesh)
    # The light is told in the camera's frame, what the object keeps away in its own.
    turned = directions(table.shape[1]) @ poses[..., :3, :3].flatten(0, 1).mT
    values = harmonics.basis(turned, 2)
    shown = occluded_irradiance(table, normals.expand(len(values), -1, -1), values) / math.pi
    parts = shown.unflatten(0, poses.shape[:2]).split(3, -1)
    camera = Camera(lens, torch.eye(4).expand(*lens.batch_shape, 4, 4))
    seen = []
    for part in parts:
        painted = Object(thing.mesh, poses, unlit(part.contiguous(), "vertex"))
        color = render(Scene((painted,)), camera, outputs=("color",)).color
        assert color is not None
        seen.append(color)
    return torch.cat(seen, -1)
