"""The names users import, and what importing them costs."""

import json
import subprocess
import sys

import pytest

import invgraph

# Removing or renaming one of these breaks users: deprecate it for a release first.
PUBLIC = {
    "Camera",
    "DirectionalLight",
    "EnvironmentMap",
    "Lens",
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
}
HEAVY = {
    "PIL",
    "av",
    "cholespy",
    "kornia",
    "mitsuba",
    "numba",
    "pycolmap",
    "rerun",
    "rich",
    "scipy",
    "skimage",
    "torch",
    "trimesh",
    "tyro",
}


MODULES = ("cli", "data", "fitting.fit", "rendering.render", "scene", "scene.scene_files")

# One fresh process answers every question about importing, because what they need takes seconds.
FRESH = f"""
import importlib, json, sys, time
start = time.process_time()
import invgraph
seconds = time.process_time() - start
loaded = sorted(sys.modules)
for name in {MODULES}:
    importlib.import_module("invgraph." + name)
kinds = {{name: type(getattr(invgraph, name)).__name__ for name in invgraph.__all__}}
print(json.dumps([seconds, loaded, kinds]))
"""


@pytest.fixture(scope="module")
def fresh() -> tuple[float, list[str], dict[str, str]]:
    """Seconds to import, modules loaded by then, kinds of the public names."""
    done = subprocess.run([sys.executable, "-c", FRESH], check=True, capture_output=True, text=True)
    return tuple(json.loads(done.stdout))


def test_public_names_are_exactly_these():
    assert set(invgraph.__all__) == set(dir(invgraph)) == PUBLIC


def test_unknown_names_say_so():
    with pytest.raises(AttributeError, match="module 'invgraph' has no attribute 'teapot'"):
        _ = invgraph.teapot  # type: ignore[attr-defined]


def test_nothing_heavy_is_imported(fresh):
    assert not HEAVY & {name.split(".")[0] for name in fresh[1]}


def test_importing_is_quick(fresh):
    assert fresh[0] < 0.3


def test_names_stay_what_they_are_after_modules_of_the_same_name_are_imported(fresh):
    for name, kind in fresh[2].items():
        assert kind == ("function" if name.islower() else "type"), name
