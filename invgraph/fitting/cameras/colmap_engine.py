"""pycolmap, imported on use and kept quiet."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from invgraph.runs.interrupts import heard

_PATIENCE_S = 8.0  # for the engine to notice that it is cancelled


def load_engine() -> Any:
    """The module pycolmap, with its log restricted to fatal errors.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pycolmap
    except ImportError:
        raise ImportError(
            "recovering cameras from photos needs pycolmap: pip install pycolmap"
        ) from None
    pycolmap.logging.minloglevel = 3
    return pycolmap


def run_cancellable(work: Callable[[Any], Any], watch: Callable[[], None] = lambda: None) -> Any:
    """Run a long call of the engine in a thread of its own, so that Ctrl-C still arrives.

    Args:
        work: the call; takes the token by which it can be cancelled.
        watch: called a few times a second meanwhile.

    Raises:
        KeyboardInterrupt: once the call has stopped.
    """
    token = load_engine().CancellationToken()
    result: list[Any] = []
    failure: list[BaseException] = []
    ended = threading.Event()

    def body() -> None:
        try:
            result.append(work(token))
        except BaseException as error:
            failure.append(error)
        finally:
            ended.set()

    threading.Thread(target=body, daemon=True).start()
    try:
        # Not Thread.join: where Ctrl-C falls into it, it takes the thread for ended ever after, and
        # the engine's thread would outlive the interpreter.
        while not ended.wait(0.2):
            watch()
    except BaseException:
        heard()
        token.cancel()
        with contextlib.suppress(KeyboardInterrupt):
            ended.wait(_PATIENCE_S)
        raise
    if failure:
        raise failure[0]
    return result[0]
