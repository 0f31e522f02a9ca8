"""Networks that map images to beliefs about scenes."""

from invgraph.encoders.depth import DepthNet
from invgraph.encoders.motion import MotionNet
from invgraph.encoders.resnet import SIZES, ResNet, load_pretrained

__all__ = ["SIZES", "DepthNet", "MotionNet", "ResNet", "load_pretrained"]
