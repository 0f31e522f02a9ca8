"""The examples in the README and the docs run, and their links lead somewhere."""

import re
from pathlib import Path

import pytest
import torch
from run_folders import write_run

from invgraph import SphericalHarmonicLight, load_scene

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


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
