"""Named tensors: paths by hand, copies that share the rest, checks that run again."""

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
import torch
from scenes import ball_and_ring, camera

from invgraph.geometry.mesh import Mesh
from invgraph.geometry.primitives import cube
from invgraph.geometry.tensor_tree import flatten, get, map_tensors, replaced
from invgraph.scene import Scene, SphericalHarmonicLight


def lit_scene() -> Scene:
    return ball_and_ring(SphericalHarmonicLight(torch.ones(4, 3)), background=torch.zeros(3))


def test_a_scene_has_these_paths_in_this_order():
    assert list(flatten(lit_scene())) == [
        "objects.0.geometry.vertices",
        "objects.0.geometry.faces",
        "objects.0.geometry.uv",
        "objects.0.geometry.uv_faces",
        "objects.0.world_from_object",
        "objects.0.material.albedo",
        "objects.0.material.roughness",
        "objects.0.material.metallic",
        "objects.1.geometry.vertices",
        "objects.1.geometry.faces",
        "objects.1.geometry.uv",
        "objects.1.geometry.uv_faces",
        "objects.1.world_from_object",
        "objects.1.material.albedo",
        "objects.1.material.roughness",
        "objects.1.material.metallic",
        "lights.0.coefficients",
        "background",
    ]


@pytest.mark.parametrize(
    "value", [lit_scene(), camera(), cube(), {"a": [torch.ones(1), (torch.zeros(2), None)]}]
)
def test_every_path_gets_and_replaces_its_own_tensor_and_no_other(value):
    before = flatten(value)
    assert before
    for path, tensor in before.items():
        assert get(value, path) is tensor
        copy = tensor.clone()
        after = flatten(replaced(value, {path: copy}))
        assert list(after) == list(before)
        for name, other in after.items():
            assert other is (copy if name == path else before[name])
        assert get(value, path) is tensor


def test_a_tensor_by_itself_has_the_empty_path():
    one, two = torch.ones(1), torch.zeros(1)
    assert flatten(one) == {"": one} and get(one, "") is one
    assert replaced(one, {"": two}) is two


def test_what_does_not_change_is_shared_and_types_stay():
    scene = lit_scene()
    moved = replaced(scene, {"objects.1.world_from_object": torch.eye(4)})
    assert moved.objects[0] is scene.objects[0] and moved.lights[0] is scene.lights[0]
    assert isinstance(moved.objects, tuple)
    nested = {"a": [torch.ones(1)], "b": 3}
    assert isinstance(replaced(nested, {"a.0": torch.zeros(2)})["a"], list)
    assert replaced(scene, {}) is not scene


def test_tensors_that_fit_only_together_are_replaced_together():
    mesh, finer = cube(), torch.rand(20, 3)
    faces = torch.arange(18, dtype=torch.int32).reshape(6, 3)
    both = {"vertices": finer, "faces": faces, "uv": torch.rand(20, 2), "uv_faces": faces}
    assert mesh.uv is not None
    assert replaced(mesh, both).vertices is finer


def test_checks_of_dataclasses_run_again(without_shape_checks):
    with pytest.raises(ValueError, match="background should be a colour"):
        replaced(lit_scene(), {"background": torch.zeros(4)})
    with pytest.raises(ValueError, match=r"vertices should be \(\*batch, v, 3\)"):
        replaced(lit_scene(), {"objects.0.geometry.vertices": torch.zeros(3)})


@pytest.mark.parametrize(
    "path, near",
    [
        (
            "objects.0.geometry.vertex",
            "'objects.0.geometry.vertex'; near it: objects.0.geometry.vertices",
        ),
        ("objects.2.world_from_object", "near it: objects.[01].world_from_object"),
        ("objects.0.geometry", "near it: objects.0.geometry"),
        ("objects.0.visibility", "there is no tensor at 'objects.0.visibility'"),
        ("background.0", "near it: background"),
        ("", "there is no tensor at ''; near it: objects.0.geometry.vertices"),
    ],
)
def test_unknown_paths_are_refused_with_near_ones(path, near):
    with pytest.raises(ValueError, match=near):
        get(lit_scene(), path)
    with pytest.raises(ValueError, match=near):
        replaced(lit_scene(), {path: torch.zeros(3)})


def test_nothing_to_name_is_said():
    with pytest.raises(ValueError, match="near it: there are no tensors"):
        get({"a": 1}, "a")


@pytest.mark.parametrize("key", ["a.b", 3])
def test_keys_that_make_no_path_are_refused(key):
    with pytest.raises(ValueError, match="text without dots but one is "):
        flatten({key: torch.ones(1)})


@dataclass(frozen=True)
class Doubled:
    """Works out one tensor from another."""

    given: torch.Tensor
    twice: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.given)


def test_what_a_dataclass_works_out_follows():
    value = Doubled(torch.ones(1))
    assert list(flatten(value)) == ["given"]
    assert replaced(value, {"given": torch.full((1,), 3.0)}).twice == 6
    assert map_tensors(lambda tensor: tensor + 1, value).twice == 4


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


def test_named_tuples_stay_what_they_are():
    pair = map_tensors(lambda tensor: tensor + 1, Pair(torch.zeros(1), torch.ones(2)))
    assert isinstance(pair, Pair) and pair.second.tolist() == [2, 2]


def test_map_keeps_what_is_no_tensor():
    mesh = Mesh(torch.zeros(3, 3), torch.zeros(1, 3, dtype=torch.int32))
    moved = map_tensors(lambda x: x + 1, {"mesh": mesh, 3: [None, "text", (torch.ones(2),)]})
    assert moved["mesh"].vertices.min() == 1 and moved["mesh"].uv is None
    assert moved[3][:2] == [None, "text"] and moved[3][2][0].tolist() == [2, 2]
