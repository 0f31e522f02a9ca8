"""Explain images by scenes: a differentiable renderer with the tools to fit what it renders."""

import importlib
from typing import TYPE_CHECKING, Any

from invgraph.camera import Camera

# fit and render are bound here and not on first use: importing the modules of the same name would
# take their place.
from invgraph.fit import fit
from invgraph.mesh import Mesh
from invgraph.render import Render, render
from invgraph.scene import (
    DirectionalLight,
    EnvironmentMap,
    Material,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)

if TYPE_CHECKING:
    from invgraph.data import read_capture
    from invgraph.scene_files import load_scene, save_scene

# Functions whose modules take long to import; fetched on first use.
_LATER = {
    "load_scene": "invgraph.scene_files",
    "read_capture": "invgraph.data",
    "save_scene": "invgraph.scene_files",
}

__all__ = [
    "Camera",
    "DirectionalLight",
    "EnvironmentMap",
    "Material",
    "Mesh",
    "Object",
    "PointLight",
    "Render",
    "Scene",
    "SphericalHarmonicLight",
    "fit",
    "load_scene",
    "read_capture",
    "render",
    "save_scene",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'invgraph' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return __all__
