"""Reads of a texture in plain torch."""

import torch
from jaxtyping import Float
from torch import Tensor


def _fold(s: Tensor, wrap: str) -> Tensor:
    if wrap == "repeat":
        return s - s.floor()
    if wrap == "clamp":
        return s.clamp(0, 1)
    s = s - 2 * (s / 2).floor()
    return torch.where(s > 1, 2 - s, s)


def _bilinear(tex: Tensor, uv: Tensor, wrap: str) -> Tensor:
    height, width = tex.shape[:2]

    def around(s: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        x = _fold(s, wrap) * size - 0.5
        low = x.detach().floor()
        first, second = low.long(), low.long() + 1
        if wrap == "repeat":
            return first % size, second % size, (x - low)[..., None]
        return first.clamp(0, size - 1), second.clamp(0, size - 1), (x - low)[..., None]

    x0, x1, fx = around(uv[..., 0], width)
    y0, y1, fy = around(uv[..., 1], height)
    top = tex[y0, x0] * (1 - fx) + tex[y0, x1] * fx
    bottom = tex[y1, x0] * (1 - fx) + tex[y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def _halve(tex: Tensor) -> Tensor:
    """Area-average along the first axis to half as many rows, rounded down."""
    size = tex.shape[0]
    half = max(size // 2, 1)
    edges = torch.arange(half + 1, dtype=tex.dtype) * size / half
    texel = torch.arange(size, dtype=tex.dtype)
    right = torch.minimum(edges[1:, None], texel + 1)
    overlap = (right - torch.maximum(edges[:-1, None], texel)).clamp(min=0)
    return torch.einsum("ij,j...->i...", overlap * half / size, tex)


def mip_levels(tex: Float[Tensor, "h w c"]) -> list[Tensor]:
    """The texture and its ever coarser averages down to one texel."""
    levels = [tex]
    while levels[-1].shape[:2] != (1, 1):
        levels.append(_halve(_halve(levels[-1]).transpose(0, 1)).transpose(0, 1))
    return levels


def texture(
    tex: Float[Tensor, "th tw c"],
    uv: Float[Tensor, "h w 2"],
    uv_pixel: Float[Tensor, "h w 4"] | None = None,
    wrap: str = "repeat",
) -> Float[Tensor, "h w c"]:
    """Bilinear or trilinear reads of one image."""
    if uv_pixel is None:
        return _bilinear(tex, uv, wrap)
    levels = mip_levels(tex)
    size = torch.tensor([tex.shape[1], tex.shape[0]], dtype=tex.dtype)
    steps = uv_pixel.unflatten(-1, (2, 2)) * size[:, None]
    longer = (steps**2).sum(-2).amax(-1)
    level = (torch.log2(longer.clamp(min=1e-30)) / 2).clamp(0, len(levels) - 1)
    finer = level.detach().floor().long()
    blend = (level - finer)[..., None]
    reads = torch.stack([_bilinear(each, uv, wrap) for each in levels])
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in finer.shape), indexing="ij")
    coarser = (finer + 1).clamp(max=len(levels) - 1)
    return reads[finer, rows, columns] * (1 - blend) + reads[coarser, rows, columns] * blend
