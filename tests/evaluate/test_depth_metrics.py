"""Depth scores against numbers computed by hand."""

import math

import pytest
import torch

from invgraph.evaluate.depth_metrics import (
    depth_errors,
    interval_coverage,
    median_ratio,
    ratio_spread,
    resize_depth,
    scored_pixels,
    sparsification,
)
from invgraph.evaluate.depth_score import mean_sparsification, score_depth, summarise


def _row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_errors_of_four_pixels():
    found = depth_errors(_row(2, 2, 2, 12), _row(1, 2, 4, 8))
    # Errors 1, 0, -2, 4; factors 2, 1, 2, 1.5.
    assert found.abs_rel == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert found.sq_rel == pytest.approx((1 + 0 + 1 + 2) / 4)
    assert found.rmse == pytest.approx(math.sqrt((1 + 0 + 4 + 16) / 4))
    log2, log15 = math.log(2), math.log(1.5)
    assert found.rmse_log == pytest.approx(math.sqrt((2 * log2**2 + log15**2) / 4))
    # 1.25 < 1.5 < 1.5625 and 1.953 < 2.
    assert (found.d1, found.d2, found.d3) == (0.25, 0.5, 0.5)


def test_a_factor_of_exactly_1_25_is_outside():
    found = depth_errors(_row(5, 1.9), _row(4, 1))
    assert (found.d1, found.d2, found.d3) == (0, 0.5, 1)


def test_median_ratio_takes_the_middle_of_an_even_count():
    # Medians 3 (of 1, 2, 4, 8) and 1.5 (of 1, 1, 2, 9).
    assert median_ratio(_row(1, 1, 2, 9), _row(8, 1, 4, 2)) == 2


def test_ratio_spread_is_over_the_median():
    # Over their median 2 the ratios are 0.5, 1, 2; mean 7/6, variance (16 + 1 + 25) / 36 / 3.
    assert ratio_spread([1.0, 2.0, 4.0]) == pytest.approx(math.sqrt(42 / 108))
    assert ratio_spread([3.0, 3.0]) == 0


def test_score_scales_clamps_and_keeps_the_unscaled():
    truth = torch.tensor([[1.0, 2.0], [4.0, 0.0]])
    depth = torch.tensor([[2.0, 4.0], [1000.0, 5.0]])
    found = score_depth(depth, truth)
    # The hole does not count. Ratio 2 / 4; scaled: 1, 2, 500 which is clamped to 80.
    assert (found.pixels, found.ratio) == (3, 0.5)
    assert found.scaled.abs_rel == pytest.approx((0 + 0 + 76 / 4) / 3)
    assert found.unscaled.abs_rel == pytest.approx((1 + 1 + 76 / 4) / 3)
    assert found.sparsification is None and found.coverage_90 is None


def test_resize_interpolates_inverse_depth_between_pixel_centres():
    # Inverse depths 1 and 0.5; at twice the width: 1, 3/4 + 1/8, 1/4 + 3/8, 0.5.
    found = resize_depth(torch.tensor([[1.0, 2.0]]), 1, 4)
    torch.testing.assert_close(found, _row(1, 8 / 7, 8 / 5, 2)[None])
    flat = resize_depth(torch.full((6, 8), 3.0), 12, 20)
    torch.testing.assert_close(flat, torch.full((12, 20), 3.0).double())


def test_prediction_of_another_size_is_resized():
    found = score_depth(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 8 / 7, 8 / 5, 2.0]]))
    assert found.scaled.abs_rel == pytest.approx(0, abs=1e-6)


def test_range_is_open_at_both_ends():
    truth = torch.tensor([[0.0, 1e-3, 0.5, 79.0, 80.0, 200.0]])
    assert scored_pixels(truth).tolist() == [[False, False, True, True, False, False]]
    assert scored_pixels(truth, near=0.6, far=100.0).sum() == 2


def test_garg_crop_of_a_kitti_image():
    # 375 x 1242: rows 153 (153.04) to 370 (371.96 is row 371, excluded), columns 44 to 1196.
    counts = scored_pixels(torch.ones(375, 1242), garg_crop=True)
    rows, columns = counts.any(1).nonzero()[:, 0], counts.any(0).nonzero()[:, 0]
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (153, 370, 44, 1196)
    assert counts.sum() == (371 - 153) * (1197 - 44)


def _ramp() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One hundred pixels at 1 m with relative errors of 0.001 to 0.1, shuffled."""
    order = torch.randperm(100, generator=torch.Generator().manual_seed(2))
    error = (order.double() + 1) / 1000
    return 1 + error, torch.ones(100).double(), error


def test_sparsification_of_a_perfect_order():
    depth, truth, error = _ramp()
    found = sparsification(depth, truth, error**3)["abs_rel"]
    # With the 100 - 2t smallest left, the mean is (101 - 2t) / 2000; trapezoids of width 1/50.
    left = torch.arange(100, 0, -2).double()
    torch.testing.assert_close(found.error[:-1], (left + 1) / 2000)
    assert found.error[-1] == 0
    torch.testing.assert_close(found.error, found.oracle)
    assert found.ause == pytest.approx(0, abs=1e-12)
    assert found.aurg == pytest.approx(0.0505 - 0.025495)
    assert found.removed[1] == pytest.approx(0.02)


def test_sparsification_of_the_worst_order():
    depth, truth, error = _ramp()
    found = sparsification(depth, truth, -error)["abs_rel"]
    # With the largest left the mean is (101 + 2t) / 2000: an area of 0.074495, 0.025495 for the
    # oracle, 0.0505 at random.
    assert found.ause == pytest.approx(0.049)
    assert found.aurg == pytest.approx(0.0505 - 0.074495)


def test_sparsification_of_rmse_and_outliers():
    truth = torch.ones(100).double()
    depth = torch.where(torch.arange(100) < 50, 2.0, 1.0).double()
    perfect = sparsification(depth, truth, depth)
    # Half of the pixels are off by 1: with 100 - 2t left, 50 - 2t of them, for t up to 25.
    share = ((50 - 2 * torch.arange(51)) / (100 - 2 * torch.arange(51)).clamp_min(1)).clamp_min(0)
    # Percentile thresholds cannot split equal numbers: all 50 stay until the half is reached.
    share[1:25] = 0.5
    torch.testing.assert_close(perfect["d1"].error, share.double())
    torch.testing.assert_close(perfect["rmse"].error, share.double().sqrt())
    assert perfect["d1"].ause == perfect["rmse"].ause == 0


def test_uncertainty_that_says_nothing_gains_nothing():
    depth, truth, _ = _ramp()
    found = sparsification(depth, truth, torch.ones(100).double())["abs_rel"]
    # All stay to the last trapezoid, which falls to 0: the protocol's half step.
    assert found.aurg == pytest.approx(0.0505 / 100)


def test_coverage_counts_pixels_inside_the_interval():
    truth = torch.ones(4).double()
    sigma = torch.full((4,), 0.1).double()
    # The 90 % interval of a normal distribution reaches to 1.644854 deviations.
    depth = _row(0.16, -0.16, 0.17, 0.0).exp()
    assert interval_coverage(depth, truth, sigma) == 0.75
    # 68.27 % is one deviation.
    assert interval_coverage(_row(0.09, 0.11, 0.0, 0.2).exp(), truth, sigma, 0.6827) == 0.5


def test_coverage_of_true_deviations_is_the_share():
    noise = torch.randn(50_000, generator=torch.Generator().manual_seed(0)).double()
    truth = torch.full_like(noise, 3.0)
    sigma = torch.full_like(noise, 0.2)
    found = interval_coverage(truth * (0.2 * noise).exp(), truth, sigma)
    assert found == pytest.approx(0.9, abs=0.005)


def test_score_with_uncertainty_and_summary():
    truth = torch.tensor([[1.0, 2.0, 4.0]])
    right = score_depth(2 * truth, truth, torch.full((1, 3), 0.1))
    assert right.coverage_90 == 1 and right.ratio == 0.5
    # Ratio 2 / 3, scaled 2/3, 2, 8/3: only the middle is within 16 % of the truth.
    wrong = score_depth(torch.tensor([[1.0, 3.0, 4.0]]), truth, torch.full((1, 3), 0.1))
    assert wrong.coverage_90 == pytest.approx(1 / 3)
    found = summarise([right, wrong])
    assert found["abs_rel"] == pytest.approx((0 + (1 / 3 + 0 + 1 / 3) / 3) / 2)
    assert found["unscaled/abs_rel"] == pytest.approx((1 + (0 + 0.5 + 0) / 3) / 2)
    assert found["coverage_90_pct"] == pytest.approx(100 * (1 + 1 / 3) / 2)
    assert found["scale_ratio_median"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert {"ause/abs_rel", "ause/rmse", "ause/d1", "aurg/abs_rel"} <= set(found)
    curve = mean_sparsification([right, wrong], "abs_rel")
    assert curve.error[0] == pytest.approx(found["abs_rel"])
    assert curve.ause == pytest.approx(found["ause/abs_rel"])


def test_summary_without_uncertainty_has_none():
    truth = torch.tensor([[1.0, 2.0]])
    plain = score_depth(truth, truth)
    assert not any(name.startswith(("ause", "coverage")) for name in summarise([plain]))
    with pytest.raises(ValueError, match="no image has uncertainty"):
        mean_sparsification([plain], "abs_rel")
    with pytest.raises(ValueError, match="no image was scored"):
        summarise([])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_bad_numbers_are_refused(bad: float):
    good, wrong = _row(1, 2), _row(1, bad)
    for call in (
        lambda: depth_errors(wrong, good),
        lambda: depth_errors(good, wrong),
        lambda: median_ratio(wrong, good),
        lambda: sparsification(wrong, good, good),
        lambda: interval_coverage(wrong, good, good),
        lambda: resize_depth(wrong[None], 2, 2),
        lambda: score_depth(wrong[None], good[None]),
    ):
        with pytest.raises(ValueError, match="1 of 2 values that are not finite and positive"):
            call()
    if bad != 0:
        with pytest.raises(ValueError, match=r"sigma|uncertainty"):
            score_depth(good[None], good[None], wrong[None])


def test_empty_and_wrong_sizes_are_refused():
    empty, two, three = _row(), _row(1, 2), _row(1, 2, 3)
    with pytest.raises(ValueError, match="depth is empty"):
        depth_errors(empty, empty)
    for call in (
        lambda: depth_errors(two, three),
        lambda: median_ratio(two, three),
        lambda: sparsification(two, three, three),
        lambda: sparsification(three, three, two),
        lambda: interval_coverage(three, three, two),
    ):
        with pytest.raises(ValueError, match=r"shape \(2,\) but truth has \(3,\)"):
            call()
    with pytest.raises(ValueError, match="no pixel has a measured depth between"):
        score_depth(two[None], 100 * two[None])
    with pytest.raises(ValueError, match="holds NaN"):
        score_depth(two[None], math.nan * two[None])
    with pytest.raises(ValueError, match="0 < near < far"):
        score_depth(two[None], two[None], near=5.0, far=5.0)
    with pytest.raises(ValueError, match="positive numbers, at least one"):
        ratio_spread([])
    with pytest.raises(ValueError, match="NaN or infinity"):
        sparsification(two, two, two * math.nan)
