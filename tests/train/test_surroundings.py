"""What dreams put about an object: where it stands, what it shades, what hides it."""

import math
from dataclasses import replace

import torch

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.primitives import icosphere
from invgraph.rendering import harmonics
from invgraph.rendering.render import render
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.train.lamp import Lamp
from invgraph.train.surroundings import BEFORE, BESIDE, STANDS, TABLE, _shadow, body, surrounded

COUNT = 400
UP = torch.tensor([0.0, -0.8, -0.6])  # of a camera that looks down by 37 degrees


def standing() -> Scene:
    """A ball of radius 0.1, half a metre away, in even light."""
    pose = torch.eye(4).repeat(COUNT, 1, 1)
    pose[:, 2, 3] = 0.5
    ball = icosphere(2)
    material = Material(torch.full((3,), 0.5), torch.tensor([0.5]), torch.zeros(1))
    light = torch.zeros(COUNT, 9, 3)
    light[:, 0] = math.sqrt(4 * math.pi)
    mesh = replace(ball, vertices=0.1 * ball.vertices)
    return Scene((Object(mesh, pose, material),), (SphericalHarmonicLight(light, frame="camera"),))


def around() -> Scene:
    dark = torch.zeros(COUNT, 3)
    return surrounded(
        standing(),
        Lamp(UP.expand(COUNT, 3), dark, dark, torch.zeros(COUNT, dtype=torch.long)),
        UP.expand(COUNT, 3),
        torch.full((COUNT, 64, 64, 3), 0.4),
        torch.Generator().manual_seed(0),
    )


def test_all_that_stands_touches_the_table():
    scene = around()
    item, table, *beside, _ = scene.objects
    normal = table.world_from_object[:, :3, 2]
    torch.testing.assert_close(normal, UP.expand(COUNT, 3))
    level = (table.world_from_object[:, :3, 3] * UP).sum(-1)
    for thing in (item, *beside):
        points = transforms.apply(thing.world_from_object, thing.mesh.vertices)
        torch.testing.assert_close((points @ UP).amin(-1), level, atol=1e-5, rtol=0)
    assert len(beside) == BESIDE


def test_shares_are_as_they_say():
    _, table, *beside, before = around().objects
    for thing, share in ((table, TABLE), (before, BEFORE), *((each, STANDS) for each in beside)):
        assert thing.present is not None
        assert abs(float(thing.present.float().mean()) - share) < 0.1


def test_what_stands_beside_is_no_nearer_than_its_size():
    item, _, *beside, _ = around().objects
    for thing in beside:
        away = thing.world_from_object[:, :3, 3] - item.world_from_object[:, :3, 3]
        flat = away - (away @ UP)[:, None] * UP
        widest = thing.mesh.vertices.norm(dim=-1).amax(-1) / math.sqrt(3)
        assert bool((flat.norm(dim=-1) > 0.1 + 0.5 * widest).all())
        assert bool((flat[:, 2] > -0.8 * flat.norm(dim=-1)).all())  # not between camera and object


def test_what_is_before_hides_a_part():
    scene = around()
    lens = Lens(torch.tensor([128.0, 128.0]), torch.tensor([32.0, 32.0]), 64, 64)
    camera = Camera(lens, torch.eye(4))
    item, *_, before = scene.objects
    alone = render(Scene((item,)), camera, outputs=("object_id",)).object_id
    both = render(Scene((item, before)), camera, outputs=("object_id",)).object_id
    assert alone is not None and both is not None and before.present is not None
    left = (both == 0).sum((1, 2)) / (alone == 0).sum((1, 2))
    assert bool((left[~before.present] == 1).all())
    hidden = 1 - left[before.present]
    assert 0.1 < float(hidden.median()) < 0.4 and float((hidden > 0).float().mean()) > 0.9
    assert float((hidden > 0.7).float().mean()) < 0.1  # seldom all


def test_a_body_is_as_large_as_it_says():
    size = torch.linspace(0.1, 0.5, 50)[:, None]
    thing = body(50, size, torch.Generator().manual_seed(0))
    reach = thing.mesh.vertices.abs().amax((1, 2))
    assert bool((reach <= size[:, 0] + 1e-6).all() and (reach >= 0.8 * size[:, 0]).all())
    assert thing.material.albedo.shape[0] == 50
    assert bool(((thing.material.albedo > 0) & (thing.material.albedo < 1)).all())


def test_a_pole_under_a_lamp_throws_its_shadow_away_from_it():
    """Light from +x: the shadow of a pole at the middle lies at -x, as long as the pole is high."""
    height = torch.linspace(0, 0.5, 60)
    pole = torch.stack([torch.zeros(60), torch.zeros(60), height], -1)[None]
    toward = torch.tensor([[math.sqrt(0.5), 0.0, math.sqrt(0.5)]])
    light = harmonics.basis(toward, 4)[..., None].expand(1, 25, 3)
    dark = _shadow(pole, torch.tensor([[1.0]]), light, toward, torch.zeros(1))[0]
    columns = dark.sum(0)
    middle = float((columns * (torch.arange(64) + 0.5)).sum() / columns.sum())
    assert float(dark.max()) > 0.2 and float(dark.min()) == 0
    assert 32 - 0.5 * 32 < middle < 32 - 0.1 * 32  # x = -0.25 is at column 24
    rows = dark.sum(1)
    assert abs(float((rows * (torch.arange(64) + 0.5)).sum() / rows.sum()) - 32) < 1.5


def test_the_shadow_in_a_lamps_light_has_a_border():
    """A board that stands in light from +x throws a shadow as long as it is high, and as wide."""
    y, z = torch.meshgrid(torch.linspace(-0.3, 0.3, 60), torch.linspace(0, 0.5, 60), indexing="ij")
    board = torch.stack([torch.zeros_like(y), y, z], -1).reshape(1, -1, 3)
    toward = torch.tensor([[math.sqrt(0.5), 0.0, math.sqrt(0.5)]])
    even = torch.zeros(1, 9, 3)
    dark = _shadow(board, torch.tensor([[1.0]]), even, toward, torch.ones(1))[0]
    assert set(dark.unique().tolist()) == {0.0, 1.0}  # there is no other light
    rows, columns = dark.nonzero(as_tuple=True)
    # Half a metre is 16 cells: from x = 0 (column 32) to -0.5 (16), and y within 0.3 (9.6 cells).
    assert abs(int(columns.min()) - 15) <= 1 and abs(int(columns.max()) - 32) <= 1
    assert abs(int(rows.min()) - 22) <= 1 and abs(int(rows.max()) - 41) <= 1
    even[:, 0] = math.sqrt(4 * math.pi)  # as much from everywhere as falls on the table: pi
    half = _shadow(board, torch.tensor([[1.0]]), even, toward, torch.full((1,), math.pi * 2**0.5))
    assert 0.4 < float(half[0, 32, 20]) < 0.65
