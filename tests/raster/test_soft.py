"""Soft silhouettes against the reference, their gradients, and what must hold for any mesh."""

import pytest
import torch
from raster_scenes import ball, soup

from invgraph.raster import reference, soft_silhouette


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("near", [1e-3, 0.4])
@pytest.mark.parametrize("sigma", [0.7, 3.0])
def test_like_reference(near, sigma):
    screen, faces = soup(3, 12)
    pull = torch.rand(23, 37)
    results = []
    for dtype, draw in (
        (torch.float32, soft_silhouette),
        (torch.float64, reference.soft_silhouette),
    ):
        given = screen.to(dtype).requires_grad_()
        alpha = draw(given, faces, 23, 37, sigma, near=near)
        results.append((alpha, *torch.autograd.grad((alpha * pull).sum(), given)))
    (alpha, grad), (exact, exact_grad) = results
    assert 0.1 < exact.mean() < 0.99
    assert (alpha - exact).abs().max() < 1e-4
    assert (grad - exact_grad).abs().max() < 1e-3 * exact_grad.abs().max()


def test_finite_differences():
    screen, faces = ball(1, 24)
    screen = screen.requires_grad_()
    (grad,) = torch.autograd.grad(soft_silhouette(screen, faces, 24, 24, 1.5).sum(), screen)
    move = torch.randn(screen.shape, generator=torch.Generator().manual_seed(0)).double()
    ends = [
        reference.soft_silhouette(screen.detach().double() + s * move, faces, 24, 24, 1.5).sum()
        for s in (1e-5, -1e-5)
    ]
    slope = ((ends[0] - ends[1]) / 2e-5).item()
    assert (grad.double() * move).sum().item() == pytest.approx(slope, rel=1e-3)


def test_far_outside_pulls_nothing_but_near_outside_does():
    screen = torch.tensor([[30.0, -90, 1], [30, 90, 1], [90, 0, 1]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    alpha = soft_silhouette(screen, faces, 1, 40, 2.0)
    (pull,) = torch.autograd.grad(alpha[0, 27], screen, retain_graph=True)
    assert pull[:2, 0].sum() < 0  # towards the pixel on its left
    (none,) = torch.autograd.grad(alpha[0, 5], screen)
    assert (none == 0).all()


def test_dense_mesh_grows_with_its_gradient():
    screen, faces = ball(5, 64)
    centre = screen.mean(0)
    scale = torch.ones((), requires_grad=True)

    def area(s: torch.Tensor) -> torch.Tensor:
        return soft_silhouette(centre + (screen - centre) * s, faces, 64, 64, 1.0).sum()

    (slope,) = torch.autograd.grad(area(scale), scale)
    with torch.no_grad():
        difference = (area(torch.tensor(1.01)) - area(torch.tensor(0.99))) / 0.02
    assert slope.item() == pytest.approx(difference.item(), rel=0.02)
    assert slope > 0


def test_batches_and_ranges():
    screen, faces = ball(2, 32)
    other = screen * torch.tensor([1.2, 0.9, 1.0])
    alone = [soft_silhouette(each, faces, 30, 32, 1.0) for each in (screen, other)]
    batch = soft_silhouette(torch.stack([screen, other]), faces, 30, 32, 1.0)
    assert torch.equal(batch, torch.stack(alone))
    packed = torch.cat([screen, other])
    all_faces = torch.cat([faces, faces + len(screen)])
    ranges = torch.tensor([[0, len(faces)], [len(faces), len(faces)]])
    ragged = soft_silhouette(packed, all_faces, 30, 32, 1.0, ranges=ranges)
    assert torch.equal(ragged, batch)


def test_same_bits_for_any_number_of_threads():
    screen, faces = ball(4, 64)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            given = screen.clone().requires_grad_()
            alpha = soft_silhouette(given, faces, 64, 64, 1.3)
            results.append((alpha, *torch.autograd.grad((alpha**2).sum(), given)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_faces_that_cannot_be_drawn(bad):
    screen = torch.tensor([[2.0, 2, 1], [9, 2, 1], [5, 9, 1], [bad, 3, 1], [3, 3, -1]])
    screen = screen.requires_grad_()
    whole = soft_silhouette(screen, torch.tensor([[0, 1, 2]]), 12, 12, 1.0)
    extra = torch.tensor([[0, 1, 2], [0, 1, 3], [4, 4, 4]])
    alpha = soft_silhouette(screen, extra, 12, 12, 1.0)
    assert torch.equal(alpha, whole)
    (grad,) = torch.autograd.grad(alpha.sum(), screen)
    assert grad.isfinite().all() and (grad[3:] == 0).all()
    assert (soft_silhouette(screen, extra[:0], 12, 12, 1.0) == 0).all()


def test_edge_on_face_is_a_line():
    screen = torch.tensor([[2.5, 2.5, 1], [9.5, 2.5, 1], [5.5, 2.5, 1]], requires_grad=True)
    alpha = soft_silhouette(screen, torch.tensor([[0, 1, 2]]), 6, 12, 1.0)
    assert alpha[2, 5].item() == pytest.approx(0.5) and alpha[0, 5] < 0.05
    assert torch.autograd.grad(alpha.sum(), screen)[0].isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0.0}, "sigma is 0.0, expected a finite number above 0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"near": -1.0}, "near is -1.0"),
        ({"height": 0}, "the image is 0x4"),
    ],
)
def test_refusals(arguments, message):
    given = {
        "screen": torch.zeros(3, 3),
        "faces": torch.tensor([[0, 1, 2]]),
        "height": 4,
        "width": 4,
    }
    with pytest.raises(ValueError, match=message):
        soft_silhouette(**given | {"sigma": 1.0} | arguments)
