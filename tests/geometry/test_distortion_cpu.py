"""The polynomial of compiled kernels is that of the tensors."""

import numpy as np
import torch
from numba import njit

from invgraph.geometry.distortion_cpu import bend, straighten
from invgraph.geometry.lens import Lens

BENT = [0.3, 0.1, 2e-3, -3e-3, 0.02, 0.5, 0.15, 0.01]
POINTS = np.array([[0.0, 0.0], [0.3, -0.2], [-0.7, 0.5]])


@njit
def _bent(x, y, lens):
    out = np.empty(7)
    bend(x, y, lens, out)
    return out


@njit
def _ray(u, v, lens):
    return straighten(u, v, lens, np.empty(7))


def test_pixels_and_derivatives_are_those_of_a_lens():
    numbers = np.array([100.0, 110.0, 32.0, 24.0, *BENT])
    focal, principal, distortion = (torch.from_numpy(x) for x in np.split(numbers, [2, 4]))
    lens = Lens(focal, principal, 48, 64, distortion, "rational")
    points = torch.cat((torch.from_numpy(POINTS), torch.ones(3, 1).double()), 1)
    pixels, slopes = lens.project(points)[0].numpy(), lens.jacobian(points).numpy()
    for (x, y), pixel, slope in zip(POINTS, pixels, slopes, strict=True):
        out = _bent(x, y, numbers)
        np.testing.assert_allclose(numbers[:2] * out[:2] + numbers[2:4], pixel)
        np.testing.assert_allclose(numbers[:2, None] * out[2:6].reshape(2, 2), slope[:, :2])
        np.testing.assert_allclose(_ray(pixel[0], pixel[1], numbers), (x, y), atol=1e-9)
