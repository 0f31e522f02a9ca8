"""Explain images by scenes: a differentiable renderer with the tools to fit what it renders."""

from invgraph.camera import Camera
from invgraph.mesh import Mesh
from invgraph.scene import (
    DirectionalLight,
    EnvironmentMap,
    Material,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)

__all__ = [
    "Camera",
    "DirectionalLight",
    "EnvironmentMap",
    "Material",
    "Mesh",
    "Object",
    "PointLight",
    "Scene",
    "SphericalHarmonicLight",
]
