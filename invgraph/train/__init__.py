"""Descent on many recordings: the weights of encoders, without labels."""

from invgraph.train.contrastive import train_encoder
from invgraph.train.loop import Trained
from invgraph.train.objective import Pieces, Weights
from invgraph.train.settings import RECIPES, ContrastSettings, DepthSettings
from invgraph.train.train_depth import train_depth

__all__ = [
    "RECIPES",
    "ContrastSettings",
    "DepthSettings",
    "Pieces",
    "Trained",
    "Weights",
    "train_depth",
    "train_encoder",
]
