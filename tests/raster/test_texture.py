"""Texture reads against the reference, their gradients against finite differences, bad input."""

import pytest
import torch

from invgraph.raster import reference, texture
from invgraph.raster.texture import _check

WRAPS = ["repeat", "clamp", "mirror"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def case(size: tuple[int, int], images: int = 2):
    rng = torch.Generator().manual_seed(sum(size))
    tex = torch.rand(*size, 3, generator=rng)
    uv = torch.rand(images, 13, 21, 2, generator=rng) * 5 - 2
    slopes = torch.randn(images, 13, 21, 4, generator=rng) * 0.2
    return tex, uv, slopes


def read_reference(tex, uv, slopes, wrap):
    textures = tex if tex.ndim == 4 else tex.expand(len(uv), *tex.shape)
    parts = [None] * len(uv) if slopes is None else slopes
    rows = zip(textures, uv, parts, strict=True)
    return torch.stack([reference.texture(t, u, s, wrap) for t, u, s in rows])


def test_hand_computed():
    tex = torch.tensor([[[0.0], [1]], [[2], [3]]])
    uv = torch.tensor([[[[0.25, 0.25], [0.5, 0.5], [0.0, 0.25], [-0.25, 0.25]]]])
    assert texture(tex, uv).flatten().tolist() == [0, 1.5, 0.5, 1]
    assert texture(tex, uv, wrap="clamp").flatten().tolist() == [0, 1.5, 0, 0]
    assert texture(tex, uv, wrap="mirror").flatten().tolist() == [0, 1.5, 0, 0]
    # A step of two texels to the right: the second level, here a single texel.
    slopes = torch.tensor([1.0, 0, 0, 0]).expand(1, 1, 4, 4)
    assert texture(tex, uv, slopes).flatten().tolist() == [1.5] * 4


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("size", [(16, 16), (5, 7), (1, 1), (33, 64)])
@pytest.mark.parametrize("mips", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_like_reference(size, wrap, mips, own):
    tex, uv, slopes = case(size)
    tex = torch.stack([tex, 1 - tex]) if own else tex
    inputs = [tex, uv, slopes] if mips else [tex, uv]
    pull = torch.rand(2, 13, 21, 3)
    results = []
    for dtype, read in ((torch.float32, texture), (torch.float64, read_reference)):
        given = [tensor.to(dtype).requires_grad_() for tensor in inputs]
        out = read(given[0], given[1], given[2] if mips else None, wrap)
        results.append((out, *torch.autograd.grad((out * pull).sum(), given)))
    for name, ours, exact in zip(("out", "tex", "uv", "uv_pixel"), *results, strict=False):
        scale = exact.abs().max().clamp(min=1)
        worst = ((ours - exact).abs() / scale).flatten()
        # A coordinate that rounds to the other side of a texel's centre has another slope.
        assert worst.quantile(1 if name in ("out", "tex") else 0.99) < 1e-4, name


@pytest.mark.parametrize("own", [False, True])
def test_gradient_of_large_textures(own):
    """So many rows and pixels that they are worked on in several runs and bands."""
    rng = torch.Generator().manual_seed(0)
    tex = torch.rand(2 if own else 1, 150, 33, 5, generator=rng)
    uv = torch.rand(2, 70, 90, 2, generator=rng)
    slopes = torch.randn(2, 70, 90, 4, generator=rng) * 0.02
    pull = torch.rand(2, 70, 90, 5, generator=rng)
    ours, exact = (
        torch.autograd.grad((read(leaf, u, s, "repeat") * p).sum(), leaf)[0]
        for leaf, u, s, p, read in (
            (tex.clone().requires_grad_(), uv, slopes, pull, texture),
            (
                tex.double().requires_grad_(),
                uv.double(),
                slopes.double(),
                pull.double(),
                lambda t, *rest: read_reference(t.expand(2, -1, -1, -1), *rest),
            ),
        )
    )
    assert exact.abs().min() > 0
    torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-4)


def test_every_read_between_two_bands():
    """Many more reads than usual lie on the border of two bands of 16 rows."""
    tex = torch.rand(512, 8, 1, requires_grad=True)
    uv = torch.stack(torch.meshgrid(torch.rand(100), torch.full((90,), 16 / 512), indexing="ij"))
    (grad,) = torch.autograd.grad(texture(tex, uv.permute(1, 2, 0)[None]).sum(), tex)
    assert grad[15:17].sum(1).flatten().tolist() == pytest.approx([4500, 4500])
    assert grad.sum().item() == pytest.approx(9000)


@pytest.mark.parametrize("mips", [False, True])
def test_finite_differences(mips):
    tex, uv, slopes = case((8, 8), images=1)
    inputs = [t.double() for t in ((tex, uv, slopes) if mips else (tex, uv))]
    pull = torch.rand(1, 13, 21, 3)
    given = [t.float().requires_grad_() for t in inputs]
    out = texture(given[0], given[1], given[2] if mips else None)
    ours = torch.autograd.grad((out * pull).sum(), given)
    for k, grad in enumerate(ours):
        move = torch.randn(inputs[k].shape, dtype=torch.float64)
        if k == 1:  # towards the middle of a texel's cell, where the slope is one number
            cell = uv.double() * 8 - 0.5
            move = (cell.floor() + 0.5 - cell) / 8
        ends = []
        for sign in (1, -1):
            moved = list(inputs)
            moved[k] = moved[k] + sign * 1e-5 * move
            out = read_reference(moved[0], moved[1], moved[2] if mips else None, "repeat")
            ends.append((out * pull).sum())
        slope = ((ends[0] - ends[1]) / 2e-5).item()
        tolerance = 0.02 if mips and k == 1 else 1e-3  # a few coarse cells are left by the move
        assert slope != 0 and (grad.double() * move).sum().item() == pytest.approx(slope, tolerance)


@pytest.mark.parametrize("mips", [False, True])
def test_same_bits_for_any_number_of_threads(mips):
    rng = torch.Generator().manual_seed(0)
    uv = torch.rand(2, 200, 150, 2, generator=rng)
    slopes = torch.randn(2, 200, 150, 4, generator=rng) * 0.05 if mips else None
    pull = torch.rand(2, 200, 150, 3, generator=rng)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            given = [torch.rand(40, 30, 3).fill_(0.5).requires_grad_(), uv.clone().requires_grad_()]
            out = texture(given[0], given[1], slopes)
            results.append((out, *torch.autograd.grad((out * pull).sum(), given)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_coordinates_that_are_not_finite(wrap, bad):
    tex = torch.rand(4, 4, 2, requires_grad=True)
    uv = torch.tensor([[[0.3, 0.3], [bad, 0.3], [0.3, bad]]], requires_grad=True)
    out = texture(tex, uv, wrap=wrap)
    assert out[0, 0].isfinite().all() and out[0, 1:].isnan().all()
    for grad in torch.autograd.grad(out.sum(), (tex, uv)):
        assert grad.isfinite().all() and (grad != 0).any()


def test_coordinates_far_away():
    tex = torch.rand(3, 3, 1)
    uv = torch.tensor([[[1e30, -1e30], [-1e-9, 1.0]]])
    for wrap in ("repeat", "clamp", "mirror"):
        assert texture(tex, uv, wrap=wrap).isfinite().all()


def test_no_pixels():
    tex = torch.rand(3, 3, 1, requires_grad=True)
    out = texture(tex, torch.zeros(2, 0, 5, 2))
    assert out.shape == (2, 0, 5, 1)
    assert torch.autograd.grad(out.sum(), tex)[0].eq(0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wrap": "tile"}, "wrap is 'tile'; choose one of repeat, clamp, mirror"),
        ({"textures": torch.zeros(1, 0, 4, 3)}, "tex is 0x4 with 3 channels"),
        ({"textures": torch.zeros(3, 4, 4, 3)}, "tex holds 3 textures but uv is"),
        ({"uv_pixel": torch.zeros(2, 4, 5, 4)}, "compute both from the same fragments"),
        ({"textures": torch.zeros(1, 4, 4, 3, dtype=torch.float64)}, "tex is torch.float64"),
        ({"textures": torch.zeros(1, 4, 4, 3, device="meta")}, "tex is on meta"),
        ({"textures": torch.zeros(1).expand(1, 2**15, 2**15, 1)}, "expected fewer than 2\\*\\*30"),
    ],
)
def test_refusals(arguments, message):
    given = {
        "textures": torch.zeros(1, 4, 4, 3),
        "uv": torch.zeros(2, 5, 5, 2),
        "uv_pixel": None,
        "wrap": "clamp",
    } | arguments
    with pytest.raises(ValueError, match=message):
        _check(**given)
