"""The motion network: two images in, the camera's motion between them out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invgraph.encoders.resnet import ResNet, centred

_SMALL = 0.01  # untrained motions are of this size: rad, and depths of the scene


class MotionNet(nn.Module):
    """The rigid motion of the camera from one image to another.

    Args:
        encoder: takes six channels.

    Source:
        Zhou et al., Unsupervised Learning of Depth and Ego-Motion from Video (2017); the pair of
        images in one encoder is Godard et al. (2019).
    """

    def __init__(self, encoder: ResNet) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Conv2d(encoder.widths[-1], 128, 1),
            nn.SiLU(),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(128, 6, 1),
        )

    def forward(
        self, image: Float[Tensor, "b 3 h w"], other: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 6"]:
        """``other_from_image`` as ``(rho, phi)`` that ``transforms.perturb`` moves the identity by.

        Args:
            image: sRGB in [0, 1]; height and width multiples of 32.
            other: the same.
        """
        pair = centred(torch.cat((image, other), 1))
        return _SMALL * self.head(self.encoder(pair)[-1]).float().mean((2, 3))
