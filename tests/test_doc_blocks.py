"""Every code block of the README, the docs and the help is run, commands without their work.

What takes long has a stand-in with its parameters; pages whose block is tested for what it gives
are in `tests/test_docs.py`.
"""

import functools
import importlib
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import write_run
from tracking_scenes import painted_cube

from invgraph.cli import COMMANDS, EXAMPLES, GROUPS, main
from invgraph.data.object_pose_files import PoseRow, write_rows
from invgraph.data.trajectory_files import Trajectory
from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.object_prior import object_prior
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.geometry.primitives import cube
from invgraph.scene.belief import PoseBelief
from invgraph.scene.mesh_files import save_mesh

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TESTED_ELSEWHERE = {"README.md", "conventions.md", "getting-started.md"}


class Block(NamedTuple):
    page: str
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    found = re.findall(r"^```(.*)\n([\s\S]*?)^```$", page.read_text(), re.MULTILINE)
    return [Block(page.name, language, text) for language, text in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def help_lines() -> list[str]:
    """The examples of all commands' docstrings and of the help of all."""
    texts = [EXAMPLES]
    for name, module in COMMANDS.items():
        texts.append(getattr(importlib.import_module(module), name).__doc__ or "")
    for module, _ in GROUPS.values():
        commands = importlib.import_module(module).COMMANDS.values()
        texts += [command.__doc__ or "" for command in commands]
    return [line for text in texts for line in re.findall(r"^ {4,}(invgraph .*)$", text, re.M)]


LINES = sorted(
    {
        *(line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()),
        *help_lines(),
    }
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_say_their_language(page: Path) -> None:
    assert {block.language for block in blocks_of(page)} <= {"sh", "python", "json"}
    text = re.sub(r"^```[\s\S]*?^```$", "", page.read_text(), flags=re.MULTILINE)
    assert not re.findall(r"\n\n {4}\S.*", text), "an indented block; fence it"


def test_json_is_json() -> None:
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.text)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which commands were called; none does anything."""
    names: list[str] = []

    def idle(name: str, command: Callable) -> Callable:
        @functools.wraps(command)
        def instead(*_: object, **__: object) -> None:
            names.append(name)

        return instead

    for name, path in COMMANDS.items():
        module = importlib.import_module(path)
        monkeypatch.setattr(module, name, idle(name, getattr(module, name)))
    for group, (path, _) in GROUPS.items():
        commands = importlib.import_module(path).COMMANDS
        for name, command in list(commands.items()):
            monkeypatch.setitem(commands, name, idle(f"{group} {name}", command))
    return names


@pytest.mark.parametrize("line", LINES)
def test_commands_are_understood(line: str, called: list[str]) -> None:
    program, *words = shlex.split(line, comments=True)
    if program == "invgraph":
        assert main(words) == 0
        assert called == [" ".join(words[: 2 if words[0] in GROUPS else 1])]
    elif program == "torchrun":
        assert main(words[words.index("invgraph.cli") + 1 :]) == 0 and called
    elif program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
    else:
        assert (program, words[0]) == ("pip", "install")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
            assert extra in project["optional-dependencies"]


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, name: str, result: Any) -> None:
    """In place of a function; it takes what the function takes, and gives the result."""
    original = getattr(importlib.import_module(module), name)

    @functools.wraps(original)
    def instead(*args: object, **kwargs: object) -> Any:
        inspect.signature(original).bind(*args, **kwargs)
        return result

    monkeypatch.setattr(importlib.import_module(module), name, instead)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two photos and their lens, where examples are run."""
    folder = tmp_path / "my_photos"
    folder.mkdir()
    levels = np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3), np.uint8)
    for index, image in enumerate(levels):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "cam.json").write_text(json.dumps({"fx": 60, "fy": 60, "cx": 32, "cy": 24}))
    monkeypatch.chdir(tmp_path)
    return folder


def run_example(page: str) -> dict[str, Any]:
    [code] = [b.text for b in BLOCKS if b.page == page and b.language == "python"]
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_all_examples_in_python_are_run() -> None:
    here = {"captures.md", "odometry.md", "scenes.md", "tracking.md"}
    assert {b.page for b in BLOCKS if b.language == "python"} == here | TESTED_ELSEWHERE


def test_the_example_of_photos_without_cameras(photos: Path, monkeypatch) -> None:
    stand_in(monkeypatch, "invgraph.fitting.cameras", "recover_cameras", "a capture")
    stand_in(monkeypatch, "invgraph.fitting.cameras", "recovered_quality", "its quality")
    assert run_example("captures.md")["capture"] == "a capture"


def test_the_example_of_odometry(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poses = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    trajectory = Trajectory(poses, torch.tensor([0.0, 1.0], dtype=torch.float64))
    motion = SimpleNamespace(trajectory=trajectory)
    stand_in(monkeypatch, "invgraph.fitting.motion", "estimate_motion", motion)
    photos.rename("my_drive")
    run_example("odometry.md")
    assert Path("my_drive.txt").read_text().count("\n") == 3


def test_the_example_of_scenes(photos: Path) -> None:
    torch.manual_seed(0)
    known = object_prior(painted_cube())
    model = SceneModel.of(
        SceneEncoder(known.prior, 16).eval(), Finder().eval(), known, {"steps": 0}
    )
    Path("runs/scene_mug").mkdir(parents=True)
    model.save(Path("runs/scene_mug/model.safetensors"))
    assert 0 <= run_example("scenes.md")["found"].score <= 1


def test_the_example_of_tracking(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_mesh(cube(), "mug.glb")
    belief = PoseBelief(torch.eye(4)[None], torch.ones(1), torch.eye(6)[None], 0.9, True)
    run = write_run(photos.parent / "runs" / "my_photos", size=8)
    write_rows(run / "poses.csv", [PoseRow.of("0", belief, 0.1)])
    stand_in(monkeypatch, "invgraph.fitting.pose", "estimate_pose", belief)
    stand_in(monkeypatch, "invgraph.fitting.pose", "track", [])
    assert [row.frame for row in run_example("tracking.md")["rows"]] == ["0"]
