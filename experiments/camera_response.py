"""What other cameras make of a picture: exposure, colours, tone curve, sharpening, JPEG.

Photographs of real cameras are no renders: their colours are pushed until they please. Each
response follows from a seed. Used by ``refine_pose.py --camera random``.
"""

import io
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from invgraph.geometry.color import linear_from_srgb, srgb_from_linear

LUMA = np.array([0.2126, 0.7152, 0.0722])
DARK = 0.17  # mean of a dark texture, linear


@dataclass(frozen=True)
class CameraResponse:
    """From the light on the sensor to a file, step by step; the default changes nothing but JPEG.

    Attributes:
        exposure: factor of the linear values, which are cut at 1.
        gains: white balance, 1 and more per channel; cut at 1 again.
        noise: standard deviation of the sensor's noise at white, which falls with the root.
        saturation: factor of the differences from grey, linear values.
        gamma: exponent of the values shown (sRGB).
        contrast: share of an S-curve in the tone curve.
        sharpening, sharpening_px: amount and radius of an unsharp mask, which leaves halos.
        quality: of the JPEG file.
        halved: colours at half the resolution (4:2:0).
        dark: the texture is too dark by a factor that brings its mean to DARK.
    """

    exposure: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 0.0
    saturation: float = 1.0
    gamma: float = 1.0
    contrast: float = 0.0
    sharpening: float = 0.0
    sharpening_px: float = 1.0
    quality: int = 95
    halved: bool = False
    dark: bool = False

    @staticmethod
    def random(seed: int) -> "CameraResponse":
        """One of many cameras."""
        rng = np.random.default_rng([seed, 3])
        gains = np.exp(rng.uniform(-0.3, 0.3, 3))
        return CameraResponse(
            exposure=math.exp(rng.uniform(-1, 1) * math.log(3)),
            gains=tuple((gains / gains.min()).tolist()),
            noise=rng.uniform(0.003, 0.02),
            saturation=rng.uniform(0.7, 1.7),
            gamma=math.exp(rng.uniform(-0.3, 0.3)),
            contrast=rng.uniform(0, 0.8),
            sharpening=rng.uniform(0, 1.5),
            sharpening_px=rng.uniform(0.7, 2.0),
            quality=int(rng.integers(40, 96)),
            halved=bool(rng.random() < 0.7),
            dark=bool(rng.random() < 0.5),
        )

    def photograph(self, linear: Tensor, seed: int) -> Tensor:
        """The picture ``h w 3`` as this camera's file shows it, decoded to linear values again."""
        rng = np.random.default_rng([seed, 4])
        light = linear.numpy().astype(np.float64) * self.exposure
        noise = self.noise * np.sqrt(light.clip(0, 1) + 0.01)
        light = (light + noise * rng.normal(size=light.shape)).clip(0, 1)
        light = (light * np.array(self.gains)).clip(0, 1)
        grey = (light @ LUMA)[..., None]
        light = (grey + self.saturation * (light - grey)).clip(0, 1)
        shown = srgb_from_linear(torch.from_numpy(light)).numpy() ** self.gamma
        shown += self.contrast * (shown**2 * (3 - 2 * shown) - shown)
        soft = ndimage.gaussian_filter(shown, (self.sharpening_px, self.sharpening_px, 0))
        shown = (shown + self.sharpening * (shown - soft)).clip(0, 1)
        file = io.BytesIO()
        picture = Image.fromarray((shown * 255).round().astype(np.uint8))
        picture.save(file, "JPEG", quality=self.quality, subsampling=2 if self.halved else 0)
        decoded = torch.from_numpy(np.array(Image.open(file)).astype(np.float32) / 255)
        return linear_from_srgb(decoded)

    def texture(self, albedo: Tensor) -> Tensor:
        """The colours that are told of an object."""
        return albedo * min(1.0, DARK / float(albedo.mean())) if self.dark else albedo

    def only(self, *names: str) -> "CameraResponse":
        """No other steps than these."""
        return replace(CameraResponse(), **{name: getattr(self, name) for name in names})
