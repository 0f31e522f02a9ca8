"""The depth network: an image in, a belief about its depth out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from invgraph.encoders.resnet import ResNet, centred
from invgraph.scene.belief import DepthBelief

_DECODER = (32, 64, 128, 256)  # channels at 1/2, 1/4, 1/8, 1/16
_REACH = 4.0  # log depth stays within this distance of 0
_SCALE = (-4.6, 1.4)  # bounds of the log of the Laplace scale: 1 % to a factor of e ** 4


class DepthNet(nn.Module):
    """Depth of every pixel from one image, with its uncertainty.

    A residual encoder, and a decoder that goes up again through the encoder's features. Depth is
    decoded at half the image's size, where photographs still decide it, and enlarged.

    Args:
        encoder: takes three channels.
        scales: sizes at which depth is decoded while training: 1/2, 1/4, ... of the image's.

    Source:
        Godard et al., Digging Into Self-Supervised Monocular Depth Estimation (2019), for the
        shape of the decoder; log depth and its scale in place of a disparity are ours.
    """

    def __init__(self, encoder: ResNet, scales: int = 1) -> None:
        super().__init__()
        self.encoder = encoder
        self.up, self.join, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = encoder.widths[-1]
        for level in (3, 2, 1, 0):
            width = _DECODER[level]
            self.up.append(_conv(before, width))
            self.join.append(_conv(width + encoder.widths[level], width))
            if level < scales:
                self.heads.append(_conv(width, 2))
            before = width
        for head in self.heads:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            head.bias.data = head.bias.new_tensor([0.0, -1.5])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[DepthBelief]:
        """Beliefs at half the image's size and, for each further scale, at half of that.

        Args:
            image: sRGB in [0, 1]; height and width multiples of 32.
        """
        features = self.encoder(centred(image))
        x, beliefs = features[-1], []
        first = len(self.up) - len(self.heads)
        for step, (up, join) in enumerate(zip(self.up, self.join, strict=True)):
            x = interpolate(silu(up(x)), scale_factor=2.0)
            x = silu(join(torch.cat((x, features[3 - step]), 1)))
            if step >= first:
                beliefs.insert(0, _belief(self.heads[step - first](x).float()))
        return beliefs


def _conv(before: int, width: int) -> nn.Conv2d:
    # Few sources see the border of an image, so little teaches what zeros around it would mean.
    return nn.Conv2d(before, width, 3, padding=1, padding_mode="reflect")


def _belief(raw: Tensor) -> DepthBelief:
    log_depth = _REACH * torch.tanh(raw[:, 0] / _REACH)
    low, high = _SCALE
    return DepthBelief(log_depth, (low + (high - low) * torch.sigmoid(raw[:, 1])).exp())
