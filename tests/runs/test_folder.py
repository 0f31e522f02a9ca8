"""The run folder: its facts, its lock, and what a kill leaves."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from capture_files import write_image

from invgraph.data import Capture, read_capture
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.runs.facts import KINDS, RunFacts, identity
from invgraph.runs.folder import RunFolder, file_stem
from invgraph.runs.reader import finite, read_cameras, read_run

FACTS = RunFacts("object", "chair", "c4a1", {"photos": 12}, {"budget_s": 60.0, "seed": 3})


@pytest.fixture
def folder(tmp_path: Path):
    with RunFolder(tmp_path / "run", FACTS) as folder:
        yield folder


def begun(path: Path, facts: RunFacts = FACTS) -> Path:
    """A run that has left a file."""
    with RunFolder(path, facts) as folder:
        folder.log(step=1)
    return path


def test_the_facts_of_a_run_are_in_one_file(tmp_path: Path):
    run = begun(tmp_path / "run")
    longer = replace(FACTS, settings={"budget_s": 90.0, "seed": 3})
    with RunFolder(run, longer, resume=True):
        pass
    stored = json.loads((run / "run.json").read_text())
    assert stored["kind"] == "object" and stored["name"] == "chair"
    assert stored["read"] == {"photos": 12}
    assert stored["settings"] == {"budget_s": 60.0, "seed": 3}
    first, second = stored["sessions"]
    assert [each["settings"]["budget_s"] for each in (first, second)] == [60.0, 90.0]
    assert first["command"] == sys.orig_argv
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", second["began"])
    assert first["versions"]["torch"] == torch.__version__
    assert {"python", "invgraph", "numba", "numpy"} <= first["versions"].keys()
    assert first["machine"]["cores"] == os.cpu_count() and first["machine"]["processor"]


def test_a_run_in_a_checkout_knows_its_commit(folder: RunFolder):
    commit = json.loads((folder.path / "run.json").read_text())["sessions"][0]["commit"]
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        assert commit is None
        return
    head = ["git", "-C", str(root), "rev-parse", "HEAD"]
    assert commit.split()[0] == subprocess.run(head, capture_output=True, text=True).stdout.strip()


def test_another_folder_is_never_mixed_with_a_run(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"is not empty and holds no run; choose another --out"):
        RunFolder(tmp_path, FACTS)
    with pytest.raises(ValueError, match=r"holds no run\.json: it is no run, or one that an older"):
        RunFolder(tmp_path, FACTS, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_is_not_begun_twice_unless_resumed(tmp_path: Path):
    run = begun(tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds a run; continue it by --resume"):
        RunFolder(run, FACTS)
    with RunFolder(run, FACTS, resume=True):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "place"}, "is a run of kind object on chair, not of kind place on chair"),
        (
            {"identity": "other"},
            "is a run on another chair: files of that name, but with other con",
        ),
        ({"name": "table"}, "is a run of kind object on chair, not of kind object on table"),
    ],
)
def test_a_run_goes_on_only_as_what_it_is(tmp_path: Path, change: dict, message: str):
    run = begun(tmp_path / "run")
    with pytest.raises(ValueError, match=message + ".* choose another --out"):
        RunFolder(run, replace(FACTS, **change), resume=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"run\.json is damaged"),
        ("[]", r"run\.json is damaged"),
        ("[" * 100_000, r"run\.json is damaged"),
        ('{"format": "invgraph run", "version": 1}', r"run\.json is damaged"),
        (
            '{"format": "invgraph run", "version": 1, "kind": "x", "name": "", "identity": "", '
            '"sessions": []}',
            r"run\.json is damaged \(no facts of a run\)",
        ),
        (
            '{"format": "invgraph run", "version": true, "kind": "pose", "name": "", '
            '"identity": "", "sessions": []}',
            r"run\.json is damaged \(no facts of a run\)",
        ),
        (
            '{"format": "invgraph run", "version": 2, "kind": "x", "name": "", "identity": "", '
            '"sessions": []}',
            "is of version 2 but this reads 1; use the invgraph that wrote it",
        ),
    ],
)
def test_a_damaged_or_other_run_is_refused(tmp_path: Path, text: str, message: str):
    run = begun(tmp_path / "run")
    (run / "run.json").write_text(text)
    for read in (lambda: RunFolder(run, FACTS, resume=True), lambda: read_run(run)):
        with pytest.raises(ValueError, match=message):
            read()
    assert (run / "run.json").read_text() == text


def test_a_run_of_an_older_version_is_refused_with_a_remedy(tmp_path: Path):
    (tmp_path / "renders").mkdir()
    (tmp_path / "metrics.json").write_text("{}")
    for read in (lambda: RunFolder(tmp_path, FACTS, resume=True), lambda: read_run(tmp_path)):
        with pytest.raises(ValueError, match=r"an older version left.*start the run again"):
            read()


def test_what_a_kill_left_before_the_run_had_begun_is_no_obstacle(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / ".run.json.0a1b2c3d.part").write_text("{")
    with RunFolder(run, FACTS) as folder:
        folder.log(step=1)
    assert not list(run.glob(".*.part"))


def test_the_same_work_is_told_from_other_work(tmp_path: Path):
    def photos(name: str, color: int) -> Capture:
        for index in range(2):
            write_image(tmp_path / name / "in" / f"{index}.png", (color + 90 * index, 0, 99))
        return read_capture(tmp_path / name / "in")

    first, same = photos("a", 10), photos("a", 10)
    before = identity([first], 1.0)
    assert before == identity([same], 1.0) != identity([first], 2.0)
    # Other contents of the same name and size, another mask, another pose, another lens.
    frame = first.frames[1]
    data = bytearray(frame.image_path.read_bytes())
    data[len(data) // 2] ^= 1
    frame.image_path.write_bytes(data)
    assert identity([first], 1.0) != before
    seen = Camera(Lens(torch.ones(2), torch.ones(2), 12, 16), torch.eye(4))
    moved = replace(seen, camera_from_world=2 * torch.eye(4))
    longer = seen.with_lens(focal=2 * torch.ones(2))
    masks = [tmp_path / "dark.png", tmp_path / "light.png"]
    for path, level in zip(masks, (0, 255), strict=True):
        write_image(path, level)
    changes = [{"camera": camera} for camera in (seen, moved, longer)]
    changes += [{"mask_path": path, "mask_source": "file"} for path in masks]
    others = {
        identity([replace(same, frames=(replace(same.frames[0], **change),))])
        for change in ({}, *changes)
    }
    assert len(others) == 6


def test_of_large_files_both_ends_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("invgraph.runs.facts._END", 4)
    for index in range(2):
        write_image(tmp_path / "in" / f"{index}.png", (10, 20, 30))
    capture = read_capture(tmp_path / "in")
    path = capture.frames[0].image_path
    data = path.read_bytes()
    before = identity([capture])
    for place, told in ((0, True), (len(data) // 2, False), (-1, True)):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert (identity([capture]) != before) == told


def test_a_refused_resume_changes_nothing_and_says_which_setting(tmp_path: Path):
    run = begun(tmp_path / "run")
    before = (run / "run.json").read_bytes()
    other = replace(FACTS, identity="other", settings={"budget_s": 60.0, "seed": 4})
    with pytest.raises(ValueError, match=r"change what is found \(other settings: seed\); resume"):
        RunFolder(run, other, resume=True)
    assert (run / "run.json").read_bytes() == before


def test_a_finished_run_that_goes_on_is_no_longer_complete(tmp_path: Path):
    run = begun(tmp_path / "run")
    with RunFolder(run, FACTS, resume=True) as folder:
        folder.write_json("metrics.json", {"complete": True})
    with RunFolder(run, FACTS, resume=True) as folder:
        assert len(json.loads((run / "run.json").read_text())["sessions"]) == 2
        folder.reopen()
        assert folder.finished() is None
    assert len(json.loads((run / "run.json").read_text())["sessions"]) == 3


def test_a_file_is_no_folder(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(ValueError, match="is a file but a run needs a folder"):
        RunFolder(path, FACTS)


def test_one_writer_at_a_time(folder: RunFolder):
    folder.log(step=1)
    with pytest.raises(ValueError, match="is being written by another process; wait for it"):
        RunFolder(folder.path, FACTS, resume=True)
    assert len(json.loads((folder.path / "run.json").read_text())["sessions"]) == 1


HOLD = """
import sys, time
from pathlib import Path
from invgraph.runs.facts import RunFacts
from invgraph.runs.folder import RunFolder
folder = RunFolder(Path(sys.argv[1]), RunFacts("object", "chair", "c4a1"))
folder.log(step=1)
(folder.path / ".scene.glb.0a1b2c3d.part").write_bytes(b"half")
(folder.path / "renders" / ".a.png.0a1b2c3d.part").write_bytes(b"half")
print("there", flush=True)
time.sleep(60)
"""


def test_a_kill_frees_the_folder_and_its_half_files_go(tmp_path: Path):
    run = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        with pytest.raises(ValueError, match="is being written by another process"):
            RunFolder(run, FACTS, resume=True)
        assert list(run.rglob("*.part"))
        os.kill(process.pid, signal.SIGKILL)
    with RunFolder(run, FACTS, resume=True):
        assert not list(run.rglob("*.part"))
        assert (run / "log.csv").read_text() == "step\n1\n"


def test_a_run_that_came_to_nothing_leaves_nothing(tmp_path: Path):
    run = tmp_path / "run"
    with pytest.raises(RuntimeError), RunFolder(run, FACTS):
        raise RuntimeError
    assert not run.exists()
    begun(run)
    with RunFolder(run, FACTS, resume=True):
        pass
    assert run.exists()


def test_a_run_is_finished_when_its_metrics_say_so(folder: RunFolder):
    assert folder.finished() is None
    folder.write_json("metrics.json", {"complete": False})
    assert folder.finished() is None
    folder.write_json("metrics.json", {"complete": True, "a": 1})
    assert folder.finished() == {"complete": True, "a": 1}
    more = ('{"complete": 1}', '{"complete": true, "skipped": 3}', '{"complete": true, "a": NaN}')
    for damage in ("{", "[]", "{}", "[" * 100_000, *more):
        folder.write("metrics.json", damage.encode())
        with pytest.raises(ValueError, match=r"metrics\.json is damaged.*delete it to score anew"):
            folder.finished()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_can_be_read_from_its_first_moment(tmp_path: Path, kind):
    run = begun(tmp_path / "run", replace(FACTS, kind=kind))
    found = read_run(run)
    assert found.kind == kind and any("metrics.json" in line for line in found.missing)


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch):
    folder.write_json("metrics.json", {"a": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_json("metrics.json", {"a": 2})
    assert json.loads((folder.path / "metrics.json").read_text()) == {"a": 1}
    assert [p.name for p in folder.path.glob("*.part")] == []


def test_state_comes_back_exactly(folder):
    assert folder.load_state() is None
    tensors = {"x": torch.randn(3, 2), "faces": torch.arange(6, dtype=torch.int32).reshape(2, 3)}
    folder.save_state(tensors, {"step": 7})
    state = folder.load_state()
    assert state is not None
    back, facts = state
    assert facts == {"step": 7} and back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_damaged_state_is_named(folder):
    (folder.path / "checkpoint.safetensors").write_bytes(b"\x80\x04nonsense")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is damaged"):
        folder.load_state()


def test_a_row_that_a_kill_cut_off_does_not_spoil_the_next(tmp_path: Path):
    with RunFolder(tmp_path, FACTS) as first:
        first.log(seconds=1.0, loss=0.5)
    with (tmp_path / "log.csv").open("a") as file:
        file.write("2.0")
    with RunFolder(tmp_path, FACTS, resume=True) as again:
        again.log(seconds=3.0, loss=0.25)
        again.log(seconds=4.0, loss=0.125)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines == ["seconds,loss", "1.0,0.5", "3.0,0.25", "4.0,0.125"]


def test_log_rows_are_appended(folder):
    for step in range(2):
        folder.log(step=step, seconds=0.5, stage="shape", loss=1.0, psnr_db=20.0, vertices=4)
    lines = (folder.path / "log.csv").read_text().splitlines()
    assert lines[0] == "step,seconds,stage,loss,psnr_db,vertices" and len(lines) == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "<img src=x>", "a b/c\n.png", "ünï.jpg"])
def test_file_stems_are_harmless(name):
    stem = file_stem(3, name)
    assert stem.startswith("0003_") and all(c.isalnum() or c == "_" for c in stem)
    assert stem.isascii()


def test_cameras_of_a_run_keep_their_distortion_and_damaged_ones_are_told(tmp_path: Path):
    focal, principal = torch.tensor([70.0, 70.0]), torch.tensor([40.0, 30.0])
    bent = torch.tensor([0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.35, 0.1])
    camera = Camera(Lens(focal, principal, 60, 80, bent, "rational"), torch.eye(4))
    with RunFolder(tmp_path / "run", FACTS) as run:
        run.write_cameras([(name, "test", camera) for name in "abcdefgh"])
        run.log(seconds=1.0)
    [first, *_] = read_cameras(tmp_path / "run")
    # r² is .3725 there, so the factor is 1.11175 / 1.0537334.
    pixel = first.camera.project(torch.tensor([[0.5, 0.35, 1.0]], dtype=torch.float64))[0][0]
    assert pixel.tolist() == pytest.approx([76.927, 55.849], abs=1e-3)
    file = tmp_path / "run/cameras.json"
    content = json.loads(file.read_text())
    wrong = [("focal", [1e30, 70]), ("focal", [-70, 70]), ("principal", [float("nan"), 30])]
    wrong += [("height", 1e300), ("distortion", [1e300] * 8), ("focal", [10**400, 70])]
    for entry, (key, value) in zip(content["frames"], wrong, strict=False):
        entry[key] = value
    content["frames"][6]["camera_from_world"][0][3] = 1e30
    file.write_text(json.dumps(content))
    assert [camera.name for camera in read_cameras(tmp_path / "run")] == ["h"]
    told = read_run(tmp_path / "run").missing
    assert "cameras.json (the camera positions): 7 of them are damaged" in told


def test_numbers_of_metrics_that_are_none(tmp_path: Path):
    assert finite(10**400) is None and finite("1e999") is None and finite(True) is None
    assert finite("2.5") == 2.5
