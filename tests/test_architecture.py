"""The rooms of the package, and which way imports run between and inside them.

Every import counts: those inside functions, those for type checkers alone, and modules named by a
string. A room imports from rooms above it in ``ROOMS``; between modules there is no circle.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "kernels",
    "files",
    "geometry",
    "scene",
    "raster",
    "rendering",
    "photometric",
    "data",
    "runs",
    "evaluate",
    "report",
    "encoders",
    "fitting",
    "train",
    "infer",
    "cli",
)
COMPUTED = "a module by its name"
# Where modules are imported by their names, which stand there as strings that count.
COMPUTING = ("invgraph", "invgraph.cli")
Imports = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the package below ``root``."""
    found = {}
    for path in sorted((root / "invgraph").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def read_imports(root: Path) -> Imports:
    """Module -> modules of the package that it imports, wherever and however."""
    known = modules(root)
    return {name: _imports_of(name, path, known) for name, path in known.items()}


def _imports_of(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*parents, *([node.module] if node.module else [])])
            base = base if node.level else node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
        elif isinstance(node, ast.Name | ast.Attribute):
            word = node.id if isinstance(node, ast.Name) else node.attr
            if word in ("import_module", "__import__") and name not in COMPUTING:
                found.add(COMPUTED)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What import_module is called with; the root's name alone is mostly a word.
            found |= {node.value.partition(":")[0]} & known.keys() - {"invgraph"}
        if isinstance(node, ast.ImportFrom) and name not in COMPUTING:
            functions = {alias.name for alias in node.names}
            found |= {COMPUTED} if functions & {"import_module", "__import__"} else set()
    return {module for module in found & {*known, COMPUTED} if module != name}


def upward(imports: Imports) -> list[str]:
    """Imports from a room further down, in words.

    The root gives names of all rooms, so importing it counts as importing the last.
    """
    found = []
    for module, targets in imports.items():
        if module == "invgraph":
            continue
        place = ROOMS.index(module.split(".")[1])
        for target in sorted(targets):
            if target in ("invgraph", COMPUTED) or ROOMS.index(target.split(".")[1]) > place:
                found.append(f"{module} imports {target}")
    return found


def circle(imports: Imports) -> list[str]:
    """A circle of imports between modules; empty if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def imports() -> Imports:
    return read_imports(ROOT)


def test_the_rooms_are_these():
    inside = [path for path in (ROOT / "invgraph").iterdir() if path.name != "__pycache__"]
    assert {path.name for path in inside if path.is_dir()} == set(ROOMS)
    assert [path.name for path in inside if path.is_file()] == ["__init__.py"]


def test_no_room_bears_the_name_of_a_public_function():
    import invgraph

    assert not set(ROOMS) & set(invgraph.__all__)


def test_imports_run_one_way(imports: Imports):
    assert len(imports) > 200
    assert not upward(imports)


def test_there_is_no_circle(imports: Imports):
    assert not circle(imports)


def test_tests_lie_in_the_rooms_that_they_test():
    folders = {path.parent.relative_to(ROOT / "tests") for path in ROOT.glob("tests/**/test_*.py")}
    rooms = {folder.parts[0] for folder in folders if folder.parts}
    assert rooms - {"experiments"} <= set(ROOMS)


PLANTED = {
    "from invgraph.report import page": "invgraph.report.page",
    "def f():\n    from invgraph.report.page import write": "invgraph.report.page",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import invgraph.report.page": (
        "invgraph.report.page"
    ),
    "from ..report.page import write": "invgraph.report.page",
    "from ..report import page": "invgraph.report.page",
    "import importlib\nimportlib.import_module('invgraph.report.page')": "invgraph.report.page",
    "HOMES = {'write': 'invgraph.report.page'}": "invgraph.report.page",
    "HOMES = {'write': 'invgraph.report.page:write'}": "invgraph.report.page",
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_upward_import_is_found(tmp_path: Path, code: str):
    for name, text in {"data/bad": code, "report/page": "def write(): ..."}.items():
        path = tmp_path / "invgraph" / f"{name}.py"
        path.parent.mkdir(parents=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    found = read_imports(tmp_path)
    assert PLANTED[code] in found["invgraph.data.bad"]
    assert f"invgraph.data.bad imports {PLANTED[code]}" in upward(found)


@pytest.mark.parametrize(
    "code",
    [
        "from invgraph import fit, render",
        "import invgraph",
        "def f():\n    import invgraph\n    invgraph.fit()",
        "from importlib import import_module\nimport_module('..report', __package__)",
        "import importlib\nimportlib.import_module(f'invgraph.{room}')",
        "from importlib import import_module as load\nload('..report', __package__)",
        "import importlib\nimportlib.import_module(name='invgraph.' + room)",
        "__import__('invgraph.' + room)",
    ],
)
def test_the_root_and_computed_names_are_no_way_around(tmp_path: Path, code: str):
    for name, text in {"data/bad": code, "data/__init__": "", "__init__": ""}.items():
        path = tmp_path / "invgraph" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert len(upward(read_imports(tmp_path))) == 1


def test_a_planted_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})
