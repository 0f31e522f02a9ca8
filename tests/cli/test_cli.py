"""The command line: what it prints, what it writes, and how it fails."""

import importlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import torus_scene, write_run

from invgraph.cli import COMMANDS, GROUPS, main
from invgraph.cli.budget import parse_budget
from invgraph.report import film
from invgraph.report.viewpoints import cameras_of_run, orbit
from invgraph.runs.folder import check_out
from invgraph.runs.reader import read_cameras
from invgraph.scene import Scene

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "torus", size=16)


@pytest.fixture
def fit_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Replace the fit by one that only remembers its arguments."""
    calls: list[tuple] = []
    metrics = {"psnr_mask_db": 31.234, "skipped": ["b.png: it is torn", "c.png: it is absent"]}
    result = SimpleNamespace(metrics=metrics, report=Path("there/report.html"))

    def fit(
        capture: Path, out: Path, settings: object, resume: bool, began: float
    ) -> SimpleNamespace:
        assert 0 <= time.monotonic() - began < 60
        calls.append((capture, out, settings, resume))
        return result

    monkeypatch.setattr(importlib.import_module("invgraph.fitting.fit"), "fit", fit)
    return calls


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 M ", 120)]
)
def test_budgets(text: str, seconds: int) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "0s", "10m5s", "1e3s", "nan s", "٣m x"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a time such as 90s, 10m or 1\.5h"):
        parse_budget(text)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for command in ("fit", "render", "report", "view", "data", "eval"):
        assert f"\n    {command} " in text and f"invgraph {command} " in text


@pytest.mark.parametrize("command", ["fit", "render", "report", "view"])
def test_help_of_a_command_teaches_by_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: invgraph {command}" in text
    assert f"\n    invgraph {command} " in text


def test_mistakes_are_one_line_and_exit_code_2(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (
            ["fitt"],
            "expected one of fit, odometry, render, report, view, data, train, infer, eval but got "
            "'fitt'",
        ),
        (["report", str(tmp_path / "absent")], "is not a folder"),
        (["render", str(tmp_path), "--out", "a.png"], "scene.json does not exist"),
        (["render", str(run), "--out", "a.jpg"], "ends in .png for --out but got a.jpg"),
        (["render", str(run), "--out", "a.png", "--views", "0"], "at least 1 view"),
        (["render", str(run), "--out", str(tmp_path / "file" / "a.png"), "--size", "8"], "file"),
        (["fit", "capture", "--budget", "soon"], "expected a time such as 90s"),
    ):
        assert main(arguments) == 2, arguments
        captured = capsys.readouterr()
        assert words in captured.err and captured.err.startswith("invgraph: ")
        assert captured.err.count("\n") == 1 and "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["fitt"], "fit"), (["odomtry"], "odometry"), (["train", "scenes"], "scene")],
)
def test_a_mistyped_command_gets_a_suggestion(
    words: list[str], meant: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(words) == 2
    assert f"; did you mean {meant}?" in capsys.readouterr().err


def test_a_command_like_no_other_gets_none(capsys: pytest.CaptureFixture) -> None:
    assert main(["zzz"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"invgraph {importlib.metadata.version('invgraph')}\n"


def test_no_help_speaks_of_none(capsys: pytest.CaptureFixture) -> None:
    commands = [[name] for name in COMMANDS]
    for group, (module, _) in GROUPS.items():
        commands += [[group, name] for name in importlib.import_module(module).COMMANDS]
    for command in commands:
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        assert "None" not in capsys.readouterr().out, command


def test_unknown_options_exit_with_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "capture", "--no-such-option"])
    assert stop.value.code == 2


def test_fit_passes_its_options_on_and_prints_the_result(
    fit_calls: list[tuple], capsys: pytest.CaptureFixture
) -> None:
    assert main(["fit", "photos", "--out", "there", "--budget", "90s", "--seed", "7"]) == 0
    [(capture, out, settings, resume)] = fit_calls
    assert (capture, out, resume) == (Path("photos"), Path("there"), False)
    assert (settings.budget_s, settings.seed) == (90.0, 7)
    said = capsys.readouterr()
    assert "PSNR inside the mask     31.23 dB\n" in said.out and "there/report.html" in said.out
    assert said.err.startswith("invgraph: reading photos\n")
    assert "2 photos were left out, first b.png: it is torn; there/metrics.json" in said.err


def test_fit_names_the_run_after_the_capture(
    fit_calls: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vase").mkdir()
    monkeypatch.chdir(tmp_path / "vase")
    assert main(["fit", ".", "--resume"]) == 0
    assert fit_calls[0][1] == Path("runs/vase") and fit_calls[0][3] is True


def test_ctrl_c_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("invgraph.fitting.fit"), "fit", interrupted)
    assert main(["fit", "my photos", "--out", "r"]) == 130
    assert "go on with: invgraph fit 'my photos' --out r --resume\n" in capsys.readouterr().err
    given = ["--budget", "90s", "--seed", "3", "--resume"]
    assert main(["fit", "a", *given]) == 130
    said = capsys.readouterr().err
    assert "go on with: invgraph fit a --budget 90s --seed 3 --resume\n" in said
    monkeypatch.setattr(importlib.import_module("invgraph.cli.report"), "report", interrupted)
    assert main(["report"]) == 130


def test_report_prints_the_page(
    run: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "VIEWS", 4)
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "report.html").stat().st_size > 10_000


def test_render_writes_numbered_pictures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "new" / "orbit.png"
    assert main(["render", str(run), "--out", str(out), "--views", "2", "--size", "48"]) == 0
    names = [tmp_path / "new" / f"orbit_00{index}.png" for index in range(2)]
    assert capsys.readouterr().out.split() == [str(name) for name in names]
    for name in names:
        with Image.open(name) as image:
            pixels = np.asarray(image).astype(int)
        assert pixels.shape == (48, 48, 3)
        assert pixels[0].max() == 0
        # Seen from above, the torus is green on top and red below.
        rows = np.flatnonzero(pixels.max((1, 2)))
        top, bottom = pixels[rows[0] + 2].sum(0), pixels[rows[-1] - 2].sum(0)
        assert top[1] > top[0] and bottom[0] > bottom[1]
    assert main(["render", str(run), "--out", str(tmp_path / "p.png"), "--cameras", "test"]) == 0
    assert len(list(tmp_path.glob("p_*.png"))) == 3


def test_orbit_frames_the_object(run: Path) -> None:
    scene = torus_scene()
    for poses in ([], read_cameras(run)):
        for camera in orbit(scene, 5, 100, poses):
            pixels, depth = camera.project(scene.objects[0].mesh.vertices)
            assert bool((depth > 0).all())
            assert float(pixels.min()) > 0 and float(pixels.max()) < 100
            spread = float((pixels.amax(0) - pixels.amin(0)).max())
            assert spread > 75


def test_orbit_starts_where_the_first_photo_was_taken(run: Path) -> None:
    poses = read_cameras(run)
    first = orbit(torus_scene(), 4, 64, poses)[0].centre.numpy()
    turn = [np.arctan2(p[1], p[0]) for p in (first, poses[0].centre)]
    assert turn[0] == pytest.approx(turn[1], abs=0.05)


def test_nothing_to_look_at(tmp_path: Path) -> None:
    empty = Scene(objects=(), lights=(), background=torch.zeros(3))
    with pytest.raises(ValueError, match="no vertices to look at"):
        orbit(empty, 1, 8, [])
    with pytest.raises(ValueError, match="holds no test cameras"):
        cameras_of_run(tmp_path, "test")


def test_cameras_of_a_run_are_those_of_its_photos(run: Path) -> None:
    cameras = cameras_of_run(run, "test")
    poses = [pose for pose in read_cameras(run) if pose.split == "test"]
    assert len(cameras) == len(poses) == 3
    for camera, pose in zip(cameras, poses, strict=True):
        np.testing.assert_allclose(camera.centre.numpy(), pose.centre, atol=1e-5)
        assert (camera.height, camera.width, camera.focal.tolist()) == (96, 96, [120.0, 120.0])


def test_cameras_of_a_run_keep_the_distortion_of_their_lens(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", frames=2)
    content = json.loads((run / "cameras.json").read_text())
    bent = {"distortion": [0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.35, 0.1], "model": "rational"}
    content["frames"] = [entry | bent for entry in content["frames"]]
    (run / "cameras.json").write_text(json.dumps(content))
    [camera, *_] = cameras_of_run(run, "test")
    # r² is .3725 there, so the factor is 1.11175 / 1.0537334: 48 + 120 * .5 * 1.055057.
    pixel = camera.lens.project(torch.tensor([[0.5, 0.35, 1.0]]))[0][0].tolist()
    assert pixel == pytest.approx([111.3034, 92.3124], abs=1e-3)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5])
def test_ctrl_c_while_it_starts_is_one_line(tmp_path: Path, seconds: float) -> None:
    command = [sys.executable, "-m", "invgraph.cli", "fit", str(tmp_path), "--out", "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"invgraph: reading {tmp_path}\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert "Traceback" not in said
    # The folder is empty, which a machine that got there first says; the signal then ends Python.
    assert process.returncode in (130, 2, -signal.SIGINT) and said.count("invgraph: ") == 1


def stops(folder: Path, module: str) -> None:
    """A module as the command ``fit``, which sends Ctrl-C to itself, ends as it should."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); from invgraph import cli; "
        f"cli.COMMANDS['fit'] = {module!r}; sys.argv = ['invgraph', 'fit']; cli.program()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 130 and not done.stdout
    assert done.stderr == "\ninvgraph: stopped; go on with: invgraph fit --resume\n"


def test_ctrl_c_during_an_import_raises_nothing(tmp_path: Path) -> None:
    """Libraries in C++ are known to abort where an exception passes them; this one swallows it."""
    (tmp_path / "starts_slowly.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"
    )
    stops(tmp_path, "starts_slowly")


def test_ctrl_c_that_something_swallows_is_raised_again(tmp_path: Path) -> None:
    """As in a callback of a library in C, whose exceptions Python drops."""
    (tmp_path / "swallows.py").write_text(
        "import os, signal, time\n"
        "def fit():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n        pass\n"
        "    time.sleep(20)\n    print('went on')\n"
    )
    stops(tmp_path, "swallows")


def test_names_that_are_no_utf_8_are_refused_at_once(tmp_path, monkeypatch, capsys) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    assert main(["fit", folder]) == 2
    monkeypatch.chdir(folder)
    assert main(["fit", "."]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("caf\\udce9' is a name in another encoding than UTF-8" in line for line in said)
    with pytest.raises(ValueError, match="another encoding than UTF-8; choose another --out"):
        check_out(Path(folder), False)


def test_ctrl_c_while_it_ends_is_no_traceback() -> None:
    """Something that Python does after the last line takes its time."""
    code = (
        "import atexit, sys, time; from invgraph.cli import program; "
        "atexit.register(time.sleep, 20); sys.argv = ['invgraph', 'nonsense']; program()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("invgraph: expected one of")
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""
    assert process.returncode == -signal.SIGINT


@pytest.mark.slow
def test_help_starts_quickly() -> None:
    """The limit leaves room for a busy machine; the time is printed by `pytest --durations`."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "invgraph.cli", "--help"], capture_output=True)
    assert done.returncode == 0 and b"invgraph fit" in done.stdout
    assert time.perf_counter() - start < 10
