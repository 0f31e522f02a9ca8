"""Mitsuba judges our images: same scene, same camera, direct light."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false

from dataclasses import replace

import pytest
import torch
from scenes import ball, ball_and_ring, camera, material

from invgraph.rendering import environment
from invgraph.rendering.backends import mitsuba
from invgraph.rendering.render import OUTPUTS, render
from invgraph.scene import (
    DirectionalLight,
    EnvironmentMap,
    PointLight,
    Scene,
    SphericalHarmonicLight,
)
from invgraph.scene.batching import flatten

mitsuba.find_llvm()
pytest.importorskip("mitsuba", reason="the optional backend mitsuba is not installed")

SUN = DirectionalLight(torch.tensor([0.3, -0.8, 1.0]), torch.tensor([3.0, 2.5, 2.0]))
LAMP = PointLight(torch.tensor([1.0, 2.0, -2.5]), torch.tensor([15.0, 18.0, 20.0]), "camera")


def _harmonics(frame="world"):
    coefficients = 0.25 * torch.randn(9, 3, generator=torch.Generator().manual_seed(2))
    coefficients[0] = 2.5
    return SphericalHarmonicLight(coefficients, frame)


def _panorama():
    """A bright soft spot and a dim sky."""
    directions, _ = environment.panorama_directions(64, 128)
    spot = torch.nn.functional.normalize(torch.tensor([0.5, 0.7, -0.6]), dim=0)
    glow = torch.exp(20 * (directions @ spot - 1))[..., None] * torch.tensor([6.0, 5.0, 4.0])
    return EnvironmentMap(glow + 0.3 + 0.2 * directions[..., 1:2])


def _direct(scene, seen_by, samples=64, bsdf=None, outputs=("color", "alpha")):
    scene, seen_by = flatten(scene, seen_by, (1,))
    return mitsuba.render(
        scene, seen_by, frozenset(outputs), samples=samples, max_depth=2, bsdf=bsdf
    )


def _compare(scene, samples=64, bsdf=None, size=40):
    """Mean and largest difference in brightness inside the object, relative to its mean.

    Blocks of 4 x 4 pixels are averaged first: Mitsuba's images are noisy.
    """
    seen_by = camera(size)
    found = render(scene, seen_by, outputs=("color", "alpha"))
    expected = _direct(scene, seen_by, samples, bsdf)
    inside = found.alpha > 0.999
    inside = torch.nn.functional.avg_pool2d(inside.float()[None], 4)[0] == 1

    def blocks(image):
        return torch.nn.functional.avg_pool2d(image.movedim(-1, 0), 4)[:, inside]

    ours, theirs = blocks(found.color), blocks(expected.color[0])
    difference = (ours - theirs).abs() / theirs.mean()
    return difference.mean().item(), difference.max().item()


MATT = {"roughness": 1.0, "metallic": 0.0}
PLASTIC = {"roughness": 0.4, "metallic": 0.0}
METAL = {"roughness": 0.4, "metallic": 1.0}


@pytest.mark.parametrize(
    ("light", "made_of", "mean", "largest"),
    [
        (SUN, MATT, 0.004, 0.02),
        (SUN, PLASTIC, 0.004, 0.03),
        (SUN, METAL, 0.025, 0.45),
        (LAMP, MATT, 0.004, 0.02),
        (LAMP, PLASTIC, 0.004, 0.03),
        (LAMP, METAL, 0.01, 0.15),
        (_harmonics(), MATT, 0.012, 0.06),
        (_harmonics("camera"), PLASTIC, 0.012, 0.06),
        (_harmonics(), METAL, 0.03, 0.12),
        (_panorama(), MATT, 0.02, 0.1),
        (_panorama(), PLASTIC, 0.02, 0.1),
        (_panorama(), METAL, 0.06, 0.6),
    ],
)
def test_direct_light(light, made_of, mean, largest):
    """Tolerances are 1.3 times what was measured, or more.

    Highlights of lamps differ most: we shade a pixel at its centre, Mitsuba all over it.
    """
    noisy = isinstance(light, SphericalHarmonicLight | EnvironmentMap)
    scene = Scene((ball(material(**made_of)),), (light,))
    found = _compare(scene, samples=512 if noisy else 64)
    assert found[0] < mean
    assert found[1] < largest


def test_ggx_is_mitsubas_own():
    """A white metal against Mitsuba's conductor, whose formulas are not ours."""
    scene = Scene((ball(material((1.0, 1.0, 1.0), 0.5, 1.0)),), (SUN,))
    conductor = {"type": "roughconductor", "material": "none", "distribution": "ggx", "alpha": 0.25}
    mean, largest = _compare(scene, bsdf=conductor)
    assert mean < 0.01
    assert largest < 0.12


def test_materials_of_mitsuba_for_single_objects():
    """The ball's is replaced, in its own colour; the ring keeps its own."""
    seen_by, scene = camera(40), replace(ball_and_ring(), lights=(SUN,))
    diffuse = {"type": "diffuse", "reflectance": {"type": "ref", "id": "albedo"}}
    outputs = ("color", "albedo")
    own = _direct(scene, seen_by, outputs=outputs)
    part = _direct(scene, seen_by, bsdf=[diffuse, None], outputs=outputs)
    owner = render(scene, seen_by, outputs=("object_id",)).object_id
    whole = torch.nn.functional.max_pool2d((owner != 1).float()[None], 3, 1, 1)[0] == 0
    assert whole.any() and torch.equal(part.color[0][whole], own.color[0][whole])
    assert (part.color[0] - own.color[0])[owner == 0].abs().mean() > 1e-3
    assert torch.allclose(part.albedo, own.albedo, atol=1e-4)
    with pytest.raises(ValueError, match="bsdf has 1 materials for 2 objects; give one per object"):
        _direct(scene, seen_by, bsdf=[diffuse])


def test_lambert_is_mitsubas_own():
    """What white adds to black, against Mitsuba's diffuse material."""
    seen_by = camera(40)
    white, black = (
        render(Scene((ball(material((a, a, a), 1.0)),), (SUN,)), seen_by, outputs=("color",)).color
        for a in (1.0, 0.0)
    )
    expected = _direct(
        Scene((ball(),), (SUN,)), seen_by, bsdf={"type": "diffuse", "reflectance": 1}
    )
    inside = expected.alpha[0] == 1
    ratio = ((white - black).sum(-1) / expected.color[0].sum(-1).clamp_min(1e-3))[inside]
    lit = expected.color[0].sum(-1)[inside] > 0.5
    # A rough dielectric reflects up to 5 %; within a pixel light falls off unevenly at the rim.
    assert ratio[lit].median() < 1
    assert ratio[lit].max() < 1.04
    assert ratio[lit].min() > 0.94


def test_geometry():
    scene = ball_and_ring(SUN)
    seen_by = camera(64)
    found = render(scene, seen_by)
    expected = _direct(scene, seen_by, 256, outputs=OUTPUTS)
    same = found.object_id == expected.object_id[0]
    assert (~same).sum() <= 4
    assert same.sum() > 1000
    torch.testing.assert_close(found.depth[same], expected.depth[0][same], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.normal[same], expected.normal[0][same], atol=2e-3, rtol=0)
    assert (found.alpha - expected.alpha[0]).abs().mean() < 0.005
    assert (found.alpha - expected.alpha[0]).abs().max() < 0.5
    assert (found.albedo - expected.albedo[0]).abs().mean() < 0.01


def test_public_call_batch_and_background():
    scene = replace(ball_and_ring(SUN), background=torch.tensor([0.2, 0.4, 0.6]))
    seen_by = camera(16, (2,))
    found = render(scene, seen_by, outputs=("color", "alpha"), backend="mitsuba")
    assert found.color is not None and found.color.shape == (2, 16, 16, 3)
    assert found.depth is None
    torch.testing.assert_close(found.color[0, 0, 0], torch.tensor([0.2, 0.4, 0.6]))
    assert (found.color[0] - found.color[1]).abs().max() > 0.05


def test_scalar_variant(monkeypatch):
    import mitsuba as mi

    choose = mi.set_variant

    def without_llvm(name):
        if name.startswith("llvm"):
            raise ImportError("no LLVM here")
        choose(name)

    scene, seen_by = Scene((ball(),), (SUN,)), camera(12)
    expected = _direct(scene, seen_by, 16, outputs=OUTPUTS)
    choose("scalar_rgb")
    monkeypatch.setattr(mi, "set_variant", without_llvm)
    found = _direct(scene, seen_by, 16, outputs=OUTPUTS)
    for name in OUTPUTS:
        difference = (getattr(found, name) - getattr(expected, name)).abs().double()
        assert difference.mean() < 0.03, name


def test_an_old_llvm_is_not_used(monkeypatch):
    # LLVM 15 ends the process where a kernel asks for the lesser of two numbers.
    import drjit
    import mitsuba as mi

    scene, seen_by = Scene((ball(),), (SUN,)), camera(8)
    mi.set_variant("scalar_rgb")
    used = []
    choose = mi.set_variant
    monkeypatch.setattr(mi, "set_variant", lambda name: (used.append(name), choose(name)))
    monkeypatch.setattr(drjit.detail, "llvm_version", lambda: (15, 0, 6))
    render(scene, seen_by, outputs=("alpha",), backend="mitsuba")
    assert used == ["llvm_ad_rgb", "scalar_rgb", "scalar_rgb"]  # the last one is that of before


def test_errors():
    scene = Scene((ball(),), (SUN,))
    plain = camera(8)
    bent = plain.with_lens(distortion=torch.zeros(5))
    with pytest.raises(ValueError, match="no lens distortion but this one has; undistort it"):
        render(scene, bent, backend="mitsuba")
    oblong = plain.with_lens(focal=torch.tensor([8.0, 9.0]))
    with pytest.raises(ValueError, match="square pixels but focal is"):
        render(scene, oblong, backend="mitsuba")
