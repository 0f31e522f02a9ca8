"""How long work tells a person where it is."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """What shows a person how far the work is."""

    def begin(self, name: str) -> None:
        """A new stage starts."""

    def show(self, done: float, facts: str) -> None:
        """The stage is ``done``, 0 to 1."""


class Silent:
    """Shows nothing."""

    def begin(self, name: str) -> None:
        """Do nothing."""

    def show(self, done: float, facts: str) -> None:
        """Do nothing."""


class Meter:
    """A progress bar on a terminal; a line per tenth of a stage elsewhere.

    Used as a context; everything goes to standard error.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(file=sys.stderr)
        self._live = console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("", total=1.0, facts="")
        self._tenth = -1

    def __enter__(self) -> "Meter":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, name: str) -> None:
        """A new stage starts."""
        self._tenth = -1
        self._bar.reset(self._task, description=name, total=1.0, facts="")
        if not self._live:
            print(name, file=sys.stderr, flush=True)

    def show(self, done: float, facts: str) -> None:
        """The stage is ``done``, 0 to 1."""
        self._bar.update(self._task, completed=min(done, 1.0), facts=facts)
        if not self._live and int(done * 10) != self._tenth:
            self._tenth = int(done * 10)
            print(f"  {min(done, 1.0):4.0%}  {facts}", file=sys.stderr, flush=True)

    def staged(self, name: str) -> Callable[[str, int, int], None]:
        """What work in stages calls with a stage, the steps done in it, and its steps in all."""
        last = ""

        def show(stage: str, done: int, total: int) -> None:
            nonlocal last
            if stage != last:
                self.begin(f"{name}: {stage}")
                last = stage
            self.show(done / total, f"{done} of {total}")

        return show
