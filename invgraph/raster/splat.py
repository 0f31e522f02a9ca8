"""``splat``: blend flat Gaussians into images, the nearest over the others."""

import torch
from jaxtyping import Float
from torch import Tensor

# Beyond this many standard deviations a Gaussian adds less than a level of 255.
_REACH = 3.33
_MOST = 0.99  # opacity: what is behind keeps a gradient
_CHUNK = 64  # Gaussians blended at once


def splat(
    centres: Float[Tensor, "b g 2"],
    covariances: Float[Tensor, "b g 2 2"],
    depth: Float[Tensor, "b g"],
    opacity: Float[Tensor, "b g"],
    values: Float[Tensor, "b g c"],
    limit: Float[Tensor, "b h w"],
    near: float = 1e-3,
) -> tuple[Float[Tensor, "b h w c"], Float[Tensor, "b h w"]]:
    """Blend Gaussians from front to back, as far as nothing opaque is before them.

    Every pixel looks at every Gaussian, so time grows with both: this is for thousands of Gaussians
    and small images.

    Args:
        centres: (u, v) pixels.
        covariances: in the image plane, squared pixels.
        depth: of the centres along the optical axis; Gaussians are sorted by it as a whole.
        opacity: of the centres, in [0, 1].
        values: what is blended.
        limit: depth of the opaque surface at each pixel; 0 where there is none.
        near: Gaussians whose centre is nearer are not drawn.

    Returns:
        The sum of values times their weights, and the share of the light from behind that gets
        through.

    Gradients:
        Reach everything but ``depth``, ``limit`` and ``near``: what is in front of what is a
        choice. Zero beyond 3.33 standard deviations, and for opacity where 0.99 is reached.

    Source:
        Zwicker et al., EWA volume splatting (2001); Kerbl et al., 3D Gaussian splatting for
        real-time radiance field rendering (2023), equations 2 and 3.
    """
    batch, height, width = limit.shape
    like = {"dtype": centres.dtype, "device": centres.device}
    v = torch.arange(height, **like) + 0.5
    u = torch.arange(width, **like) + 0.5
    pixels = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(-1, 2)
    limits = torch.where(limit > 0, limit, torch.inf).flatten(1)
    precision = torch.linalg.inv(covariances)
    order = depth.argsort(dim=-1)
    out = values.new_zeros(batch, height * width, values.shape[-1])
    through = values.new_ones(batch, height * width)
    for start in range(0, order.shape[-1], _CHUNK):
        chosen = order[:, start : start + _CHUNK]
        here = _taken(depth, chosen)
        offset = pixels - _taken(centres, chosen)[:, :, None]  # b k p 2
        distance2 = ((offset @ _taken(precision, chosen)) * offset).sum(-1)
        alpha = (_taken(opacity, chosen)[..., None] * (-distance2 / 2).exp()).clamp_max(_MOST)
        seen = (here > near)[..., None] & (here[..., None] < limits[:, None])
        alpha = torch.where(seen & (distance2 < _REACH**2), alpha, 0.0)
        # Light through this one and all before it, and through those before it alone.
        after = through[:, None] * (1 - alpha).cumprod(1)
        before = torch.cat((through[:, None], after[:, :-1]), 1)
        out = out + (before * alpha).mT @ _taken(values, chosen)
        through = after[:, -1]
    shape = (batch, height, width)
    return out.reshape(*shape, values.shape[-1]), through.reshape(shape)


def _taken(tensor: Tensor, chosen: Tensor) -> Tensor:
    """Rows ``b g ...`` by index ``b k``."""
    index = chosen.reshape(*chosen.shape, *[1] * (tensor.ndim - 2))
    return tensor.gather(1, index.expand(*chosen.shape, *tensor.shape[2:]))
