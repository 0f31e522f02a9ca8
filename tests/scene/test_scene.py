"""Scenes: their checks, exact files, GLB that others can open, hostile input."""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invgraph.files import atomic as files
from invgraph.geometry import primitives, transforms
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.gaussians import Gaussians
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.scene import BackgroundImage, Material, Object, Scene, scene_files
from invgraph.scene.lights import (
    DirectionalLight,
    EnvironmentMap,
    PointLight,
    SphericalHarmonicLight,
)
from invgraph.scene.material import unlit
from invgraph.scene.scene_files import load_scene, save_scene


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def pose(*xi: float) -> torch.Tensor:
    return transforms.exp_se3(torch.tensor(xi))


def plain(mesh: Mesh) -> Object:
    material = Material(torch.tensor([0.8, 0.2, 0.1]), torch.tensor([0.3]), torch.tensor([0.0]))
    return Object(mesh, torch.eye(4), material)


def rich_scene() -> Scene:
    """A texture over seams, per-vertex colours and constants; every light."""
    globe = primitives.uv_sphere(8, 16)
    ring = primitives.torus(rows=5, columns=7)
    ring = Mesh(ring.vertices, ring.faces)
    textured = Material(
        random(16, 32, 3), random(8, 8, 1), random(4, 16, 1), "texture", "texture", "texture"
    )
    painted = Material(random(35, 3), random(35, 1), torch.tensor([0.25]), "vertex", "vertex")
    return Scene(
        objects=(
            Object(globe, torch.eye(4), textured, visibility=random(114, 6)),
            Object(ring, pose(2.0, 0.1, -0.3, 0.5, -1.0, 0.2), painted),
            plain(primitives.cube()),
        ),
        lights=(
            SphericalHarmonicLight(random(9, 3), "camera"),
            DirectionalLight(torch.tensor([0.1, -1.0, 1 / 3]), torch.tensor([1.0, 2.0, 3e-39])),
            PointLight(torch.tensor([1e30, 2.0, 3.0]), torch.ones(3), "camera"),
            EnvironmentMap(random(6, 12, 3)),
        ),
        background=EnvironmentMap(random(4, 8, 3)),
    )


def tensors(value) -> list[torch.Tensor]:
    found = []
    map_tensors(lambda tensor: (found.append(tensor), tensor)[1], value)
    return found


def assert_identical(a: Scene, b: Scene) -> None:
    first, second = tensors(a), tensors(b)
    assert len(first) == len(second)
    for x, y in zip(first, second, strict=True):
        assert x.dtype == y.dtype and torch.equal(x, y)
    assert [type(light) for light in a.lights] == [type(light) for light in b.lights]
    assert [light.frame for light in a.lights] == [light.frame for light in b.lights]
    assert type(a.background) is type(b.background)


def tensors_file(folder: Path, stem: str = "scene") -> Path:
    """The only tensors that belong to a scene."""
    (file,) = folder.glob(f"{stem}.*.safetensors")
    return file


def test_files_give_back_every_bit(tmp_path):
    scene = rich_scene()
    save_scene(scene, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"scene.json", "scene.glb", tensors_file(tmp_path / "run").name}
    for path in ("run", "run/scene.json", "run/scene.glb"):
        assert_identical(load_scene(tmp_path / path), scene)


@pytest.mark.parametrize(
    "background", [None, torch.tensor([0.1, 0.2, 0.3]), BackgroundImage(random(5, 6, 3))]
)
def test_backgrounds_and_empty_scenes_round_trip(background, tmp_path):
    scene = Scene((), (), background)
    save_scene(scene, tmp_path / "empty.json")
    assert_identical(load_scene(tmp_path / "empty.glb"), scene)


def test_names_of_ones_own_keep_scenes_apart(tmp_path):
    first, second = rich_scene(), Scene((plain(primitives.uv_sphere(16, 32)),))
    save_scene(first, tmp_path / "a.json")
    save_scene(second, tmp_path / "a.b.json")
    assert len(list(tmp_path.iterdir())) == 6
    save_scene(second, tmp_path / "a.json")
    save_scene(first, tmp_path / "a.b.glb")
    assert len(list(tmp_path.iterdir())) == 6
    assert_identical(load_scene(tmp_path / "a.json"), second)
    assert_identical(load_scene(tmp_path / "a.b.json"), first)


def test_a_scene_may_be_renamed_or_reached_by_a_link(tmp_path):
    scene = rich_scene()
    save_scene(scene, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new/scene.json").rename(tmp_path / "new/mine.json")
    assert_identical(load_scene(tmp_path / "new/mine.json"), scene)
    (tmp_path / "link.json").symlink_to(tmp_path / "new/mine.json")
    assert_identical(load_scene(tmp_path / "link.json"), scene)


def test_the_json_of_a_large_scene_stays_small_enough_to_read(tmp_path):
    globe = primitives.uv_sphere(200, 400)
    kinds = ("texture", "texture", "texture")
    material = Material(random(256, 256, 3), random(256, 256, 1), random(256, 256, 1), *kinds)
    save_scene(Scene((Object(globe, torch.eye(4), material),)), tmp_path)
    assert tensors_file(tmp_path).stat().st_size > 3_000_000
    text = (tmp_path / "scene.json").read_text()
    assert len(text) < 20_000 and max(map(len, text.splitlines())) < 200
    document = json.loads(text)
    shape = document["scene"]["objects"][0]["material"]["albedo"]["shape"]
    assert shape == [256, 256, 3]


def test_the_tensors_are_named_after_their_place(tmp_path):
    from safetensors.torch import load_file

    scene = rich_scene()
    save_scene(scene, tmp_path)
    stored = load_file(tensors_file(tmp_path))
    assert torch.equal(stored["scene.objects[1].geometry.vertices"], scene.objects[1].mesh.vertices)
    assert all(tensor.numel() > 64 for tensor in stored.values())


def test_the_same_scene_gives_the_same_files(tmp_path):
    for name in "ab":
        save_scene(rich_scene(), tmp_path / name)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"
    )
    assert first == second


def test_other_precisions_and_empty_meshes_round_trip(tmp_path):
    cube = primitives.cube()
    wide = replace(cube, vertices=cube.vertices.double() / 3, faces=cube.faces.long())
    bare = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32))
    scene = Scene((plain(wide), plain(bare)))
    save_scene(scene, tmp_path)
    assert_identical(load_scene(tmp_path), scene)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_any_finite_float_survives(tmp_path_factory, values):
    scene = Scene((), (), torch.tensor(values))
    folder = tmp_path_factory.mktemp("floats")
    save_scene(scene, folder)
    assert_identical(load_scene(folder), scene)


def test_saving_drops_gradients_and_leaves_the_scene_alone(tmp_path):
    scene = map_tensors(
        lambda tensor: tensor.requires_grad_() if tensor.is_floating_point() else tensor,
        rich_scene(),
    )
    save_scene(scene, tmp_path)
    assert not any(tensor.requires_grad for tensor in tensors(load_scene(tmp_path)))
    assert scene.objects[0].mesh.vertices.requires_grad


def parse_glb(path: Path) -> tuple[dict, bytes]:
    """The two chunks of a GLB, with the framing rules of the specification checked."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, json_kind = struct.unpack_from("<I4s", data, 12)
    assert json_kind == b"JSON" and json_length % 4 == 0
    root = json.loads(data[20 : 20 + json_length])
    rest = data[20 + json_length :]
    if not rest:
        return root, b""
    binary_length, binary_kind = struct.unpack_from("<I4s", rest)
    assert binary_kind == b"BIN\0" and binary_length % 4 == 0 and len(rest) == 8 + binary_length
    return root, rest[8:]


def read_accessor(root: dict, binary: bytes, index: int) -> np.ndarray:
    accessor = root["accessors"][index]
    view = root["bufferViews"][accessor["bufferView"]]
    assert view["byteOffset"] % 4 == 0
    columns = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    dtype = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
    count = accessor["count"] * columns
    assert count * 4 == view["byteLength"]
    array = np.frombuffer(binary, dtype, count, view["byteOffset"])
    return array if columns == 1 else array.reshape(-1, columns)


def test_glb_follows_the_rules_of_gltf(tmp_path):
    save_scene(rich_scene(), tmp_path)
    root, binary = parse_glb(tmp_path / "scene.glb")
    assert root["asset"]["version"] == "2.0"
    assert root["buffers"] == [{"byteLength": root["buffers"][0]["byteLength"]}]
    assert len(binary) - 4 < root["buffers"][0]["byteLength"] <= len(binary)
    for view in root["bufferViews"]:
        assert view["byteOffset"] + view["byteLength"] <= root["buffers"][0]["byteLength"]
    for mesh in root["meshes"]:
        (primitive,) = mesh["primitives"]
        attributes = primitive["attributes"]
        positions = read_accessor(root, binary, attributes["POSITION"])
        accessor = root["accessors"][attributes["POSITION"]]
        assert accessor["min"] == positions.min(0).tolist()
        assert accessor["max"] == positions.max(0).tolist()
        normals = read_accessor(root, binary, attributes["NORMAL"])
        assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        indices = read_accessor(root, binary, primitive["indices"])
        assert indices.max() < len(positions) and len(indices) % 3 == 0
        assert {root["accessors"][i]["count"] for i in attributes.values()} == {len(positions)}


def test_glb_says_what_the_scene_says(tmp_path):
    from PIL import Image

    scene = rich_scene()
    save_scene(scene, tmp_path)
    root, binary = parse_glb(tmp_path / "scene.glb")
    assert root["scenes"] == [{"nodes": [0, 1, 2]}]
    globe, ring, cube = root["nodes"]
    # A pose is written column by column.
    expected = scene.objects[1].world_from_object.T.reshape(-1).tolist()
    assert "matrix" not in globe and ring["matrix"] == expected and "matrix" not in cube
    materials = [material["pbrMetallicRoughness"] for material in root["materials"]]
    assert materials[2]["baseColorFactor"] == pytest.approx([0.8, 0.2, 0.1, 1.0])
    assert materials[2]["roughnessFactor"] == pytest.approx(0.3)
    # glTF has no roughness per vertex: the mean stands for it.
    mean = float(scene.objects[1].material.roughness.mean())
    assert materials[1]["roughnessFactor"] == pytest.approx(mean)
    assert materials[1]["metallicFactor"] == 0.25
    colors = read_accessor(
        root, binary, root["meshes"][1]["primitives"][0]["attributes"]["COLOR_0"]
    )
    assert np.array_equal(colors, scene.objects[1].material.albedo.numpy())

    def picture(texture: int) -> np.ndarray:
        view = root["bufferViews"][
            root["images"][root["textures"][texture]["source"]]["bufferView"]
        ]
        start, length = view["byteOffset"], view["byteLength"]
        path = tmp_path / "texture.png"
        path.write_bytes(binary[start : start + length])
        with Image.open(path) as image:
            assert image.format == "PNG"
            return np.asarray(image)

    albedo = picture(materials[0]["baseColorTexture"]["index"])
    encoded = srgb_from_linear(scene.objects[0].material.albedo).mul(255).round().byte()
    assert np.array_equal(albedo, encoded.numpy())
    packed = picture(materials[0]["metallicRoughnessTexture"]["index"])
    # Both fill one texture of the larger size: green is roughness, blue metallic.
    assert packed.shape == (8, 16, 3)
    roughness, metallic = scene.objects[0].material.roughness, scene.objects[0].material.metallic
    assert packed[..., 1].mean() / 255 == pytest.approx(float(roughness.mean()), abs=0.01)
    assert packed[..., 2].mean() / 255 == pytest.approx(float(metallic.mean()), abs=0.01)


def test_glb_opens_elsewhere(tmp_path):
    import trimesh

    scene = rich_scene()
    save_scene(scene, tmp_path)
    opened = trimesh.load_scene(tmp_path / "scene.glb")
    assert set(opened.graph.nodes_geometry) == {"object_0", "object_1", "object_2"}
    for i, item in enumerate(scene.objects):
        matrix, name = opened.graph[f"object_{i}"]
        assert np.allclose(matrix, item.world_from_object.numpy(), atol=1e-6)
        geometry = opened.geometry[name]
        corners = item.mesh.vertices[item.mesh.faces.long()].numpy()
        assert np.array_equal(geometry.vertices[geometry.faces], corners)
        assert len(geometry.faces) == len(item.mesh.faces)
    globe = scene.objects[0].mesh
    assert globe.uv is not None
    opened_globe = opened.geometry["object_0"]
    uv = opened_globe.visual.uv[opened_globe.faces]
    # trimesh counts v from the bottom.
    uv[..., 1] = 1 - uv[..., 1]
    assert np.allclose(uv, globe.uv[globe.texture_faces.long()].numpy(), atol=1e-6)


def test_normals_are_smooth_across_texture_seams(tmp_path):
    save_scene(Scene((plain(primitives.uv_sphere(16, 32)),)), tmp_path)
    root, binary = parse_glb(tmp_path / "scene.glb")
    attributes = root["meshes"][0]["primitives"][0]["attributes"]
    positions = read_accessor(root, binary, attributes["POSITION"])
    normals = read_accessor(root, binary, attributes["NORMAL"])
    assert (positions * normals).sum(1).min() > 0.995


def broken(tmp_path: Path, change) -> Path:
    """The JSON of a saved scene after ``change`` has been at it."""
    save_scene(rich_scene(), tmp_path)
    path = tmp_path / "scene.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def rewritten(folder: Path, **change: torch.Tensor | None) -> None:
    """Change the tensors of the first mesh, with the JSON's consent."""
    from safetensors.torch import load_file, save

    file = tensors_file(folder)
    stored = load_file(file)
    for field, value in change.items():
        name = f"scene.objects[0].geometry.{field}"
        del stored[name]
        if value is not None:
            stored[name] = value
    signed(folder, save(stored))


def signed(folder: Path, data: bytes) -> None:
    """Put ``data`` where the tensors are and say in the JSON that it is theirs."""
    tensors_file(folder).write_bytes(data)
    path = folder / "scene.json"
    document = json.loads(path.read_text())
    document["tensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    path.write_text(json.dumps(document))


def change_at(keys: str, value):
    def change(document):
        *path, last = [int(key) if key.isdigit() else key for key in keys.split(".")]
        for key in path:
            document = document[key]
        document[last] = value

    return change


FIRST_OBJECT = "scene.objects.0"


@pytest.mark.parametrize(
    "change, message",
    [
        (change_at("format", "pickle"), 'does not say "format": "invgraph scene"'),
        (change_at("version", 99), "its version is 99 but this reads 3"),
        (change_at("version", 3.0), r"its version is 3\.0 but this reads 3"),
        (change_at("version", True), "its version is True but this reads 3"),
        (change_at("version", 1), "of version 1, .* but this reads 3; run the fit again, or save"),
        (change_at("scene", None), "scene should be one of Scene"),
        (change_at("scene", {"type": "Scene"}), "exactly the fields objects, lights, background"),
        (change_at("scene.objects", 7), "scene.objects should be a list"),
        (change_at("scene.extra", 7), "exactly the fields"),
        (change_at("scene.lights.0.type", "os.system"), "should be one of SphericalHarmonicLight"),
        (change_at("scene.lights.0.type", ["Scene"]), "should be one of SphericalHarmonicLight"),
        (change_at("scene.lights.0.frame", "moon"), "should be 'world' or 'camera' but is 'moon'"),
        (change_at("scene.lights.0.frame", [[]]), "should be 'world' or 'camera'"),
        (
            change_at("scene.background", {"dtype": "float32", "values": [1, 2]}),
            "background should",
        ),
        (change_at(f"{FIRST_OBJECT}.geometry.vertices", {"dtype": "int32"}), "hold float numbers"),
        (
            change_at(f"{FIRST_OBJECT}.geometry.faces", {"dtype": "float32"}),
            "should hold int numbers",
        ),
        (
            change_at(f"{FIRST_OBJECT}.geometry.vertices.dtype", "object"),
            "numbers of 32 or 64 bits",
        ),
        (change_at(f"{FIRST_OBJECT}.geometry.vertices.dtype", []), "numbers of 32 or 64 bits"),
        (change_at(f"{FIRST_OBJECT}.geometry.vertices.dtype", "float64"), "is stored as float32"),
        (
            change_at(f"{FIRST_OBJECT}.geometry.vertices.shape", [1 << 62, 3]),
            r"of shape \[114, 3\]",
        ),
        (change_at(f"{FIRST_OBJECT}.geometry.vertices.shape", "long"), "is not what the JSON says"),
        (
            change_at(f"{FIRST_OBJECT}.geometry.vertices", {"dtype": "float32"}),
            "is stored as float32",
        ),
        (
            change_at(f"{FIRST_OBJECT}.geometry", {"dtype": "float32"}),
            "geometry should be one of Mesh, Gau",
        ),
        (change_at("scene.background", {"dtype": "float32"}), "background has no values, and the"),
        (change_at("tensors", None), "vertices has no values, and the tensors beside it lack it"),
        (change_at("tensors", []), "exactly the fields file, sha256"),
        (change_at("tensors.more", 1), "exactly the fields file, sha256"),
        (change_at("tensors.file", 5), "should name a .safetensors file beside it but is 5"),
        (change_at("tensors.file", "/etc/a.safetensors"), "should name a .safetensors file beside"),
        (change_at("tensors.file", "../a.safetensors"), "should name a .safetensors file beside"),
        (change_at("tensors.file", "b/../a.safetensors"), "should name a .safetensors file beside"),
        (change_at("tensors.file", ".."), "should name a .safetensors file beside"),
        (change_at("tensors.file", "scene.json"), "should name a .safetensors file beside"),
        (change_at("tensors.file", "a.safetensors"), "a.safetensors with its tensors cannot be"),
        (change_at("tensors.file", "a" * 5000 + ".safetensors"), "with its tensors cannot be"),
        (change_at("tensors.file", "\0.safetensors"), "null"),
        (change_at("tensors.sha256", "0" * 64), "safetensors is damaged or of another scene"),
        (change_at("tensors.sha256", None), "safetensors is damaged or of another scene"),
        (
            change_at("scene.background", {"dtype": "float32", "values": [1, [2], 3]}),
            "not a valid scene",
        ),
        (
            change_at("scene.background", {"dtype": "float32", "values": ["a", "b", "c"]}),
            "regular list of float32 numbers",
        ),
        (
            change_at("scene.background", {"dtype": "float32", "values": [1e300, 0, 0]}),
            "not finite",
        ),
        (
            change_at(
                f"{FIRST_OBJECT}.geometry.faces", {"dtype": "int32", "values": [[0, 1, 999]]}
            ),
            "should match corner by corner",
        ),
        (
            change_at(
                "scene.objects.1.geometry.faces", {"dtype": "int32", "values": [[0, 1, 999]]}
            ),
            "faces hold indices from 0 to 999 but there are 35 vertices",
        ),
        (
            change_at(
                "scene.objects.1.geometry.faces", {"dtype": "int32", "values": [[0, 1, 1e9]]}
            ),
            "regular list of int32 numbers",
        ),
    ],
)
def test_hostile_scenes_are_refused_in_one_line(change, message, tmp_path, without_shape_checks):
    path = broken(tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_scene(tmp_path)
    assert str(caught.value).startswith(f"{path} is not a valid scene: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vertices": None}, "vertices has no values, and the tensors beside it lack it"),
        ({"vertices": torch.full((114, 3), torch.nan)}, "vertices holds numbers that are not fin"),
        ({"vertices": torch.zeros(114, 2)}, r"is stored as float32 of shape \[114, 2\]"),
        ({"vertices": torch.zeros(114, 3).half()}, "is stored as float16"),
        ({"vertices": torch.zeros(114, 3, dtype=torch.bool)}, "is stored as bool"),
        ({"faces": torch.full((224, 3), 114, dtype=torch.int32)}, "faces hold indices from 114"),
    ],
)
def test_hostile_tensors_are_refused_in_one_line(change, message, tmp_path, without_shape_checks):
    save_scene(rich_scene(), tmp_path)
    rewritten(tmp_path, **change)
    with pytest.raises(ValueError, match=message) as caught:
        load_scene(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'scene.json'} is not a valid scene: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def _header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        _header(b"{}")[:9],
        _header(b"[" * 5000),
        _header(b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'),
        _header(b'{"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]}}') + b"1234",
        _header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}') + b"1234",
    ],
)
def test_what_is_no_tensors_file_is_refused_by_its_name(data, tmp_path):
    save_scene(rich_scene(), tmp_path)
    signed(tmp_path, data)
    with pytest.raises(ValueError, match="it is not a whole safetensors file") as caught:
        load_scene(tmp_path)
    assert tensors_file(tmp_path).name in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_missing_or_foreign_tensors_are_refused(tmp_path):
    save_scene(rich_scene(), tmp_path / "one")
    save_scene(Scene((plain(primitives.torus()),)), tmp_path / "two")
    file = tensors_file(tmp_path / "one")
    data = tensors_file(tmp_path / "two").read_bytes()
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"{file.name} is damaged or of another scene"):
        load_scene(tmp_path / "one")
    file.unlink()
    with pytest.raises(ValueError, match=f"{file.name} with its tensors cannot be read"):
        load_scene(tmp_path / "one")
    file.mkdir()
    with pytest.raises(ValueError, match=f"{file.name} is not a file"):
        load_scene(tmp_path / "one")


def test_tensors_are_not_read_through_a_link_out_of_the_folder(tmp_path):
    save_scene(rich_scene(), tmp_path / "run")
    file = tensors_file(tmp_path / "run")
    file.rename(tmp_path / "elsewhere.safetensors")
    file.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ValueError, match=f"{file.name} is a link out of the folder"):
        load_scene(tmp_path / "run")


def test_the_format_before_is_refused_with_what_to_do(tmp_path):
    old = {"format": "invgraph scene", "version": 1, "scene": {}, "tensors": [{"base64": "AA"}]}
    (tmp_path / "scene.json").write_text(json.dumps(old))
    with pytest.raises(ValueError) as caught:
        load_scene(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'scene.json'} is not a valid scene: it is of version 1, which an older "
        "invgraph wrote, but this reads 3; run the fit again, or save the scene again with this "
        "version."
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"NaN", b"[" * 200_000, b'{"a":' * 200_000],
)
def test_what_is_not_json_is_refused(content, tmp_path):
    (tmp_path / "scene.json").write_bytes(content)
    with pytest.raises(ValueError, match="is not a valid scene: ") as caught:
        load_scene(tmp_path)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_not_are_refused(tmp_path):
    path = broken(
        tmp_path, change_at("scene.background", {"dtype": "float32", "values": [0, 0, 0]})
    )
    path.write_text(path.read_text().replace("[0, 0, 0]", "[0, NaN, 0]"))
    with pytest.raises(ValueError, match="NaN is not a number a scene may hold"):
        load_scene(path)


def test_a_missing_scene_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"scene.json does not exist; give a folder or file made"):
        load_scene(tmp_path)


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_truncated_files_are_refused(kind, cut, tmp_path):
    save_scene(rich_scene(), tmp_path)
    path = tmp_path / "scene.json" if kind == "json" else tensors_file(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ValueError, match="is not a valid scene: "):
        load_scene(tmp_path)


def bad_scene(**change) -> Scene:
    return Scene((replace(plain(primitives.cube()), **change),))


def test_what_cannot_be_saved_leaves_the_old_files(tmp_path):
    save_scene(rich_scene(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    nan = torch.eye(4)
    nan[0, 3] = float("nan")
    cube = primitives.cube()
    cases = [
        (bad_scene(world_from_object=nan), r"scene.objects\[0\].world_from_object holds 1 numbers"),
        (bad_scene(world_from_object=torch.eye(4)[None]), r"object_0 has batch axes"),
        (bad_scene(geometry=replace(cube, faces=cube.faces + 1)), "faces hold indices from 1 to 8"),
        (Scene((), (), torch.ones(3).half()), "scene.background is float16"),
    ]
    for scene, message in cases:
        with pytest.raises(ValueError, match=message):
            save_scene(scene, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def batches() -> dict[str, Scene]:
    """Scenes of which one tensor has a batch axis."""
    scene, cube = rich_scene(), plain(primitives.cube())
    four, points = torch.rand(4, 3), torch.rand(2, 4, 3)
    cloud = Gaussians(four, torch.ones(4, 4), four + 0.1, torch.rand(4))
    thing = Object(cloud, torch.eye(4), unlit(torch.rand(3)))
    things = {
        "tint": replace(cube, tint=torch.ones(2, 3)),
        "colour": replace(cube, material=replace(cube.material, albedo=torch.ones(2, 3))),
        "metallic": replace(cube, material=replace(cube.material, metallic=torch.ones(2, 1))),
        "painted": replace(
            cube, material=replace(cube.material, albedo=random(2, 8, 3), albedo_kind="vertex")
        ),
        "texture": replace(
            scene.objects[0],
            material=replace(scene.objects[0].material, albedo=random(2, 4, 4, 3)),
        ),
        "vertices": replace(
            cube, geometry=replace(cube.mesh, vertices=cube.mesh.vertices.expand(2, 8, 3))
        ),
        "means": replace(thing, geometry=replace(cloud, means=points)),
        "opacity": replace(thing, geometry=replace(cloud, opacity=torch.rand(2, 4))),
    }
    return {name: Scene((item,)) for name, item in things.items()} | {
        "light": Scene((), (DirectionalLight(torch.ones(2, 3), torch.ones(3)),)),
        "harmonics": Scene((), (SphericalHarmonicLight(random(2, 9, 3)),)),
        "background": Scene((), (), torch.ones(2, 3)),
        "picture": Scene((), (), BackgroundImage(random(2, 4, 4, 3))),
        "panorama": Scene((), (), EnvironmentMap(random(2, 4, 8, 3))),
    }


@pytest.mark.parametrize("name", batches())
def test_batches_are_not_saved(name, tmp_path):
    with pytest.raises(ValueError, match=r"has batch axes \(2,\); save one scene at a time"):
        save_scene(batches()[name], tmp_path)
    assert not list(tmp_path.iterdir())


def test_batches_are_not_read(tmp_path):
    save_scene(Scene((), (), torch.ones(3)), tmp_path)
    path = tmp_path / "scene.json"
    path.write_text(re.sub(r"\[1.0 *, 1.0 *, 1.0\]", "[[1.0, 1.0, 1.0]]", path.read_text()))
    with pytest.raises(ValueError, match=r"is not a valid scene: scene has batch axes \(1,\)"):
        load_scene(tmp_path)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_full_disk_or_a_kill_leaves_the_old_files(moment, tmp_path, monkeypatch):
    scene = rich_scene()
    save_scene(scene, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync") if moment == "fsync" else (Path, "replace")), fail)
        with pytest.raises(OSError, match="No space left"):
            save_scene(Scene(()), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert_identical(load_scene(tmp_path), scene)


@pytest.mark.parametrize("last", [0, 1, 2, 3])
def test_a_kill_between_two_files_leaves_the_old_scene_or_the_new(last, tmp_path, monkeypatch):
    old, new = rich_scene(), Scene((plain(primitives.torus()),))
    save_scene(old, tmp_path)
    real, done = files.Path.replace, []

    def replace_some(self, target):
        if len(done) == last:
            raise KeyboardInterrupt
        done.append(target)
        return real(self, target)

    def no_time_to_clean(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_some)
        patched.setattr(Path, "iterdir", no_time_to_clean)
        with pytest.raises(KeyboardInterrupt):
            save_scene(new, tmp_path)
    assert_identical(load_scene(tmp_path), old if last < 3 else new)
    save_scene(new, tmp_path)  # what the killed one left behind goes
    assert len(list(tmp_path.iterdir())) == 3
    assert_identical(load_scene(tmp_path), new)


@pytest.mark.slow
def test_a_killed_program_leaves_a_whole_scene(tmp_path):
    script = (
        "import sys, torch; from itertools import cycle\n"
        "from invgraph import Object, Material, Scene, save_scene\n"
        "from invgraph.geometry.primitives import uv_sphere\n"
        "one = Material(torch.ones(3), torch.ones(1), torch.ones(1))\n"
        "for n in cycle(range(9, 60)):\n"
        "    item = Object(uv_sphere(n, 2 * n), torch.eye(4), one)\n"
        "    save_scene(Scene((item,)), sys.argv[1])\n"
    )
    for seconds in (0.0, 0.3, 0.7):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "run")])
        (tmp_path / "run" / "scene.json").unlink(missing_ok=True)
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "scene.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert len(load_scene(tmp_path / "run").objects) == 1
        process.kill()
        process.wait()
        assert len(load_scene(tmp_path / "run").objects) == 1


def test_a_scene_that_is_replaced_while_it_is_read_is_read_anew(tmp_path, monkeypatch):
    old, new = rich_scene(), Scene((plain(primitives.torus()),))
    save_scene(old, tmp_path)
    real = scene_files._read_tensors

    def read_late(*arguments):
        monkeypatch.undo()
        save_scene(new, tmp_path)
        return real(*arguments)

    monkeypatch.setattr(scene_files, "_read_tensors", read_late)
    assert_identical(load_scene(tmp_path), new)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Material(torch.ones(4), torch.ones(1), torch.ones(1)),
            r"albedo of kind constant should be \(\*batch, 3\)",
        ),
        (
            lambda: Material(torch.ones(3), torch.ones(5), torch.ones(1)),
            r"roughness of kind constant should be \(\*batch, 1\)",
        ),
        (
            lambda: Material(
                torch.ones(3), torch.ones(1), torch.ones(5, 1), metallic_kind="texture"
            ),
            r"metallic of kind texture should be \(\*batch, h, w, 1\)",
        ),
        (
            lambda: Material(torch.ones(3), torch.ones(1), torch.ones(1), "paint"),  # type: ignore
            "albedo_kind should be one of constant, vertex, face, texture but is 'paint'",
        ),
        (
            lambda: replace(plain(primitives.cube()), tint=torch.ones(4)),
            r"tint should be \(\*batch, 3\)",
        ),
        (
            lambda: replace(plain(primitives.cube()), present=torch.ones(4)),
            "present should be true or false",
        ),
        (
            lambda: BackgroundImage(torch.ones(4, 3)),
            r"pixels should be \(\*batch, h, w, 3\)",
        ),
        (
            lambda: Object(
                primitives.cube(),
                torch.eye(4),
                Material(random(8, 3), torch.ones(1), torch.ones(1), "face"),
            ),
            "albedo has 8 rows but the mesh has 12 faces",
        ),
        (
            lambda: replace(plain(primitives.cube()), world_from_object=torch.eye(3)),
            r"world_from_object should be \(\*batch, 4, 4\)",
        ),
        (
            lambda: replace(plain(primitives.cube()), visibility=torch.ones(7, 2)),
            "visibility has 7 rows but the mesh has 8 vertices",
        ),
        (
            lambda: replace(plain(primitives.cube()), visibility=torch.ones(0)),
            r"visibility should be \(v, d\) but has shape \(0,\)",
        ),
        (
            lambda: Object(
                primitives.cube(),
                torch.eye(4),
                Material(random(9, 3), torch.ones(1), torch.ones(1), "vertex"),
            ),
            "albedo has 9 rows but the mesh has 8 vertices",
        ),
        (
            lambda: Object(
                primitives.icosphere(0),
                torch.eye(4),
                Material(random(2, 2, 3), torch.ones(1), torch.ones(1), "texture"),
            ),
            "albedo is a texture but the mesh has no uv",
        ),
        (
            lambda: SphericalHarmonicLight(torch.ones(5, 3)),
            r"with k one of 1, 4, 9, 16, 25 but have shape \(5, 3\)",
        ),
        (
            lambda: DirectionalLight(torch.ones(2), torch.ones(3)),
            r"direction should end in 3 but has shape \(2,\)",
        ),
        (
            lambda: PointLight(torch.ones(3), torch.ones(1)),
            r"intensity should end in 3 but has shape \(1,\)",
        ),
        (
            lambda: EnvironmentMap(torch.ones(4, 3)),
            r"radiance should be \(\*batch, h, w, 3\) but has shape \(4, 3\)",
        ),
        (
            lambda: EnvironmentMap(torch.ones(4, 8, 3), "sky"),  # type: ignore[arg-type]
            "a light's frame should be 'world' or 'camera' but is 'sky'",
        ),
        (
            lambda: Scene((), (), torch.ones(4)),
            r"background should be a colour \(\*batch, 3\) but",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(make, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        make()


def test_to_moves_every_tensor():
    moved = rich_scene().to("meta")
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}
    assert [field.name for field in fields(moved)] == ["objects", "lights", "background"]
