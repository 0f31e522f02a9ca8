"""Beliefs about scenes survive their files bit for bit; other files are refused."""

from pathlib import Path

import pytest
import torch

from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.geometry import transforms
from invgraph.scene.domains import (
    Direction,
    Domain,
    Free,
    Interval,
    Positive,
    RigidPose,
    Rotation,
    UnitInterval,
)
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknown, Unknowns


def belief() -> SceneBelief:
    """Two scenes, three hypotheses, an unknown of every domain; some middles are shared."""
    torch.manual_seed(0)
    turns = transforms.exp_so3(torch.randn(2, 3, 3))
    unknowns = (
        Unknown("lights.0.coefficients", Free(), (9, 3)),
        Unknown("objects.0.tint", Positive(), (3,)),
        Unknown("a", UnitInterval(), ()),
        Unknown("b", Interval(-2.0, 5.0), (2,)),
        Unknown("c", Direction(), (3,), torch.randn(1, 3, 3)),
        Unknown("d", Rotation(), (3, 3), turns),
        Unknown("e", RigidPose(), (4, 4), transforms.pose(turns, torch.randn(2, 3, 3))),
    )
    means = {u.path: 0.1 * torch.randn(2, 3, *u.coordinates_shape) for u in unknowns}
    scales = {u.path: 0.1 * torch.eye(u.size).expand(2, 3, u.size, u.size) for u in unknowns}
    return SceneBelief(Unknowns(unknowns), torch.randn(2, 3).log_softmax(-1), means, scales)


def test_a_belief_survives_its_file(tmp_path: Path):
    ours = belief()
    ours.save(tmp_path / "belief.safetensors")
    theirs = SceneBelief.load(tmp_path / "belief.safetensors")
    pairs = zip(ours.unknowns, theirs.unknowns, strict=True)
    assert all(a.domain == b.domain and a.shape == b.shape for a, b in pairs)
    drawn = [each.sample(5, torch.Generator().manual_seed(1)) for each in (ours, theirs)]
    assert all(torch.equal(drawn[0][path], drawn[1][path]) for path in drawn[0])
    assert torch.equal(ours.log_prob(drawn[0]), theirs.log_prob(drawn[0]))
    before = (tmp_path / "belief.safetensors").read_bytes()
    theirs.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == before


def test_other_files_are_refused(tmp_path: Path):
    path = tmp_path / "belief.safetensors"
    with pytest.raises(ValueError, match="does not exist; infer the scene again"):
        SceneBelief.load(path)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match="is damaged"):
        SceneBelief.load(path)
    write_tensors(path, {"weight": torch.zeros(2)}, {"network": "light"})
    with pytest.raises(ValueError, match="holds no belief about a scene"):
        SceneBelief.load(path)


@pytest.mark.parametrize("part", ["means/e", "scales/a", "around/d"])
def test_tensors_that_do_not_go_together_are_refused(tmp_path: Path, part: str):
    path = tmp_path / "belief.safetensors"
    belief().save(path)
    stored = read_tensors(path, "")
    assert stored is not None
    tensors, facts = stored
    for wrong in (torch.zeros(4, 3, *tensors[part].shape[2:]), torch.zeros(2, 3, 7, 7)):
        write_tensors(path, {**tensors, part: wrong}, facts)
        with pytest.raises(ValueError, match="holds no belief about a scene"):
            SceneBelief.load(path)
    write_tensors(path, {name: t for name, t in tensors.items() if name != "means/b"}, facts)
    with pytest.raises(ValueError, match="holds no belief about a scene"):
        SceneBelief.load(path)


def test_a_domain_that_files_do_not_know_is_refused(tmp_path: Path):
    class Odd(Free):
        pass

    domain: Domain = Odd()
    one = SceneBelief(
        Unknowns((Unknown("x", domain, ()),)),
        torch.zeros(1),
        {"x": torch.zeros(1)},
        {"x": torch.ones(1, 1, 1)},
    )
    with pytest.raises(ValueError, match="x has the domain Odd, which no file can hold"):
        one.save(tmp_path / "belief.safetensors")
