"""Training of encoders from raw recordings, without labels."""

from invgraph.train.objective import Pieces, Weights
from invgraph.train.run import Trained, train_depth
from invgraph.train.settings import RECIPES, DepthSettings

__all__ = [
    "RECIPES",
    "DepthSettings",
    "Pieces",
    "Trained",
    "Weights",
    "train_depth",
]
