"""What is seen, as tensors that can descend: objects, lights; unknowns, beliefs; files."""

from invgraph.scene.lights import (
    DirectionalLight,
    EnvironmentMap,
    Light,
    PointLight,
    SphericalHarmonicLight,
)
from invgraph.scene.material import Material, unlit
from invgraph.scene.scene import BackgroundImage, Object, Scene

__all__ = [
    "BackgroundImage",
    "DirectionalLight",
    "EnvironmentMap",
    "Light",
    "Material",
    "Object",
    "PointLight",
    "Scene",
    "SphericalHarmonicLight",
    "unlit",
]
