"""Angles between directions by hand."""

import math

import pytest
import torch

from invgraph.evaluate.direction_metrics import angular_error_deg


def test_angular_error_by_hand():
    first = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [1.0, 1.0, 0], [1.0, 0, 0]])
    second = torch.tensor([[0, 1.0, 0], [0, 0.1, 0], [1.0, 0, 0], [-3.0, 0, 0]])
    expected = torch.tensor([90.0, 0.0, 45.0, 180.0])
    assert torch.allclose(angular_error_deg(first, second), expected, atol=1e-4)
    tiny = torch.tensor([1.0, 1e-6, 0])
    assert angular_error_deg(tiny, first[0]).item() == pytest.approx(math.degrees(1e-6), rel=1e-3)
