"""Explain images by scenes: a differentiable renderer with the tools to fit what it renders."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invgraph.data import read_capture
    from invgraph.fitting.fit import fit
    from invgraph.geometry.camera import Camera
    from invgraph.geometry.mesh import Mesh
    from invgraph.rendering.render import render
    from invgraph.rendering.result import Render
    from invgraph.scene import (
        DirectionalLight,
        EnvironmentMap,
        Material,
        Object,
        PointLight,
        Scene,
        SphericalHarmonicLight,
    )
    from invgraph.scene.scene_files import load_scene, save_scene

# Where each public name lives; fetched on first use, since torch alone takes seconds to import.
_HOMES = {
    "Camera": "invgraph.geometry.camera",
    "DirectionalLight": "invgraph.scene",
    "EnvironmentMap": "invgraph.scene",
    "Material": "invgraph.scene",
    "Mesh": "invgraph.geometry.mesh",
    "Object": "invgraph.scene",
    "PointLight": "invgraph.scene",
    "Render": "invgraph.rendering.result",
    "Scene": "invgraph.scene",
    "SphericalHarmonicLight": "invgraph.scene",
    "fit": "invgraph.fitting.fit",
    "load_scene": "invgraph.scene.scene_files",
    "read_capture": "invgraph.data",
    "render": "invgraph.rendering.render",
    "save_scene": "invgraph.scene.scene_files",
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
    if name not in _HOMES:
        raise AttributeError(f"module 'invgraph' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
