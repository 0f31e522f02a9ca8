import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from invgraph.runs import progress as module
from invgraph.runs.progress import Meter, OutOfTime, Progress


class Kept:
    """A display that remembers."""

    def __init__(self) -> None:
        self.shown: list[tuple[float, str, str]] = []
        self.clocks: list[tuple[float, float]] = []
        self.notes: list[str] = []

    def show(self, share: float, stage: str, facts: str) -> None:
        self.shown.append((round(share, 6), stage, facts))

    def clock(self, seconds: float, spent: float) -> None:
        self.clocks.append((seconds, spent))

    def note(self, text: str) -> None:
        self.notes.append(text)


class Hands:
    """The hands of a clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def turn(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: hands.now))
    return hands


class Log:
    """What goes to standard error, which is no terminal."""

    def __init__(self, capsys: pytest.CaptureFixture) -> None:
        self._capsys, self._text = capsys, ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    def wait_for(self, words: str) -> None:
        """Until the meter's own thread has printed it."""
        until = time.monotonic() + 5
        while words not in self.text:
            assert time.monotonic() < until, self.text
            time.sleep(0.02)


@pytest.fixture
def log(capsys: pytest.CaptureFixture) -> Log:
    return Log(capsys)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


# --- shares ---


def test_stages_follow_one_another():
    kept = Kept()
    progress = Progress(kept)
    progress.stage("match", 0.4)
    progress.update(0.5, "half")
    progress.stage("refine")
    progress.update(0.5)
    progress.update(7.0)
    assert kept.shown == [
        (0.0, "match", ""),
        (0.2, "match", "half"),
        (0.4, "refine", ""),
        (0.7, "refine", ""),
        (1.0, "refine", ""),
    ]


def test_a_part_that_has_no_time_left_stops_at_its_next_word():
    whole = Progress(Kept())
    part = whole.part(0.5, seconds=0.05)
    inner = part.part()  # has no more than what it is a part of
    part.stage("match")
    time.sleep(0.1)
    for late in (part, inner):
        with pytest.raises(OutOfTime):
            late.update(0.5)
        with pytest.raises(OutOfTime):
            late.stage("refine")
    whole.stage("report")


def test_parts_of_parts_have_a_range_of_the_whole():
    kept = Kept()
    whole = Progress(kept)
    whole.stage("read", 0.2)
    outer = whole.part(0.6, "desk")  # 0.2 to 0.6
    outer.part(0.25).stage("points")  # 0.2 to 0.3
    inner = outer.part(0.75, "depth")  # 0.3 to 0.5
    inner.stage("match", 0.5)
    inner.update(0.5)  # a quarter of 0.3 to 0.5
    inner.stage("check")
    outer.stage("write")
    whole.stage("report")
    assert kept.shown == [
        (0.0, "read", ""),
        (0.2, "desk: points", ""),
        (0.3, "desk: depth: match", ""),
        (0.35, "desk: depth: match", ""),
        (0.4, "desk: depth: check", ""),
        (0.5, "desk: write", ""),
        (0.6, "report", ""),
    ]


def test_a_stage_that_ends_before_it_begins_has_no_length():
    kept = Kept()
    progress = Progress(kept)
    progress.stage("one", 0.6)
    progress.stage("two", 0.3)
    progress.update(1.0)
    assert [share for share, _, _ in kept.shown] == [0.0, 0.6, 0.6]


def test_parts_speak_to_the_same_display():
    kept = Kept()
    part = Progress(kept).part(0.5, "a").part()
    part.note("found")
    part.clock(60.0, 5.0)
    assert kept.notes == ["found"] and kept.clocks == [(60.0, 5.0)]


def test_nobody_needs_to_look():
    progress = Progress()
    progress.stage("one")
    progress.part().update(0.5)
    progress.note("nothing")
    progress.clock(1.0)


# --- without a terminal ---


def test_a_log_gets_stages_and_tenths(hands: Hands, log: Log):
    with Meter() as progress:
        progress.note("chair: 3 photos")
        progress.stage("match", 0.5)
        for done in range(1, 101):
            hands.turn(0.1)
            progress.update(done / 100, f"{done} of 100")
        progress.stage("refine")
        progress.update(0.1, "ignored: no new tenth")
    lines = log.text.splitlines()
    assert lines[:2] == ["chair: 3 photos", "match"]
    assert [re.sub(r", \d:\d\d left", "", line) for line in lines[2:]] == [
        "   10%  after 0:02  20 of 100",
        "   20%  after 0:04  40 of 100",
        "   30%  after 0:06  60 of 100",
        "   40%  after 0:08  80 of 100",
        "   50%  after 0:10  100 of 100",
        "refine",
        "  100%  after 0:10",
    ]
    assert re.search(r"40%  after 0:08, 0:1[23] left", lines[5])  # 60 % at 5 % a second


def test_a_log_is_never_silent_for_long(hands: Hands, log: Log):
    with Meter() as progress:
        progress.stage("compiling")
        hands.turn(29.0)
        time.sleep(0.3)
        assert log.text == "compiling\n"
        hands.turn(2.0)
        log.wait_for("    0%  after 0:31\n")
        hands.turn(29.0)
        time.sleep(0.3)
        assert len(log.text.splitlines()) == 2
        hands.turn(3575.0)
        log.wait_for("    0%  after 1:00:35\n")


def test_it_never_goes_back(hands: Hands, log: Log):
    with Meter() as progress:
        progress.stage("match", 0.8)
        progress.update(1.0)
        progress.update(0.0)
        Progress(None).stage("elsewhere")
        hands.turn(31.0)
        log.wait_for("after 0:31")
    shares = [int(share) for share in re.findall(r"(\d+)%", log.text)]
    assert shares == [80, 80, 100]


def test_a_budget_is_told_by_the_clock(hands: Hands, log: Log):
    with Meter() as progress:
        progress.stage("cameras", 0.2)
        hands.turn(10.0)
        progress.stage("shape")
        progress.clock(100.0)
        progress.update(0.9, "loss 1")
        hands.turn(50.0)
        log.wait_for("   60%  after 1:00, 0:50 left  loss 1\n")  # 0.2 and half of the rest
        hands.turn(90.0)
        log.wait_for("   99%  after 2:30, 0:40 over  loss 1\n")
    assert log.text.endswith("  100%  after 2:30\n")


def test_what_was_spent_before_counts(hands: Hands, log: Log):
    with Meter() as progress:
        progress.clock(100.0, spent=40.0)
        progress.stage("shape")
        log.wait_for("   40%  after 0:00, 1:00 left\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_broken_off_is_not_shown_as_done(log: Log, error: type[BaseException]):
    with pytest.raises(error), Meter() as progress:
        progress.stage("match")
        progress.update(0.25)
        raise error
    assert "100%" not in log.text


# --- on a terminal ---

SCRIPT = """
import sys, threading, time
from invgraph.runs.progress import Meter

try:
    with Meter() as progress:
        progress.note("chair: [3] photos")
        progress.stage("compiling kernels")
        progress.clock(600.0)
        time.sleep({seconds})
        progress.update(0.5, "loss 1")
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
assert threading.active_count() == 1
"""


def test_what_does_not_fit_is_cut():
    assert module._fitted("match", "2 of 9", 11) == ("match", "2 of 9")
    assert module._fitted("match", "2 of 9", 10) == ("match", "")
    assert module._fitted("match", "2 of 9", 4) == ("mat…", "")
    assert module._fitted("match", "", -3) == ("…", "")


def on_terminal(seconds: float, stop_at: str = "") -> str:
    """What a terminal of 100 columns receives; Ctrl-C is pressed when it has got ``stop_at``."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    command = [sys.executable, "-c", SCRIPT.format(seconds=seconds)]
    process = subprocess.Popen(command, stderr=theirs, env=environment)
    os.close(theirs)
    received = ""
    try:
        while piece := os.read(ours, 4096):
            received += piece.decode()
            if stop_at and stop_at in received:
                process.send_signal(signal.SIGINT)
                stop_at = ""
    except OSError:  # what Linux says when the other side is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(10) == 0, received
    return received


def test_a_terminal_sees_a_bar_that_moves_by_itself():
    seen = on_terminal(2.2)
    assert "chair: [3] photos" in seen
    for times in ("0:00, 9:59 left", "0:01, 9:58 left", "0:02, 9:57 left"):
        assert times in seen
    assert "done" in seen and "100%" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")  # the cursor is back


def test_ctrl_c_leaves_a_terminal_as_it_was():
    seen = on_terminal(30.0, "0:00, 9:59 left")
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")  # the cursor is back
    assert seen.endswith("\r\n\x1b[?25hstopped\r\n")
    assert "100%" not in seen
