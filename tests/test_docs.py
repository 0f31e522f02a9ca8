"""Examples in the README and the docs run, links lead somewhere, names in prose exist."""

import ast
import inspect
import io
import pkgutil
import re
import tokenize
import typing
from pathlib import Path

import pytest
import torch
from run_folders import write_run

from invgraph import Scene, SphericalHarmonicLight, load_scene

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = ("invgraph", "experiments", "tests")


def example(page: Path) -> str:
    [code] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        file, _, heading = target.partition("#")
        other = page.parent / file if file else page
        assert other.is_file(), target
        names = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in [name.lower().replace(" ", "-") for name in names]


def prose(code: str) -> str:
    """The docstrings and comments of a module."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [ast.get_docstring(n) or "" for n in ast.walk(ast.parse(code)) if isinstance(n, nodes)]
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return "\n".join([*found, *(t.string for t in tokens if t.type == tokenize.COMMENT)])


def missing(text: str) -> list[str]:
    """Names below ``invgraph.`` that no import finds, and paths of the project without a file."""
    names = set(re.findall(r"\binvgraph(?:\.[A-Za-z_]\w*)+", text))
    for module, things in re.findall(r"from (invgraph[\w.]*) import ([\w, ]+)", text):
        names |= {f"{module}.{thing.strip()}" for thing in things.split(",")}
    paths = set(re.findall(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)}|docs|assets)/[\w./*-]*\w", text))
    return [name for name in sorted(names) if not exists(name)] + [
        path for path in sorted(paths) if not any(ROOT.glob(path))
    ]


def test_paths_may_be_strings_where_pages_name_what_takes_them() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    names = set(re.findall(r"\binvgraph(?:\.[A-Za-z_]\w*)+", text))
    for module, things in re.findall(r"from (invgraph[\w.]*) import ([\w, ]+)", text):
        names |= {f"{module}.{thing.strip()}" for thing in things.split(",")}
    things = [pkgutil.resolve_name(name) for name in sorted(names) if exists(name)]
    functions = [thing for thing in things if inspect.isfunction(thing)]
    for kind in filter(inspect.isclass, things):
        members = inspect.getmembers(kind, inspect.isfunction)
        functions += [member for name, member in members if not name.startswith("_")]
    assert len(functions) > 30
    for function in functions:
        for name, kind in typing.get_type_hints(function).items():
            kinds = {kind, *typing.get_args(kind)}
            assert name == "return" or Path not in kinds or str in kinds, (function, name)


def exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_pages_exist(page: Path) -> None:
    assert not missing(page.read_text())


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_in_docstrings_and_comments_exist(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*.py") if path != Path(__file__).resolve()]
    found = {str(path.relative_to(ROOT)): missing(prose(path.read_text())) for path in files}
    assert not {file: names for file, names in found.items() if names}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("see ``invgraph.raster.soften``", "invgraph.raster.soften"),
        ("`invgraph.odometry.Motion`", "invgraph.odometry.Motion"),
        ("from invgraph import Camera, Eye", "invgraph.Eye"),
        ("`invgraph/camera.py` has it", "invgraph/camera.py"),
        ("as in tests/test_*_nothing.py", "tests/test_*_nothing.py"),
    ],
)
def test_a_planted_name_is_missed(text: str, name: str) -> None:
    assert missing(text) == [name]
    assert missing(prose(f'"""{text}"""')) == missing(prose(f"# {text}\n")) == [name]


@pytest.mark.slow
def test_the_readme_example_finds_the_ball() -> None:
    names: dict = {}
    exec(example(ROOT / "README.md"), names)
    torch.testing.assert_close(
        names["place"].detach(), torch.tensor([0.4, -0.2, 4.0]), atol=0.03, rtol=0
    )


def test_the_relighting_example_saves_a_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "runs" / "my_photos", size=8)
    monkeypatch.chdir(tmp_path)
    exec(example(ROOT / "docs" / "getting-started.md"), {})
    [light] = load_scene("relit").lights
    assert isinstance(light, SphericalHarmonicLight)
    assert light.coefficients[0].tolist() == pytest.approx([1.2, 0.8, 0.6])


def test_the_example_of_unknowns_has_the_shapes_it_says() -> None:
    names: dict = {}
    exec(example(ROOT / "docs" / "conventions.md"), names)
    assert names["x"].shape == (36,) and isinstance(names["moved"], Scene)
    shapes = [tuple(value.shape) for value in names["eight"].values()]
    assert shapes == [(8, 4, 4), (8, 3), (8, 9, 3)]
