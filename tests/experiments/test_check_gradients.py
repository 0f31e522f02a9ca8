"""The gradient check itself: it passes right gradients, and notices planted faults."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parents[2] / "experiments" / "check_gradients.py"


@pytest.fixture(scope="module")
def checker():
    spec = importlib.util.spec_from_file_location("check_gradients", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def right(x: torch.Tensor) -> torch.Tensor:
    return x.sin().sum()


def scaled(factor: float):
    """``right`` whose gradient is multiplied by a factor, its value is not."""
    return lambda x: right(x).detach() + factor * (right(x) - right(x).detach())


def error(checker, loss) -> float:
    value, directions = torch.linspace(-1, 1, 5), 0.01 * checker.noise((5,), 0)
    return checker.compare(checker.Check("x", loss, value, directions)).error


def test_a_right_gradient_passes(checker):
    assert error(checker, right) < 1e-3


@pytest.mark.parametrize(
    ("factor", "expected"), [(0.0, 1.0), (0.5, 0.5), (2.0, 0.5), (-1.0, 2.0), (math.nan, math.inf)]
)
def test_planted_faults_are_noticed(checker, factor, expected):
    assert error(checker, scaled(factor)) == pytest.approx(expected, abs=1e-2)


def test_a_detached_input_scores_one(checker):
    assert error(checker, lambda x: right(x.detach())) == pytest.approx(1)
    assert error(checker, lambda x: x.detach().sum() * 0) == 1


def test_a_fault_in_one_direction_is_noticed(checker):
    mask = torch.tensor([1.0, 1, 0, 1, 1])
    one_missing = lambda x: right(x * mask + (x * (1 - mask)).detach())  # noqa: E731
    assert error(checker, one_missing) > 0.1


def test_an_antialias_without_silhouettes_is_noticed(checker, monkeypatch):
    checks = {check.name: check for check in checker.silhouette_checks()}
    coarse = checks["coarse_320"]
    assert checker.compare(coarse).error < 0.05
    render = sys.modules["invgraph.rendering.render"]
    blend = render.antialias
    monkeypatch.setattr(render, "antialias", lambda c, f, s, t: blend(c, f, s.detach(), t))
    assert checker.compare(coarse).error == pytest.approx(1)


def test_dense_silhouette_moves_under_its_gradient(checker):
    checks = {check.name: check for check in checker.silhouette_checks()}
    result = checker.compare(checks["dense_80k"])
    assert result.error < 0.05
    assert result.predicted[0] > 0  # the ball covers more when it grows
