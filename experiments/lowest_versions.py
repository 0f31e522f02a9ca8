"""Do the fast tests pass with the lowest versions that pyproject.toml allows?

    python experiments/lowest_versions.py [--python python3.11] [--work DIR] [--json FILE]
                                          [--tests PATH ...]

A virtual environment gets exactly the floors of all dependencies, direct ones and those of the
extra ``test``; what these need themselves is the newest that fits. Then the fast tests run in it.
Warnings are allowed: old releases warn of what newer Pythons and each other will change.

A second run takes the environment that is there; delete the folder to install anew.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from measures import command_line, row, write

ROOT = Path(__file__).resolve().parent.parent
COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


def floors() -> list[str]:
    """``name==version`` of every dependency, with its condition."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    own = [line for line in wanted if not line.startswith("invgraph[")]
    return [re.sub(r"\[.*?\]", "", line).replace(">=", "==") for line in own]  # pip wants no extras


def install(python: str, folder: Path) -> Path:
    """The Python of an environment with the floors."""
    inside = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists():
        return inside
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    constraints = folder / "floors.txt"
    constraints.write_text("\n".join(floors()) + "\n")
    pip = [str(inside), "-m", "pip", "install", "--quiet", "-c", str(constraints)]
    for what in (["torch"], ["--editable", f"{ROOT}[test]"]):
        subprocess.run([*pip, *what], check=True)
    done.touch()
    return inside


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--python", default=sys.executable, help="to make the environment with")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "lowest_versions")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="files or folders")
    arguments = parser.parse_args()

    python = install(arguments.python, arguments.work.resolve())
    command = [str(python), "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile"]
    command += ["-m", "not slow", "-o", "filterwarnings="]
    done = subprocess.run(
        [*command, *arguments.tests], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout)
    counts = {word: int(count) for count, word in COUNTS.findall(done.stdout.splitlines()[-1])}
    failed = sum(counts.get(word, 0) for word in ("failed", "error", "errors"))
    write(
        [
            row("lowest_versions/passed", counts.get("passed", 0), "", "higher"),
            row("lowest_versions/failed", failed, "", "lower"),
        ],
        arguments.json,
    )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
