"""The command line: ``invgraph fit | odometry | train | infer | eval | render | report | ...``.

What a command needs is imported when it runs, so that ``--help`` is quick and Ctrl-C while torch is
being imported is one line, as at any other time.
"""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

from invgraph.files.names import require_text
from invgraph.runs.interrupts import heard, interrupt

EXAMPLES = """\
Start with a folder of photos whose cameras are known:

    invgraph fit my_photos --budget 10m                        # writes runs/my_photos
    invgraph data inspect my_photos                            # says what it holds and lacks
    invgraph fit my_photos --resume                            # goes on after Ctrl-C or a kill
    invgraph fit my_photos --object mug.obj                    # finds an object in each photo
    invgraph odometry walk.mp4                                 # finds how the camera moved
    invgraph train depth walk.mp4                              # learns depth from raw video
    invgraph train scene --object mug.obj                      # learns to see a known object
    invgraph train encoder walk.mp4                            # pre-trains its encoder, unlabelled
    invgraph infer depth runs/depth_walk other.mp4             # depth of another video
    invgraph infer scene runs/scene_mug photo.jpg              # where it is, in which light
    invgraph render runs/my_photos --views 8 --out orbit.png   # pictures from all around
    invgraph view runs/my_photos                               # opens the report in a browser
    invgraph report runs/my_photos                             # builds report.html again
    invgraph eval odometry trajectory_tum.txt groundtruth.txt  # scores a camera's motion
"""


# Command -> the module that has it. A module with several commands lists them as COMMANDS.
COMMANDS = {
    "fit": "invgraph.cli.fit",
    "odometry": "invgraph.cli.odometry",
    "render": "invgraph.cli.render",
    "report": "invgraph.cli.report",
    "view": "invgraph.cli.view",
}
RESUMABLE = ("fit", "odometry", "train")
GROUPS = {
    "data": ("invgraph.cli.data", "Look at captures, fetch public ones, convert between formats."),
    "train": ("invgraph.cli.train", "Learn from raw recordings, without labels."),
    "infer": ("invgraph.cli.infer", "Apply what was learned."),
    "eval": ("invgraph.cli.eval", "Score depth and trajectories against measured truth."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code: 0, 2 for a mistake, 130 for Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        for word in (*words, os.getcwd()):
            require_text(word, "rename it")
        _run(*words)
    except KeyboardInterrupt:
        print(f"\ninvgraph: {_stopped(words)}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"invgraph: {_one_line(error)}", file=sys.stderr)
        return 2
    finally:
        heard()
    return 0


def program() -> NoReturn:
    """Run the command of this process; Ctrl-C while Python then tidies up ends it silently."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        code = main()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:  # after the last word, before the line above
        heard()
        code = 130
    if code == 130:  # now, whatever threads of libraries and their last words there are
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C until it is heard; while something is being imported, the end without an exception.

    Libraries in C++ are started by an import, and some abort where an exception passes them.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            print(f"\ninvgraph: {_stopped(sys.argv[1:])}", file=sys.stderr, flush=True)
            os._exit(130)
        frame = frame.f_back
    interrupt(number, frame)


def _run(name: str = "--help", *rest: str) -> None:
    if name in ("-h", "--help"):
        print(_help())
    elif name == "--version":
        print(f"invgraph {version('invgraph')}")
    elif name in GROUPS:
        _run_of_group(name, *(rest or ["--help"]))
    elif name in COMMANDS:
        import tyro

        tyro.cli(_command(name), prog=f"invgraph {name}", args=rest)
    else:
        raise _unknown(name, [*COMMANDS, *GROUPS])


def _unknown(name: str, known: list[str]) -> ValueError:
    """What to say of a command that there is not."""
    near = get_close_matches(name, known, 1)
    meant = f"; did you mean {near[0]}?" if near else "; see --help."
    return ValueError(f"expected one of {', '.join(known)} but got {name!r}{meant}")


def _stopped(words: Sequence[str]) -> str:
    """What Ctrl-C came to, and the command that goes on."""
    if words and words[0] == "infer":
        return f"stopped; go on with: {shlex.join(['invgraph', *words])}"
    if not words or words[0] not in RESUMABLE:
        return "stopped"
    again = [word for word in words if word != "--resume"]
    return f"stopped; go on with: {shlex.join(['invgraph', *again, '--resume'])}"


def _command(name: str):
    return getattr(import_module(COMMANDS[name]), name)


def _run_of_group(group: str, name: str, *rest: str) -> None:
    module, purpose = GROUPS[group]
    commands = import_module(module).COMMANDS
    if name in ("-h", "--help"):
        print(f"usage: invgraph {group} COMMAND ...\n\n{purpose}\n")
        for key, command in commands.items():
            print(f"    {key:8} {(command.__doc__ or '').splitlines()[0]}")
        print(f"\n`invgraph {group} COMMAND --help` explains each command.")
        return
    if name not in commands:
        raise _unknown(name, list(commands))
    import tyro

    tyro.cli(commands[name], prog=f"invgraph {group} {name}", args=rest)


def _help() -> str:
    lines = ["usage: invgraph COMMAND ...", "", "Explain photographs by a scene.", ""]
    for name in COMMANDS:
        lines.append(f"    {name:8} {(_command(name).__doc__ or '').splitlines()[0]}")
    lines += [f"    {name:8} {purpose}" for name, (_, purpose) in GROUPS.items()]
    return "\n".join([*lines, "", EXAMPLES, "`invgraph COMMAND --help` explains each command."])


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
