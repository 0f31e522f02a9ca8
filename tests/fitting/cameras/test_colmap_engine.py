"""Long calls of the engine and Ctrl-C."""

import signal
import subprocess
import sys
import time

import pytest

from invgraph.fitting.cameras.colmap_engine import run_cancellable

SCRIPT = """
import time
from invgraph.fitting.cameras.colmap_engine import run_cancellable

def work(token):
    print("begun", flush=True)
    while not token.is_cancelled:
        time.sleep(0.05)
    time.sleep(1.0)  # what the engine finishes first
    print("ended", flush=True)

try:
    run_cancellable(work)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def test_a_call_gives_its_result_or_its_error():
    watched = []
    assert run_cancellable(lambda token: time.sleep(0.5) or 7, lambda: watched.append(1)) == 7
    assert watched
    with pytest.raises(ZeroDivisionError):
        run_cancellable(lambda token: 1 / 0)


def test_after_ctrl_c_nothing_of_the_call_is_left():
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said, errors = process.stdout.read(), process.stderr.read()
    assert said == "ended\nstopped\n" and not errors and process.returncode == 0
