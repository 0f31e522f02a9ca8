"""Ctrl-C that reaches the work: it is repeated until somebody has heard it."""

import signal
from types import FrameType

AGAIN_S = 3.0  # after which an interrupt that nobody heard is raised once more


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise ``KeyboardInterrupt``, and again until :func:`heard` is called.

    Where a library's callback or a destructor happens to run, Python drops exceptions, and the work
    would go on.

    Raises:
        KeyboardInterrupt: always.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    signal.default_int_handler(number, frame)


def heard() -> None:
    """To be called where ``KeyboardInterrupt`` is caught, so that what follows is left in peace."""
    if hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is interrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
