"""The report page: complete, self-contained, and safe with damaged or hostile run folders."""

import base64
import hashlib
import json
import os
import re
import shutil
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import begin_run, look_at, record, torus_scene, write_run

from invgraph.rendering.harmonics import evaluate, irradiance_coefficients
from invgraph.report import write_report
from invgraph.report.camera_map import camera_map
from invgraph.report.charts import Axis, line_chart, nice_ticks
from invgraph.report.measures import describe, duration, number
from invgraph.report.pictures import data_uris, picture_size
from invgraph.report.viewer_data import (
    frustum,
    join_glb,
    light_matrices,
    shrink_textures,
    split_glb,
    viewer_data,
    world_up,
)
from invgraph.runs.facts import Kind
from invgraph.runs.reader import CameraRecord, read_run
from invgraph.scene import DirectionalLight, SphericalHarmonicLight

DEPTH = "renders/0008_photo_008_depth.png"
NO_POINTS = np.zeros((0, 3), np.float32)
HOSTILE = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"


class Page(HTMLParser):
    """What a browser would see: elements with attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def record(self, name: str) -> object:
        """The JSON that a script reads."""
        scripts = [attrs for tag, attrs in self.elements if tag == "script"]
        return json.loads(self.scripts[[attrs.get("id") for attrs in scripts].index(name)])


def read_page(run: Path) -> Page:
    return Page(write_report(run).read_text())


def pose(name: str, eye: list[float], split: str = "train") -> CameraRecord:
    matrix = look_at(np.array(eye, dtype=float))
    return record(name, split, matrix, (100.0, 100.0))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "torus")


def test_a_finished_run_shows_its_numbers_pictures_curves_and_mesh(finished: Path) -> None:
    page = read_page(finished)
    for text in ("31.42", "0.9620", "0.9871", "4 min 43 s", "0.41 %", "3.20 °", "21 photos"):
        assert text in page.text, text
    views = page.record("compare-data")
    assert isinstance(views, list)
    assert [view["name"] for view in views] == ["photo_000", "photo_008", "photo_016"]
    assert all(view["size"] == [96, 96] for view in views)
    assert all({"photo", "render", "difference"} <= view.keys() for view in views)
    shape = page.record("viewer-data")
    assert isinstance(shape, dict)
    assert base64.b64decode(shape["glb"]) == (finished / "scene.glb").read_bytes()
    assert len(base64.b64decode(shape["points"])) == 12 * 288
    assert len(shape["cameras"]) == 24 and sum(c["test"] for c in shape["cameras"]) == 3
    np.testing.assert_allclose(shape["up"], [0, 0, 1], atol=0.05)
    assert "not complete" not in page.text
    charts = [attrs["aria-label"] for tag, attrs in page.elements if tag == "svg"]
    assert [str(label).split(",")[0] for label in charts] == [
        "Colours of depth from 2.615 to 3.385 world units",
        "PSNR (dB) over Time (min)",
        "Loss over Time (min)",
        "Positions of 24 cameras",
    ]


def test_the_page_needs_no_network(finished: Path) -> None:
    text = write_report(finished).read_text()
    words = re.sub(r"[A-Za-z0-9+/]{100,}", "(base64)", text)
    assert re.findall(r"https?:|[\"'(]//|@import|url\((?!#)", words) == []
    for tag, attrs in Page(text).elements:
        assert tag not in ("iframe", "object", "embed", "base")
        if attrs.get("href") in ("flythrough.mp4", "recording.rrd"):
            continue  # files beside the page, when they are asked for
        for name in ("src", "href"):
            assert attrs.get(name, "data:").startswith("data:"), (tag, attrs)  # type: ignore[union-attr]


def test_the_policy_allows_exactly_our_scripts(finished: Path) -> None:
    page = read_page(finished)
    [policy] = [
        str(attrs["content"]) for _, attrs in page.elements if attrs.get("http-equiv") is not None
    ]
    code = [
        script
        for script, attrs in zip(
            page.scripts, [a for tag, a in page.elements if tag == "script"], strict=True
        )
        if "type" not in attrs
    ]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in code]
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert "default-src 'none'" in policy


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", names=[HOSTILE, "fine"])
    metrics = json.loads((run / "metrics.json").read_text())
    metrics |= {"capture": HOSTILE, HOSTILE: 1.0, "outlier_masks": [HOSTILE], "note": HOSTILE}
    (run / "metrics.json").write_text(json.dumps(metrics))
    log = (run / "log.csv").read_text().replace("texture", HOSTILE.replace('"', '""'))
    (run / "log.csv").write_text(log)
    page = read_page(run)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 4
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert page.text.count(HOSTILE) >= 3
    views = page.record("compare-data")
    assert isinstance(views, list) and views[0]["name"] == HOSTILE


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("metrics.json", "the scores on held-out photos"),
        ("log.csv", "the curves"),
        ("cameras.json", "the camera positions"),
        ("scene.glb", "the reconstructed mesh"),
        ("scene.json", "the exact scene"),
        ("renders/light_ball.png", "the light"),
        ("points.ply", "the sparse points"),
        (DEPTH, "a depth map"),
    ],
)
@pytest.mark.parametrize("damage", ["absent", "cut", "noise"])
def test_a_missing_or_damaged_file_is_named(
    finished: Path, tmp_path: Path, file: str, words: str, damage: str
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    path = run / file
    data = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "noise": b"\xff\0\n"}[damage])
    page = read_page(run)
    # Half a log is what a kill leaves: it is drawn, and nothing is missing.
    named = f"{file} ({words})" in page.text
    fine = {("log.csv", "cut"), ("points.ply", "absent"), (DEPTH, "absent")}
    assert named == ((file, damage) not in fine)
    assert "photo_000" in page.text or file == "metrics.json"


def test_a_run_that_was_just_begun_says_what_is_missing(tmp_path: Path) -> None:
    page = read_page(begin_run(tmp_path / "run"))
    assert "not complete" in page.text and "--resume" in page.text
    assert page.text.count("scene.glb") == 1


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("depth", "train depth"),
        ("encoder", "train encoder"),
        ("scene", "train scene"),
        ("inference", "infer depth"),
    ],
)
def test_a_network_has_a_page_too(tmp_path: Path, kind: Kind, command: str) -> None:
    run = begin_run(tmp_path / "run", kind)
    shutil.copy(write_run(tmp_path / "fit") / "renders/preview_100.png", run / "renders")
    page = read_page(run)
    assert f"invgraph {command}" in page.text and "not complete" in page.text
    assert "step 100" in page.text and "scene.glb" not in page.text
    assert "descending" not in page.text and "held-out photos below" not in page.text
    (run / "metrics.json").write_text('{"complete": true, "steps": 6, "held_out": 0.25}')
    assert "not complete" not in read_page(run).text


def test_losses_below_zero_have_curves(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", "scene")
    rows = "".join(f"{step},{step}.0,training,{-step}.5,{-step}.25\n" for step in range(1, 6))
    (run / "log.csv").write_text(f"step,seconds,stage,loss,held_out\n{rows}")
    page = write_report(run).read_text()
    assert "Loss over Time (s), from -1.5 to -5.5" in page
    assert "Held-out loss over Time (s), from -1.25 to -5.25" in page


def test_wrong_values_are_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "metrics.json").write_text(
        '{"psnr_mask_db": NaN, "ssim_mask": "high", "mask_iou": null, "seconds": 12, "views": '
        '[3, {"name": ["x"], "split": 4, "psnr_mask_db": Infinity}], "deep": {"a": 1}}'
    )
    cameras = json.loads((run / "cameras.json").read_text())
    cameras["frames"][1]["camera_from_world"][0][0] = "east"
    cameras["frames"][2]["camera_from_world"][3] = [0, 0]
    cameras["frames"][3]["focal"] = [0, 0]
    cameras["frames"][4] = "gone"
    (run / "cameras.json").write_text(json.dumps(cameras))
    page = read_page(run)
    assert "12 s" in page.text and "20 of" not in page.text and "NaN" not in page.text
    assert len(read_run(run).poses) == 20


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    secret = tmp_path / "secret.json"
    secret.write_text('{"psnr_mask_db": 99.99}')
    (run / "metrics.json").unlink()
    os.symlink(secret, run / "metrics.json")
    picture = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(picture)
    (run / "renders" / "light_ball.png").unlink()
    os.symlink(picture, run / "renders" / "light_ball.png")
    folder = read_run(run)
    assert folder.metrics == {} and folder.light_ball is None


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder; pass the run folder"):
        write_report(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"holds no run\.json: it is no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_many_large_pictures_keep_the_page_small(tmp_path: Path) -> None:
    files = []
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    for index in range(3):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(noise).save(files[-1])
    large = data_uris(files, 10_000_000)
    small = data_uris(files, 100_000)
    assert picture_size(str(large[0])) == (400, 300)
    assert sum(len(str(uri)) for uri in small) <= 200_000
    assert picture_size(str(small[0])) == (320, 240)
    broken = tmp_path / "broken.png"
    broken.write_bytes(files[0].read_bytes()[:500])
    assert data_uris([broken, files[0]], 10_000_000)[0] is None


def test_at_most_24_views_are_shown_and_the_page_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", names=[f"view {i:02d}" for i in range(30)], size=8, frames=8)
    page = read_page(run)
    views = page.record("compare-data")
    assert isinstance(views, list) and len(views) == 15
    assert "15 of 30 are shown" in page.text


def test_previews_end_with_the_last(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", size=8)
    for step in range(300, 2000, 100):
        Image.new("RGB", (8, 8)).save(run / "renders" / f"preview_{step}.png")
    text = read_page(run).text
    shown = [int(step) for step in re.findall(r"step (\d+)", text)]
    assert shown == sorted(shown) and len(shown) == 5 and shown[-1] == 1900


# --- the 3D view ---


def test_light_matrices_give_the_irradiance() -> None:
    coefficients = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    light = light_matrices([SphericalHarmonicLight(coefficients)])
    assert light is not None and light["frame"] == "world"
    normals = torch.nn.functional.normalize(
        torch.randn(20, 3, generator=torch.Generator().manual_seed(2)), dim=-1
    )
    h = torch.cat([normals, torch.ones(20, 1)], -1).double()
    matrices = torch.tensor(light["matrices"], dtype=torch.float64).reshape(3, 4, 4)
    shade = torch.einsum("ni,cij,nj->nc", h, matrices, h)
    expected = evaluate(irradiance_coefficients(coefficients), normals) / torch.pi
    torch.testing.assert_close(shade.float(), expected, atol=1e-5, rtol=1e-5)
    # Matrices are as small as the light is, though normals are not exactly of length 1.
    assert float(matrices.abs().max()) < float(coefficients.abs().max())


def test_other_lights_fall_back_to_the_studio() -> None:
    sun = DirectionalLight(torch.tensor([0.0, 0.0, -1.0]), torch.ones(3))
    assert light_matrices([]) is None
    assert light_matrices([sun]) is None
    sky = torch.ones(1, 3)
    mixed = [SphericalHarmonicLight(sky), SphericalHarmonicLight(sky, frame="camera")]
    assert light_matrices(mixed) is None


def test_frustum_corners_project_to_the_image_corners() -> None:
    one = pose("a", [3.0, 1.0, 2.0])
    corners = frustum(one)
    np.testing.assert_allclose(corners[0], [3, 1, 2], atol=1e-12)
    local = corners[1:] @ one.camera_from_world[:3, :3].T + one.camera_from_world[:3, 3]
    pixels = local[:, :2] / local[:, 2:] * 100 + [50, 40]
    np.testing.assert_allclose(pixels, [[0, 0], [100, 0], [100, 80], [0, 80]], atol=1e-9)


def test_world_up_without_and_with_cameras() -> None:
    np.testing.assert_array_equal(world_up([]), [0, 1, 0])
    ring = [pose(str(i), [4 * np.cos(i), 4 * np.sin(i), 1.0]) for i in range(6)]
    np.testing.assert_allclose(world_up(ring), [0, 0, 1], atol=0.1)


def test_shrunk_textures_keep_the_geometry(finished: Path) -> None:
    data = (finished / "scene.glb").read_bytes()
    before, binary_before = split_glb(data)
    after, binary_after = split_glb(shrink_textures(data))
    assert [image["mimeType"] for image in after["images"]] == ["image/jpeg"]
    assert after["accessors"] == before["accessors"]
    picture = before["images"][0]["bufferView"]
    for index, (old, new) in enumerate(
        zip(before["bufferViews"], after["bufferViews"], strict=True)
    ):
        a = binary_before[old["byteOffset"] :][: old["byteLength"]]
        b = binary_after[new["byteOffset"] :][: new["byteLength"]]
        assert new["byteOffset"] % 4 == 0
        assert (a == b) == (index != picture)
    assert after["buffers"][0]["byteLength"] == len(binary_after)


def test_a_mesh_too_large_for_the_page_is_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match="too many for this page"):
        viewer_data(finished / "scene.glb", [], NO_POINTS, None, 1000)


def test_split_glb_refuses_what_is_not_glb() -> None:
    with pytest.raises(ValueError, match="not a whole binary glTF"):
        split_glb(b"glTF" + struct.pack("<II", 2, 1000) + bytes(20))
    good = join_glb({"asset": {"version": "2.0"}}, b"12345")
    assert split_glb(good) == ({"asset": {"version": "2.0"}}, b"12345\0\0\0")
    with pytest.raises(ValueError, match="its JSON cannot be read"):
        split_glb(good.replace(b'{"asset', b'["asset'))


# --- drawings ---


def test_nice_ticks_by_hand() -> None:
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert nice_ticks(17.2, 30.9) == [20, 25, 30]
    assert nice_ticks(0, 0.8) == [0, 0.2, 0.4, 0.6, 0.8]
    assert nice_ticks(3, 3) == [3]


def test_line_chart_places_points_and_breaks_at_stages() -> None:
    chart = line_chart([0, 1, 2, 3], [0, 10, 0, 10], ["a", "a", "b", "b"], Axis("t"), Axis("y"))
    lines = re.findall(r'class="curve" points="([^"]+)"', chart)
    assert len(lines) == 2
    (x0, y0), (x1, y1) = ([float(v) for v in p.split(",")] for p in lines[0].split())
    assert x0 == 58 and y0 > y1 and x1 - x0 == pytest.approx((520 - 12 - 58) / 3, abs=0.1)
    assert line_chart([0], [1], ["a"], Axis("t"), Axis("y")) == ""


def test_log_axis_leaves_out_what_is_not_positive() -> None:
    chart = line_chart([0, 1, 2, 3], [1, 0, -1, 0.01], [""] * 4, Axis("t"), Axis("Loss", log=True))
    [points] = re.findall(r'class="raw" points="([^"]+)"', chart)
    assert len(points.split()) == 2
    assert ">0.1<" in chart and ">0.01<" in chart


def test_a_flat_curve_has_an_axis() -> None:
    assert "polyline" in line_chart([0, 1], [5, 5], ["", ""], Axis("t", "s"), Axis("y"))
    flat = line_chart([0, 1], [5, 5], ["", ""], Axis("t", "s"), Axis("y", log=True))
    assert "polyline" in flat and "t (s)" in flat


def test_camera_map_sees_a_ring_as_a_ring() -> None:
    ring = [
        pose(str(i), [4 * np.cos(i * np.pi / 2), 4 * np.sin(i * np.pi / 2), 2]) for i in range(4)
    ]
    drawing = camera_map(ring, NO_POINTS)
    dots = np.array(re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing), dtype=float)
    assert len(dots) == 8
    distance = np.linalg.norm(dots[:4] - [150, 130], axis=1)
    np.testing.assert_allclose(distance, distance[0], atol=0.2)
    [path, _] = re.findall(r'class="path" points="([^"]+)"', drawing)
    assert path == " ".join(f"{x:.1f},{y:.1f}" for x, y in dots[:4])
    # From the side, every camera is above the target.
    assert (dots[4:, 1] < 130).all()
    assert camera_map([], NO_POINTS) == ""


def test_camera_map_draws_points_within_the_picture() -> None:
    ring = [pose(str(i), [4 * np.cos(i), 4 * np.sin(i), 2]) for i in range(6)]
    points = np.array([[0, 0, 0], [0.5, 0.5, 0], [900, 0, 0]], np.float32)
    above, side = re.findall(r'class="specks" d="([^"]*)"', camera_map(ring, points))
    assert above.count("M") == 2 and side.count("M") == 2


def test_words() -> None:
    assert describe("light_angle_deg") == ("Light direction error", "°")
    assert describe("peak_memory_mb") == ("Peak memory", "MB")
    assert describe("seconds") == ("Time", "s")
    assert number(3.14159, "dB") == "3.14" and number(40962.0) == "40962"
    assert number(0.98712) == "0.9871" and number(0.00001234) == "1.234e-05"
    words = ["5 s", "1 min 15 s", "10 min", "1 h 2 min", "2 h"]
    assert [duration(t) for t in (5.4, 75, 600, 3725, 7200)] == words


def test_the_hand_made_run_is_what_a_fit_writes(finished: Path) -> None:
    """Guards the fixture: the scene in it is the one that the viewer is judged by."""
    assert len(torus_scene().objects[0].mesh.vertices) > 1000
    assert read_run(finished).missing == []


def test_a_glb_whose_json_or_texture_is_damaged_is_named(finished: Path) -> None:
    text = b"[" * 100_000
    deep = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text
    with pytest.raises(ValueError, match="its JSON cannot be read"):
        split_glb(deep)
    listed = struct.pack("<4sIIII", b"glTF", 2, 24, 4, 0x4E4F534A) + b"[1] "
    with pytest.raises(ValueError, match="its JSON is no object"):
        split_glb(listed)
    views = [{"byteLength": 20}]
    image = {"bufferView": 0, "mimeType": "image/png"}
    for description in (
        {"images": [image], "bufferViews": views},
        {"images": [image], "bufferViews": [{}]},
        {"images": 3, "bufferViews": views},
    ):
        with pytest.raises(ValueError, match="its textures cannot be read"):
            shrink_textures(join_glb(description, b"this is no picture.."))
