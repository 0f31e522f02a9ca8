"""Networks that map images to beliefs about scenes."""

from invgraph.encoders.depth import DepthNet
from invgraph.encoders.motion import MotionNet
from invgraph.encoders.resnet import SIZES, ResNet, centred, load_pretrained, save_encoder

__all__ = [
    "SIZES",
    "DepthNet",
    "MotionNet",
    "ResNet",
    "centred",
    "load_pretrained",
    "save_encoder",
]
