"""Texture sampling: bilinear, and trilinear between mip levels."""

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import buffers
from .arguments import check

Wrap = Literal["repeat", "clamp", "mirror"]
_WRAPS = ("repeat", "clamp", "mirror")
_SMALL = 1 << 14  # below so many values one thread is faster than several
_BANDS = 64  # bands of texture rows that a gradient is shared out in, where rows suffice
_BAND_SHIFT = 4  # but bands of at most 2 ** 4 rows, which stay in the cache


def texture(
    tex: Float[Tensor, "th tw c"] | Float[Tensor, "tb th tw c"],
    uv: Float[Tensor, "*image h w 2"],
    uv_pixel: Float[Tensor, "*image h w 4"] | None = None,
    wrap: Wrap = "repeat",
) -> Float[Tensor, "*image h w c"]:
    """Read a texture at every pixel.

    Args:
        tex: one texture for all images, or one per image (``tb`` is 1 or ``b``). Any size.
        uv: where to read: u to the right and v down, (0, 0) is the top-left corner of the texture
            and (1, 1) its bottom-right corner, so texel centres lie at (i + 0.5) / size.
        uv_pixel: how uv changes from pixel to pixel, in the order du/dx, du/dy, dv/dx, dv/dy with x
            to the right. When given, reads blend the two mip levels whose texels are nearest to a
            pixel's longer step in size; without it, the finest level alone is read.
        wrap: what lies outside [0, 1]: the texture again, its border, or its mirror image.

    Returns:
        The texture's values. NaN where ``uv`` is not finite.

    Raises:
        ValueError: unknown ``wrap``, an empty texture, batches or devices that differ.

    Gradients:
        Reach ``tex``, ``uv`` and ``uv_pixel``. A bilinear read is piecewise: its slope towards
        ``uv`` is that between the four texels around it and jumps at texel centres; it is zero
        outside the border of a clamped texture and where ``uv`` is not finite. No gradient reaches
        ``uv_pixel`` where a pixel is smaller than a texel.

    Source:
        Williams, Pyramidal Parametrics, SIGGRAPH 1983; the level is chosen by the longer of the two
        steps as in the OpenGL 4.6 specification, section 8.14.
    """
    textures = tex if tex.ndim == 4 else tex[None]
    _check(textures, uv, uv_pixel, wrap)
    height, width = uv.shape[-3:-1]
    pixels = uv.reshape(-1, 2)
    slopes = uv.new_empty((0, 4)) if uv_pixel is None else uv_pixel.reshape(-1, 4)
    mips = uv_pixel is not None
    out = _Texture.apply(textures, pixels, slopes, _WRAPS.index(wrap), height * width, mips)
    return out.reshape(*uv.shape[:-1], textures.shape[-1])


def _check(textures: Tensor, uv: Tensor, uv_pixel: Tensor | None, wrap: str) -> None:
    check("tex", textures)
    check("uv", uv)
    if uv_pixel is not None:
        check("uv_pixel", uv_pixel)
    if wrap not in _WRAPS:
        raise ValueError(f"wrap is {wrap!r}; choose one of {', '.join(_WRAPS)}.")
    count, height, width, channels = textures.shape
    if height * width * channels == 0:
        raise ValueError(
            f"tex is {height}x{width} with {channels} channels (h x w); give it at least one texel "
            "and one channel."
        )
    images = uv.shape[0] if uv.ndim == 4 else 1
    if uv.ndim not in (3, 4) or count not in (1, images):
        raise ValueError(
            f"tex holds {count} textures but uv is {tuple(uv.shape)}; give one texture, or one "
            "per image."
        )
    if uv_pixel is not None and uv_pixel.shape[:-1] != uv.shape[:-1]:
        raise ValueError(
            f"uv_pixel is {tuple(uv_pixel.shape)} but uv is {tuple(uv.shape)}; "
            "compute both from the same fragments."
        )
    if count * height * width * channels >= 2**30:
        raise ValueError(
            f"tex holds {tuple(textures.shape)} values, expected fewer than 2**30; split it."
        )


class _Texture(torch.autograd.Function):
    @staticmethod
    def forward(ctx, textures, uv, uv_pixel, wrap, per_image, mips):
        from . import texture_cpu as kernels
        from .threads import run

        count, height, width, channels = textures.shape
        levels = _level_table(height, width, mips)
        texels = _pyramid(_array(textures).reshape(count, -1), channels, levels)
        out = buffers.empty((uv.shape[0], channels), np.float32)
        ctx.reads = (_array(uv), _array(uv_pixel), levels, wrap, per_image)
        if out.size:
            run(
                kernels.forward,
                texels,
                channels,
                *ctx.reads,
                out,
                threads=_useful_threads(out.size),
            )
        ctx.save_for_backward(textures, uv, uv_pixel)
        ctx.texels = texels
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        from . import texture_cpu as kernels
        from .threads import run

        textures, uv, uv_pixel = ctx.saved_tensors  # also refuses inputs changed in place meanwhile
        channels = textures.shape[3]
        grad = _array(grad)
        threads = _useful_threads(grad.size)
        grad_textures = grad_uv = grad_uv_pixel = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            grad_uv = buffers.empty(tuple(uv.shape), np.float32)
            grad_uv_pixel = buffers.empty(tuple(uv_pixel.shape), np.float32)
            if grad.size:
                targets = (grad, grad_uv, grad_uv_pixel)
                run(
                    kernels.backward_uv, ctx.texels, channels, *ctx.reads, *targets, threads=threads
                )
            grad_uv = torch.from_numpy(grad_uv)
            grad_uv_pixel = torch.from_numpy(grad_uv_pixel)
        if ctx.needs_input_grad[0]:
            grad_texels = buffers.empty(ctx.texels.shape, np.float32)
            grad_texels[:] = 0
            if grad.size:
                _backward_texels(grad, grad_texels, channels, ctx.reads, threads)
            grad_textures = torch.from_numpy(_fold_pyramid(grad_texels, channels, ctx.reads[2]))
            grad_textures = grad_textures.reshape(textures.shape)
        return grad_textures, grad_uv, grad_uv_pixel, None, None, None


def _backward_texels(
    grad: np.ndarray, grad_texels: np.ndarray, channels: int, reads: tuple, threads: int | None
) -> None:
    from . import texture_cpu as kernels
    from .threads import run

    uv, uv_pixel, levels, _, per_image = reads
    per_pixel = 2 if len(uv_pixel) else 1
    rows = int(levels[:, 1].sum())
    total = grad_texels.shape[0] * rows
    band_shift = min(max(total // _BANDS, 1).bit_length() - 1, _BAND_SHIFT)
    chunks = -(-per_image // kernels.CHUNK) * (uv.shape[0] // per_image)
    bands = ((total - 1) >> band_shift) + 1
    room = uv.shape[0] * per_pixel * 2
    run(
        kernels.backward_texels,
        channels,
        *reads,
        grad,
        rows,
        band_shift,
        buffers.empty((uv.shape[0], per_pixel, 2), np.int32),
        np.zeros((chunks, bands), np.int64),
        np.empty(bands + 1, np.int64),
        buffers.empty((room,), np.int32 if room < 2**31 else np.int64),
        grad_texels,
        threads=threads,
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _useful_threads(values: int) -> int | None:
    return 1 if values < _SMALL else None


def _level_table(height: int, width: int, mips: bool) -> np.ndarray:
    """(first texel, height, width, first row) of every level; sizes halve, rounded down."""
    table = [(0, height, width, 0)]
    while mips and (height, width) != (1, 1):
        first, _, _, row = table[-1]
        table.append(
            (first + height * width, max(height // 2, 1), max(width // 2, 1), row + height)
        )
        height, width = table[-1][1:3]
    return np.array(table, np.int64)


def _halving(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Taps (places, weights) of the box filter from ``size`` texels to half as many.

    An odd size has boxes of 2 + 1/n texels, so that all texels keep the same weight in total.
    """
    half = max(size // 2, 1)
    i = np.arange(half)
    if size == 1:
        return np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32)
    if size % 2 == 0:
        weights = np.full((half, 2), 0.5, np.float32)
        return np.stack([2 * i, 2 * i + 1], 1), weights
    weights = np.stack([half - i, np.full(half, half), i + 1], 1) / size
    return np.stack([2 * i, 2 * i + 1, 2 * i + 2], 1), weights.astype(np.float32)


def _doubling(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The transpose of ``_halving``: for each of ``size`` texels, where it went, how weighted."""
    places, weights = _halving(size)
    back = [[] for _ in range(size)]
    for i in range(places.shape[0]):
        for place, weight in zip(places[i], weights[i], strict=True):
            back[place].append((i, weight))
    taps = max(len(b) for b in back)
    padded = [b + [(0, np.float32(0))] * (taps - len(b)) for b in back]
    at = np.array([[i for i, _ in b] for b in padded], np.int64)
    return at, np.array([[w for _, w in b] for b in padded], np.float32)


def _level(texels: np.ndarray, channels: int, level: np.ndarray) -> np.ndarray:
    first, height, width, _ = (int(x) for x in level)
    return texels[:, first * channels : (first + height * width) * channels]


def _resample(source, target, width, channels, y, x, add):
    from . import texture_cpu as kernels
    from .threads import run

    threads = _useful_threads(target.size)
    run(kernels.resample, source, target, width, channels, *y, *x, add, threads=threads)


def _pyramid(texels: np.ndarray, channels: int, levels: np.ndarray) -> np.ndarray:
    """All mip levels of each texture in one row: (textures, texels of all levels * channels)."""
    if len(levels) == 1:
        return texels
    total = int((levels[:, 1] * levels[:, 2]).sum())
    out = buffers.empty((texels.shape[0], total * channels), np.float32)
    out[:, : texels.shape[1]] = texels
    for fine, coarse in pairwise(levels):
        source, target = _level(out, channels, fine), _level(out, channels, coarse)
        y, x = _halving(int(fine[1])), _halving(int(fine[2]))
        _resample(source, target, int(fine[2]), channels, y, x, False)
    return out


def _fold_pyramid(grad_texels: np.ndarray, channels: int, levels: np.ndarray) -> np.ndarray:
    """Hand the gradients of coarser levels down to the finest: the transpose of ``_pyramid``."""
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        source, target = _level(grad_texels, channels, coarse), _level(grad_texels, channels, fine)
        y, x = _doubling(int(fine[1])), _doubling(int(fine[2]))
        _resample(source, target, int(coarse[2]), channels, y, x, True)
    return np.ascontiguousarray(_level(grad_texels, channels, levels[0]))
