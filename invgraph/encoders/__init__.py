"""Networks that map images to beliefs about scenes, in one pass."""

from invgraph.encoders.depth_model import DepthModel, load_depth_model
from invgraph.encoders.depth_network import DepthNet
from invgraph.encoders.motion import MotionNet
from invgraph.encoders.resnet import SIZES, ResNet, centred, load_pretrained, save_encoder

__all__ = [
    "SIZES",
    "DepthModel",
    "DepthNet",
    "MotionNet",
    "ResNet",
    "centred",
    "load_depth_model",
    "load_pretrained",
    "save_encoder",
]
