"""Training of encoders from raw recordings, without labels."""

from invgraph.train.model import DepthModel, load_depth_model
from invgraph.train.objective import Pieces, Weights
from invgraph.train.run import Trained, train_depth
from invgraph.train.settings import RECIPES, DepthSettings

__all__ = [
    "RECIPES",
    "DepthModel",
    "DepthSettings",
    "Pieces",
    "Trained",
    "Weights",
    "load_depth_model",
    "train_depth",
]
