"""Texture sampling: bilinear, and trilinear between mip levels."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from invgraph.kernels import buffers
from invgraph.raster.arguments import check

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
        from invgraph.kernels.threads import launch
        from invgraph.raster.cpu import texture as kernels

        count, height, width, channels = textures.shape
        levels = _level_table(height, width, mips)
        texels = _pyramid(_array(textures).reshape(count, -1), channels, levels)
        out = buffers.empty((uv.shape[0], channels), np.float32)
        ctx.reads = (_array(uv), _array(uv_pixel), levels, wrap, per_image)
        if out.size:
            launch(
                kernels.forward,
                texels,
                channels,
                *ctx.reads,
                out.reshape(-1),
                threads=_useful_threads(out.size),
            )
        ctx.save_for_backward(textures, uv, uv_pixel)
        ctx.texels = texels
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        from invgraph.kernels.threads import launch
        from invgraph.raster.cpu import texture as kernels

        textures, uv, uv_pixel = ctx.saved_tensors  # also refuses inputs changed in place meanwhile
        channels = textures.shape[3]
        grad = _array(grad)
        threads = _useful_threads(grad.size)
        grad_textures = grad_uv = grad_uv_pixel = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            grad_uv = buffers.empty(tuple(uv.shape), np.float32)
            pixels = len(uv_pixel) if ctx.needs_input_grad[2] else 0
            grad_uv_pixel = buffers.empty((pixels, 4), np.float32)
            if grad.size:
                targets = (grad, grad_uv, grad_uv_pixel)
                launch(
                    kernels.backward_uv, ctx.texels, channels, *ctx.reads, *targets, threads=threads
                )
            grad_uv = torch.from_numpy(grad_uv)
            grad_uv_pixel = torch.from_numpy(grad_uv_pixel) if ctx.needs_input_grad[2] else None
        if ctx.needs_input_grad[0]:
            grad_textures = _backward_texels(grad, textures.shape, ctx.reads, threads)
            grad_textures = torch.from_numpy(grad_textures.reshape(textures.shape))
        return grad_textures, grad_uv, grad_uv_pixel, None, None, None


def _backward_texels(
    grad: np.ndarray, shape: tuple[int, ...], reads: tuple, threads: int | None
) -> np.ndarray:
    """The gradient (textures, values) of the finest level, from the coarsest down to it."""
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu import texture_texels as kernels

    uv, uv_pixel, levels, _, per_image = reads
    count, height, _, channels = shape
    shift = min(max(height // (_BANDS // 2), 1).bit_length() - 1, _BAND_SHIFT)
    bands = np.zeros(len(levels) + 1, np.int64)
    np.cumsum((levels[:, 1] - 1 >> shift) + 1, out=bands[1:])
    lists = -(-per_image // kernels.CHUNK) * (len(uv) // max(per_image, 1))
    likely = len(uv) * (2 if len(uv_pixel) else 1)
    likely += (likely >> shift) + likely // 8  # a read is listed twice where it spans two bands
    ends = np.zeros((lists, bands[-1] + 1), np.int64)
    grad = grad.reshape(-1)
    places, shares = _room(likely)
    if lists:
        some = (channels, *reads, grad, bands, shift)
        counter = np.zeros(1, np.int64)
        launch(kernels.list_reads, *some, counter, ends, places, shares, threads=threads)
        if counter[0] > len(places):
            places, shares = _room(int(counter[0]))
            counter[0] = 0
            launch(kernels.list_reads, *some, counter, ends, places, shares, threads=threads)
    level = np.zeros((count, 0), np.float32)
    for k in reversed(range(len(levels))):
        first, height, width = levels[k].tolist()
        coarser = level
        level = buffers.empty((count, height * width * channels), np.float32)
        taps = _taps(_doubling, height, width, channels, k < len(levels) - 1)
        launch(
            kernels.add_level,
            channels,
            per_image,
            grad,
            bands[k],
            shift,
            ends,
            places,
            shares,
            coarser,
            *taps,
            first * channels,
            level,
            threads=_useful_threads(max(level.size, grad.size)),
        )
    return level


def _room(length: int) -> tuple[np.ndarray, np.ndarray]:
    return buffers.empty((length, 4), np.int32), buffers.empty((length, 4), np.float32)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _useful_threads(values: int) -> int | None:
    return 1 if values < _SMALL else None


def _level_table(height: int, width: int, mips: bool) -> np.ndarray:
    """(first texel, height, width) of every level; sizes halve, rounded down."""
    table = [(0, height, width)]
    while mips and (height, width) != (1, 1):
        first = table[-1][0] + height * width
        height, width = max(height // 2, 1), max(width // 2, 1)
        table.append((first, height, width))
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
    half = len(places)
    i = np.arange(size)
    if size % 2 == 0 or size == 1:
        return i[:, None] // 2, np.repeat(weights[:1, :1], size, 0)
    # An even texel is the first of one box and the last of the one before.
    own, before = np.minimum(i // 2, half - 1), np.maximum(i // 2 - 1, 0)
    middle = i % 2 == 1
    first = np.where(middle, weights[own, 1], np.where(i < size - 1, weights[own, 0], 0))
    last = np.where(middle | (i == 0), 0, weights[before, 2])
    return np.stack([own, before], 1), np.stack([first, last], 1)


def _taps(
    resize: Callable[[int], tuple[np.ndarray, np.ndarray]],
    height: int,
    width: int,
    channels: int,
    some: bool = True,
) -> tuple[np.ndarray, ...]:
    """Taps of rows (rows, taps) and of all values in a row (taps, values); or none at all."""
    y, wy = resize(height)
    x, wx = resize(width)
    if not some:
        y, wy, x, wx = (table[:, :0] for table in (y, wy, x, wx))
    values = x.T[:, :, None] * channels + np.arange(channels)
    values = values.reshape(x.shape[1], len(x) * channels).astype(np.uint32)
    weights = np.repeat(np.ascontiguousarray(wx.T), channels, 1)
    return np.ascontiguousarray(y), np.ascontiguousarray(wy), values, weights


def _pyramid(texels: np.ndarray, channels: int, levels: np.ndarray) -> np.ndarray:
    """All mip levels of each texture in one row: (textures, texels of all levels * channels)."""
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu import texture_texels as kernels

    if len(levels) == 1:
        return texels
    sizes = [(height, width) for _, height, width in levels.tolist()]
    ends = np.cumsum([height * width * channels for height, width in sizes]).tolist()
    out = buffers.empty((texels.shape[0], ends[-1]), np.float32)
    source, kept = texels, out[:, : ends[0]]
    for (height, width), start, end in zip(sizes, ends, ends[1:], strict=False):
        target = out[:, start:end]
        taps = _taps(_halving, height, width, channels)
        threads = _useful_threads(target.size)
        launch(kernels.halve, source, width * channels, kept, target, *taps, threads=threads)
        source, kept = target, out[:, :0]
    return out
