"""Learning scenes from dreams: it beats chance in seconds, and a kill loses nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh
from tracking_scenes import painted_cube
from trainings import stopped_after

from invgraph.cli import main
from invgraph.files.tensors import read_tensors
from invgraph.fitting.scene.object_prior import (
    LIGHT,
    POSE,
    object_prior,
    prior_of,
    with_shadows,
)
from invgraph.fitting.scene.scene_model import load_scene_model
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh
from invgraph.rendering.render import render
from invgraph.scene.distributions import AnyRotation, Gaussian, Upright
from invgraph.train.dreams import ABSENT, clutter, dream, photograph, pieces
from invgraph.train.scene_module import SceneTraining
from invgraph.train.settings import SceneSettings
from invgraph.train.sleep import Sleep
from invgraph.train.train_scene import train_scene

LENS = Lens(torch.full((2,), 110.0), torch.full((2,), 32.0), 64, 64)
SMALL = SceneSettings(batch=32, steps=4, hypotheses=32)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube whose sides have colours, as a file."""
    model = painted_cube()
    assert model.albedo is not None
    path = tmp_path_factory.mktemp("mesh") / "cube.ply"
    colors = (255 * model.albedo ** (1 / 2.2)).round().byte().numpy()
    trimesh.Trimesh(
        model.mesh.vertices.numpy(), model.mesh.faces.numpy(), vertex_colors=colors, process=False
    ).export(path)
    return path


@pytest.fixture(autouse=True)
def _few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invgraph.train.train_scene._SCORED", 64)


def weights(out: Path) -> dict[str, torch.Tensor]:
    stored = read_tensors(out / "model.safetensors", "")
    assert stored is not None
    return stored[0]


def test_pieces_come_from_the_other_images():
    images = torch.arange(1, 21).float()[:, None, None, None].expand(20, 3, 32, 32)
    mixed = pieces(images, torch.Generator().manual_seed(0))
    assert bool(torch.isin(mixed, images).all()) and bool((mixed == mixed[:, :1]).all())
    kept = (mixed == images).float().mean((1, 2, 3))
    assert 0.4 < float(kept.mean()) < 0.95 and float(kept.min()) < 0.8


def test_light_comes_from_above_where_up_is_known():
    """Of upright objects the camera sees light from above itself and a little from behind."""
    for rotation, known in ((Upright((0.5, 0.7)), True), (AnyRotation(), False)):
        light = object_prior(painted_cube(), rotation).prior.distributions[LIGHT]
        assert isinstance(light, Gaussian)
        first = light.mean[1:4].mean(-1)[[2, 0, 1]]
        if known:
            assert float(first[0]) == 0 and float(first[1] / first[2]) > 1 > 0 > float(first[1])
        else:
            assert float(first.abs().max()) == 0


def test_objects_of_dreams_shadow_themselves():
    """In a notch between two boxes it is darker than in the open, and nowhere brighter."""
    boxes = [trimesh.creation.box((0.1, 0.04, 0.04)), trimesh.creation.box((0.04, 0.04, 0.2))]
    boxes[0].apply_translation((0.07, 0, 0))
    parts = [box.subdivide().subdivide() for box in boxes]
    vertices = torch.cat([torch.tensor(part.vertices).float() for part in parts])
    faces = [torch.tensor(part.faces).int() for part in parts]
    mesh = Mesh(vertices, torch.cat([faces[0], faces[1] + len(parts[0].vertices)]))
    prior = prior_of(mesh, torch.full((len(vertices), 3), 0.5), Upright())
    values = prior.given(LENS).sample(8, torch.Generator().manual_seed(0))
    values[LIGHT] = torch.zeros(8, 9, 3)
    values[LIGHT][:, 0] = 3.5
    camera = Camera(LENS, torch.eye(4))
    dark, open_ = (
        render(each.scene(values), camera, outputs=("color",)).color
        for each in (with_shadows(prior), prior)
    )
    assert dark is not None and open_ is not None
    assert float((dark - open_).max()) < 0.01 * float(open_.max())
    assert float((dark / open_.clamp_min(1e-6))[open_ > 0.1].min()) < 0.8


def test_dreams_show_what_they_say():
    known = object_prior(painted_cube())
    dreams = dream(with_shadows(known.prior), 200, 64, torch.Generator().manual_seed(0))
    assert dreams.images.shape == (200, 3, 64, 64)
    assert float(dreams.images.min()) >= 0 and float(dreams.images.max()) <= 1
    assert 1 - 3 * ABSENT < float(dreams.present.float().mean()) < 1
    given = known.prior.given(dreams.lens)
    assert given.log_prob(dreams.values).isfinite().float().mean() > 0.98
    # What is seen goes with a render of its own causes, not with one of others'.
    camera = Camera(dreams.lens, torch.eye(4).expand(200, 4, 4))
    drawn = render(given.scene(dreams.values), camera, outputs=("color", "alpha"))
    assert drawn.color is not None and drawn.alpha is not None
    mask = (drawn.alpha == 1) & dreams.present[:, None, None]
    grey = dreams.images.mean(1)
    own = correlation(grey, drawn.color.mean(-1), mask)[dreams.present]
    other = correlation(grey, drawn.color.mean(-1).roll(1, 0), mask)[dreams.present]
    assert float(own.median()) > 0.8 and float(other.median()) < 0.5


def test_what_lies_any_way_up_is_dreamt_too():
    known = object_prior(painted_cube(), AnyRotation())
    dreams = dream(with_shadows(known.prior), 40, 64, torch.Generator().manual_seed(0))
    assert float(dreams.present.float().mean()) > 0.6
    assert bool(dreams.images.isfinite().all()) and float(dreams.images.std()) > 0.1


def correlation(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of two batches of images within masks."""
    count = mask.sum((1, 2)).clamp_min(1)
    parts = []
    for image in (a, b):
        mean = (image * mask).sum((1, 2)) / count
        parts.append((image - mean[:, None, None]) * mask)
    products = [(x * y).sum((1, 2)) for x, y in ((parts[0], parts[1]), *((p, p) for p in parts))]
    return products[0] / (products[1] * products[2]).sqrt().clamp_min(1e-9)


def test_the_same_numbers_dream_the_same():
    module = SceneTraining(SMALL, object_prior(painted_cube()))
    numbers = Sleep.collate([Sleep()[n] for n in range(8)])
    assert torch.equal(module.dreams(numbers).images, module.dreams(numbers).images)
    other = module.dreams(numbers + 8)
    assert not torch.equal(module.dreams(numbers).images, other.images)
    held = Sleep.held_out(8)
    assert len(held) == 8 and int(held[0]["number"]) > 1 << 40


def test_backgrounds_and_cameras_vary():
    generator = torch.Generator().manual_seed(0)
    patches = clutter(50, 64, generator)
    assert (patches >= 0).all() and float(patches.mean((1, 2, 3)).std()) > 0.05
    photos = photograph(torch.full((50, 3, 64, 64), 0.2), generator)
    levels = photos.mean((1, 2, 3))
    assert float(levels.std()) > 0.03 and 0.2 < float(levels.mean()) < 0.8


def test_a_few_seconds_of_dreams_beat_chance():
    torch.manual_seed(0)
    module = SceneTraining(replace(SMALL, steps=60), object_prior(painted_cube()))
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    held = module.dreams(Sleep.collate([Sleep.held_out(96)[n] for n in range(96)]))

    def surprise() -> float:
        with torch.no_grad():
            belief, _ = module.encoder(held.images, held.lens)
            log_prob = belief.marginal([POSE]).log_prob(held.values)
        return -float(log_prob[held.present].mean())

    chance = module.encoder.ignorance(held.lens, 96).marginal([POSE])
    before = -float(chance.log_prob(held.values)[held.present].mean())
    for step in range(60):
        numbers = Sleep.collate([Sleep()[n] for n in range(32 * step, 32 * step + 32)])
        optimizer.zero_grad()
        module.explain(numbers)["loss"].backward()
        optimizer.step()
    assert surprise() < before - 1.0  # nats


@pytest.mark.slow
def test_a_stopped_training_goes_on_where_it_was(mesh, tmp_path, monkeypatch):
    train_scene(mesh, tmp_path / "whole", SMALL, logger="none")
    with stopped_after(2, monkeypatch):
        train_scene(mesh, tmp_path / "cut", SMALL, logger="none")
    train_scene(mesh, tmp_path / "cut", SMALL, logger="none", resume=True)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    model = load_scene_model(tmp_path / "cut")
    assert model.facts["name"] == "cube" and model.facts["steps"] == 4
    assert list((tmp_path / "cut" / "renders").glob("preview_*.png"))


def test_another_object_does_not_go_on_with_a_training(mesh, tmp_path):
    train_scene(mesh, tmp_path / "run", SMALL, logger="none")
    other = tmp_path / "cube.ply"
    trimesh.creation.icosphere(3, 0.05).export(other)
    with pytest.raises(ValueError, match="run"):
        train_scene(other, tmp_path / "run", SMALL, logger="none", resume=True)


def test_a_disk_that_is_full_for_curves_is_told_with_the_run(mesh, tmp_path, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning.pytorch.loggers.TensorBoardLogger.log_metrics", full)
    run = tmp_path / "run"
    given = ["--object", str(mesh), "--steps", "2", "--batch", "8", "--out", str(run)]
    assert main(["train", "scene", *given]) == 2
    assert f"{run}: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--object", "nothing.obj"], "nothing.obj"),
        (["--object", "{mesh}", "--steps", "0"], "steps is 0"),
        (["--object", "{mesh}", "--object-scale", "-1"], "positive scale"),
        (["--object", "{mesh}", "--budget", "soon"], "soon"),
        (["--object", "{mesh}", "--wake"], "--wake learns from photos"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(mesh, tmp_path, capsys, arguments, message):
    given = [text.format(mesh=mesh) for text in arguments]
    code = main(["train", "scene", *given, "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert code == 2 and message in said.splitlines()[-1]
