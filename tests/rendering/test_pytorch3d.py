# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false

import importlib.util

import pytest
import torch
from scenes import ball_and_ring, camera

from invgraph.rendering.render import render
from invgraph.scene import SphericalHarmonicLight

LIGHT = SphericalHarmonicLight(torch.tensor([[2.0, 2, 2], [0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]]))


@pytest.mark.skipif(
    importlib.util.find_spec("pytorch3d") is not None, reason="PyTorch3D is installed here"
)
def test_says_what_is_missing():
    with pytest.raises(ImportError, match="needs PyTorch3D; install it"):
        render(ball_and_ring(LIGHT), camera(8), backend="pytorch3d")


def test_agrees_with_ours():
    pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed; no wheel on PyPI")
    scene, seen_by = ball_and_ring(LIGHT), camera(64, (2,))
    found = render(scene, seen_by, backend="pytorch3d")
    expected = render(scene, seen_by)
    same = found.object_id == expected.object_id
    assert (~same).float().mean() < 1e-3
    torch.testing.assert_close(found.depth[same], expected.depth[same], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.normal[same], expected.normal[same], atol=1e-3, rtol=0)
    assert (found.color - expected.color).abs().mean() < 0.01
