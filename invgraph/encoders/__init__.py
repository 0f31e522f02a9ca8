"""Networks that map images to beliefs about scenes."""

from invgraph.encoders.depth import DepthNet
from invgraph.encoders.depth_model import DepthModel, load_depth_model
from invgraph.encoders.motion import MotionNet
from invgraph.encoders.resnet import SIZES, ResNet, load_pretrained

__all__ = [
    "SIZES",
    "DepthModel",
    "DepthNet",
    "MotionNet",
    "ResNet",
    "load_depth_model",
    "load_pretrained",
]
