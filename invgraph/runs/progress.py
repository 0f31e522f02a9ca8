"""How far a run is, as a person sees it."""

import math
import sys
import threading
import time
from types import TracebackType
from typing import Protocol, runtime_checkable

_BAR = 16  # characters
_TICK_S = 0.1  # between two looks at the clock
_QUIET_S = 30.0  # without a line in a log file
_LATE = 0.99  # share of its time at which work stays that takes longer
_PACE_S = 120.0  # over which the speed is averaged that tells the time left


class OutOfTime(Exception):
    """Raised in work that reports progress after the time that it was given."""


@runtime_checkable
class Display(Protocol):
    """What shows the progress of a whole run."""

    def show(self, share: float, stage: str, facts: str) -> None:
        """``share`` of the run is done, 0 to 1."""

    def clock(self, seconds: int | float, spent: int | float) -> None:
        """From here on the run takes as long as the clock says."""

    def note(self, text: str) -> None:
        """Say something in a line of its own."""


class Progress:
    """How far a piece of work is, told by the work itself.

    Every function that reports progress takes one, or None, and makes ``Progress()`` of None, which
    nobody sees. It names its own stages.

    Args:
        display: of the whole run; nothing is shown when left out.
        name: of this work, put before its stages.
        low: share of the run that is done when this work begins, 0 to 1.
        high: share of the run that is done when it ends.
        until: what ``time.monotonic()`` shows when the work has no time any more; whatever it
            reports afterwards raises :class:`OutOfTime`.
    """

    def __init__(
        self,
        display: Display | None = None,
        name: str = "",
        low: float = 0.0,
        high: float = 1.0,
        until: float = math.inf,
    ) -> None:
        self._display, self._name, self._low, self._high = display, name, low, high
        self._until = until
        self._stage, self._begin, self._end = "", 0.0, 0.0

    def stage(self, name: str, until: float = 1.0) -> None:
        """A stage begins where the last one ended, and lasts until that share of this work."""
        self._stage = self._named(name)
        self._advance(until)
        self.update(0.0)

    def update(self, done: float, facts: str = "") -> None:
        """The stage is ``done``, 0 to 1.

        Raises:
            OutOfTime: the work has none left.
        """
        if time.monotonic() > self._until:
            raise OutOfTime
        if self._display is not None:
            within = self._begin + (self._end - self._begin) * min(max(done, 0.0), 1.0)
            self._display.show(self._of_run(within), self._stage, facts)

    def part(self, until: float = 1.0, name: str = "", *, seconds: float = math.inf) -> "Progress":
        """For work that begins where the last stage ended, and lasts until that share of this.

        Args:
            until: share of this work, 0 to 1.
            name: put before the stages of the part.
            seconds: that the part may take.
        """
        self._advance(until)
        low, high = self._of_run(self._begin), self._of_run(self._end)
        limit = min(self._until, time.monotonic() + seconds)
        return Progress(self._display, self._named(name), low, high, limit)

    def clock(self, seconds: int | float, spent: int | float = 0.0) -> None:
        """From here to the end of the run, the clock tells how far it is.

        Args:
            seconds: that the rest takes, with what was spent on it before.
            spent: before, seconds.
        """
        if self._display is not None:
            self._display.clock(seconds, spent)

    def note(self, text: str) -> None:
        """Say something in a line of its own."""
        if self._display is not None:
            self._display.note(text)

    def _named(self, name: str) -> str:
        return ": ".join(filter(None, (self._name, name)))

    def _advance(self, until: float) -> None:
        self._begin, self._end = self._end, min(max(until, self._end), 1.0)

    def _of_run(self, share: float) -> float:
        return self._low + (self._high - self._low) * share


class Meter:
    """Shows a whole run on standard error; a context that gives the run's :class:`Progress`.

    On a terminal a bar that never stands still. Elsewhere, as in a log file, a line when a stage
    begins, one for each tenth of the run, and one after half a minute without any.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(file=sys.stderr)
        # Rich takes some log files for terminals, when the environment asks for colours.
        self._live = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR),
            TaskProgressColumn(),
            TextColumn("{task.fields[times]}", markup=False),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
            auto_refresh=False,
            speed_estimate_period=_PACE_S,
            redirect_stdout=sys.stdout.isatty(),
            get_time=lambda: time.monotonic(),
            disable=not self._live,
        )
        self._task = self._bar.add_task("", total=1.0, times="", facts="")
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._watch, daemon=True)
        self._began = self._printed = time.monotonic()
        self._share, self._stage, self._facts, self._tenth = 0.0, "", "", 0
        self._clock: tuple[float, float, float] | None = None

    def __enter__(self) -> Progress:
        self._bar.start()
        self._ticker.start()
        return Progress(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        try:
            self._ticker.join()
            with self._lock:
                if kind is None:
                    self._clock, self._share, self._facts = None, 1.0, ""
                    self._stage = "done"
                    self._tick()
        finally:
            self._bar.stop()

    def show(self, share: float, stage: str, facts: str) -> None:
        """``share`` of the run is done, 0 to 1; the bar never goes back."""
        with self._lock:
            if self._clock is None:
                self._share = max(self._share, share)
            if stage != self._stage and not self._live:
                self._print(stage)
            self._stage, self._facts = stage, facts
            self._tick()

    def clock(self, seconds: int | float, spent: int | float) -> None:
        """The rest of the run takes ``seconds``, of which ``spent`` are over."""
        with self._lock:
            self._clock = time.monotonic() - spent, max(seconds, 1e-9), self._share
            self._tick()

    def note(self, text: str) -> None:
        """A line above the bar."""
        with self._lock:
            if self._live:
                self._bar.console.print(text, markup=False, highlight=False)
            else:
                self._print(text)

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            with self._lock:
                self._tick()
                self._bar.refresh()

    def _tick(self) -> None:
        now = time.monotonic()
        left = None
        if self._clock is not None:
            since, seconds, share = self._clock
            left = since + seconds - now
            done = min((now - since) / seconds, _LATE)
            self._share = max(self._share, share + (1 - share) * done)
        self._bar.update(self._task, completed=self._share)
        if self._clock is None:
            left = self._bar.tasks[0].time_remaining
        times = _face(now - self._began)
        if left is not None and self._share < 1:
            times += f", {_face(left)} left" if left >= 0 else f", {_face(-left)} over"
        stage, facts = _fitted(
            self._stage or "starting", self._facts, self._bar.console.width - _BAR - 10 - len(times)
        )
        self._bar.update(self._task, description=stage, times=times, facts=facts)
        tenth = int(10 * self._share + 1e-9)
        if not self._live and (tenth > self._tenth or now - self._printed >= _QUIET_S):
            self._tenth = tenth
            self._print(f"  {self._share:4.0%}  after {times}  {self._facts}".rstrip())

    def _print(self, line: str) -> None:
        print(line, file=self._bar.console.file, flush=True)
        self._printed = time.monotonic()


def _fitted(stage: str, facts: str, room: int) -> tuple[str, str]:
    """What of them fits into so many characters; Rich would shorten the bar as well."""
    if len(stage) + len(facts) <= room:
        return stage, facts
    return (stage if len(stage) <= room else f"{stage[: max(room - 1, 0)]}…"), ""


def _face(seconds: int | float) -> str:
    """``75`` as ``1:15``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
