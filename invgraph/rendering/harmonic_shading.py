"""Shading under spherical harmonics alone, as one operation."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from invgraph.kernels import buffers
from invgraph.rendering import harmonics

_NONE = np.zeros((0, 0, 0), np.float32)


def shade(
    geometry: Float[Tensor, "b n g"],
    facing: Bool[Tensor, "b n"],
    material: tuple[Float[Tensor, "#b #n 3"], Float[Tensor, "#b #n 1"], Float[Tensor, "#b #n 1"]],
    coefficients: Float[Tensor, "#b k 3"],
) -> Float[Tensor, "b n 3"]:
    """``shading.shade`` for light that is spherical harmonics, float32 on the CPU.

    Args:
        geometry: normal and view, and irradiance and openness where occlusion is known.
        facing: whether the normal is on the side of the eye.
        material: albedo, roughness, metallic.
        coefficients: of the light, world frame.

    Gradients:
        Reach every floating-point input.
    """
    albedo, roughness, metallic = material
    diffuse = harmonics.irradiance_coefficients(coefficients)
    return _Shade.apply(geometry, facing, albedo, roughness, metallic, diffuse, coefficients)


class _Shade(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        from invgraph.kernels.threads import launch
        from invgraph.rendering.harmonic_shading_cpu import forward

        inputs = tuple(tensor.detach().contiguous() for tensor in inputs)
        ctx.save_for_backward(*inputs)
        out = buffers.empty((*inputs[0].shape[:2], 3), np.float32)
        arrays = [tensor.numpy() for tensor in inputs]
        launch(forward, *arrays, harmonics.order_of(inputs[-1]), out)
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from invgraph.kernels.threads import launch
        from invgraph.rendering.harmonic_shading_cpu import COUNT, UNIT, backward

        inputs = ctx.saved_tensors
        arrays = [tensor.numpy() for tensor in inputs]
        batch, size, _ = inputs[0].shape
        grads: list[np.ndarray] = []
        for index in (0, 2, 3, 4):
            needed = index == 0 or ctx.needs_input_grad[index]
            shape = (batch, size, inputs[index].shape[-1])
            grads.append(buffers.empty(shape, np.float32) if needed else _NONE)
        partial = np.empty((batch, -(-size // UNIT), 2, 3 * COUNT), np.float32)
        launch(
            backward, *arrays, harmonics.order_of(inputs[-1]), grad.contiguous().numpy(),
            *grads, partial,
        )  # fmt: skip
        found: list[Tensor | None] = [torch.from_numpy(grads[0]), None]
        for index, array in zip((2, 3, 4), grads[1:], strict=True):
            needed = ctx.needs_input_grad[index]
            found.append(
                torch.from_numpy(array).sum_to_size(inputs[index].shape) if needed else None
            )
        totals = torch.from_numpy(partial).sum(1).reshape(batch, 2, COUNT, 3)
        count = inputs[-1].shape[-2]
        for kind in (1, 0):  # of the diffuse coefficients, then of the glossy ones
            found.append(totals[:, kind, :count].sum_to_size(inputs[-1].shape))
        return tuple(found)
