"""A network that says where in a whole photo an object is."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, relu

from invgraph.encoders.resnet import ResNet, centred
from invgraph.scene.heat_map import HeatMap

LARGEST = 640  # pixels of the longer side of photos that it looks at
FINEST = 0.5  # scale of the largest level of its pyramid
STEP = 1.5  # from one level to the next
SEEN = (24.0, 36.0)  # diameters of the object's ball in a level, pixels, that it answers to there
CELL = 8  # pixels of a level
_MULTIPLE = 32  # of the sizes that the network takes
_SMALLEST = 24  # pixels of the shorter side of the last level
_WIDTH = 64
_MEAN_SIZE, _SIZE_UNIT = 0.5 * math.log(SEEN[0] * SEEN[1]), 0.25
_NARROWEST = 0.03  # standard deviation, cells and size units
_SELDOM = -6.0  # log-odds of a cell against absence, before anything was learned


class Finder(nn.Module):
    """From an image of any size to a belief about where in it a known object is.

    The same network looks at a pyramid of the image; each cell of each level tells how likely the
    object is centred there in about the size that belongs to the level, and more exactly where and
    how large. All cells and absence together are one distribution.

    Args:
        network: "light" or "resnet18".

    Source:
        Zhou et al., Objects as points (2019), with a likelihood of the place in place of its loss;
        features from coarse to fine as Lin et al., Feature pyramid networks (2017).
    """

    def __init__(self, network: str = "light") -> None:
        super().__init__()
        self.trunk = ResNet(network, patches=True)
        self.lateral = nn.ModuleList(nn.Conv2d(w, _WIDTH, 1) for w in self.trunk.widths[1:])
        self.mixed = nn.Conv2d(_WIDTH, _WIDTH, 3, 1, 1)
        self.last = nn.Conv2d(_WIDTH, 7, 1)
        nn.init.normal_(self.last.weight, std=0.01)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], scales: Sequence[float] | None = None
    ) -> HeatMap:
        """The belief about places, in pixels of the images.

        Args:
            images: sRGB in [0, 1].
            scales: of the pyramid's levels; those of :func:`pyramid` when left out.
        """
        scales = pyramid(*images.shape[-2:]) if scales is None else scales
        parts = [self._level(images, scale) for scale in scales]
        logits, means, spreads = (torch.cat(each, 1) for each in zip(*parts, strict=True))
        absent = torch.zeros_like(logits[:, :1])
        total = torch.logsumexp(torch.cat([logits, absent], 1), 1)
        return HeatMap(logits - total[:, None], -total, means, spreads)

    def _level(self, images: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        height, width = images.shape[-2:]
        rows, columns = (max(round(scale * size), 8) for size in (height, width))
        small = interpolate(images, (rows, columns), mode="bilinear", antialias=True)
        right, below = -columns % _MULTIPLE, -rows % _MULTIPLE
        small = pad(centred(small), (0, right, 0, below), mode="replicate")
        small = small.contiguous(memory_format=torch.channels_last)
        features = self.trunk(small)[1:]
        x = self.lateral[2](features[2])
        for lateral, finer in ((self.lateral[1], features[1]), (self.lateral[0], features[0])):
            x = interpolate(x, scale_factor=2.0, mode="nearest") + lateral(finer)
        raw = self.last(relu(self.mixed(relu(x))))
        raw = raw[:, :, : math.ceil(rows / CELL), : math.ceil(columns / CELL)]
        with torch.autocast(images.device.type, enabled=False):
            raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
            return _places(raw, width / columns, height / rows)


def pyramid(height: int, width: int) -> tuple[float, ...]:
    """The scales at which a photo is looked at: from half its size down to objects that fill it."""
    scales = [FINEST * min(1.0, LARGEST / max(height, width))]
    while scales[-1] / STEP * min(height, width) >= _SMALLEST:
        scales.append(scales[-1] / STEP)
    return tuple(scales)


def _places(
    raw: Float[Tensor, "b 7 r c"], across: float, down: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-odds, means and standard deviations of a level's cells, in pixels of the image."""
    rows, columns = raw.shape[-2:]
    v, u = torch.meshgrid(
        *(CELL * (torch.arange(n, device=raw.device) + 0.5) for n in (rows, columns)), indexing="ij"
    )
    raw = raw.flatten(2).mT
    unit = raw.new_tensor([CELL * across, CELL * down, _SIZE_UNIT])
    size = torch.full_like(u, _MEAN_SIZE + 0.5 * math.log(across * down))
    middle = torch.stack([across * u, down * v, size], -1).reshape(1, -1, 3)
    means = middle + unit * raw[..., 1:4]
    scales = unit * (raw[..., 4:].clamp(-6, 2).exp() * 0.5 + _NARROWEST)
    return raw[..., 0] + _SELDOM, means, scales
