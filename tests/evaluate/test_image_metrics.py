import math

import pytest
import torch

from invgraph.evaluate.image_metrics import albedo_rmse, display, psnr, psnr_mask, ssim


def test_display_rounds_to_8_bit_srgb():
    shown = display(torch.tensor([-1.0, 0.21404114, 0.5, 7.0]))
    # 0.21404 encodes to 0.5, so 127.5, which rounds to the even 128; 0.5 encodes to 187.5.
    assert (shown * 255).round().tolist() == [0, 128, 188, 255]


def test_psnr_by_hand():
    reference = torch.zeros(2, 2, 3)
    image = torch.full((2, 2, 3), 0.1)
    assert psnr(image, reference) == pytest.approx(20.0, abs=1e-5)
    image[0, 0] = 0
    # Mean square 0.01 * 3 / 4.
    assert psnr(image, reference) == pytest.approx(-10 * math.log10(0.0075), abs=1e-5)
    assert psnr(reference, reference) == math.inf


def test_psnr_mask_ignores_the_outside():
    reference = torch.zeros(2, 2, 3)
    image = torch.full((2, 2, 3), 0.9)
    image[1, 1] = 0.01
    mask = torch.zeros(2, 2)
    mask[1, 1] = 0.5
    mask[0, 0] = 0.49
    assert psnr_mask(image, reference, mask) == pytest.approx(40.0, abs=1e-4)


def test_ssim_known_values():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(24, 20, 3, generator=generator)
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-9)
    # Constant images: variances vanish, leaving (2 a b + C1) / (a^2 + b^2 + C1), C1 = 0.01^2.
    flat = torch.full((24, 20, 3), 0.5)
    expected = (2 * 0.5 * 0.7 + 1e-4) / (0.25 + 0.49 + 1e-4)
    assert ssim(flat, flat + 0.2) == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_scikit_image_and_masks():
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(32, 32, 3, generator=generator)
    image = (reference + 0.2 * torch.rand(32, 32, 3, generator=generator)).clamp(0, 1)
    full = structural_similarity(
        image.double().numpy(),
        reference.double().numpy(),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[-1]
    mask = torch.zeros(32, 32)
    mask[8:24, 8:20] = 1
    expected = full[8:24, 8:20].mean()
    assert ssim(image, reference, mask) == pytest.approx(expected, abs=1e-4)
    assert abs(ssim(image, reference) - expected) > 1e-4


def test_albedo_rmse_frees_one_scale_per_channel():
    generator = torch.Generator().manual_seed(2)
    reference = torch.rand(6, 5, 3, generator=generator)
    mask = torch.ones(6, 5)
    assert albedo_rmse(reference * torch.tensor([0.5, 2.0, 3.0]), reference, mask) < 1e-6
    # One channel, estimate (1, 1), truth (1, 3): best scale 2, error 1 in each.
    estimate = torch.ones(1, 2, 3)
    truth = torch.tensor([1.0, 3.0])[None, :, None].expand(1, 2, 3)
    assert albedo_rmse(estimate, truth, torch.ones(1, 2)) == pytest.approx(1.0)


def test_bad_input_says_what_to_do():
    image, mask = torch.zeros(12, 12, 3), torch.zeros(12, 12)
    with pytest.raises(ValueError, match=r"image has shape .* but reference has .*; resize"):
        psnr(image, torch.zeros(12, 13, 3))
    with pytest.raises(ValueError, match=r"mask is \(3, 3\).*resize"):
        psnr_mask(image, image, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="nothing to score"):
        psnr_mask(image, image, mask)
    with pytest.raises(ValueError, match="window is 11x11"):
        ssim(image[:5], image[:5])
