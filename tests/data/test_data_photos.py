"""Photos without cameras: folders and videos; and photos that cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest
from capture_files import expect_error, write_image, write_text
from PIL import Image

from invgraph.data import Frame, read_capture
from invgraph.data.cache import cache_folder
from invgraph.data.frame import make_lens
from invgraph.data.video import read_video

# Folders


def test_a_folder_of_photos(tmp_path):
    for name in ("p10.png", "p9.JPG", ".hidden.png", "notes.txt"):
        if name.endswith("txt"):
            write_text(tmp_path / name, "no photo")
        else:
            write_image(tmp_path / name, size=(12, 16) if "9" in name else (5, 7))
    write_image(tmp_path / "masks/p9.png", 255, "L")
    capture = read_capture(tmp_path)
    assert capture.kind == "photos" and not capture.has_cameras and not capture.has_masks
    # Counting order, and sizes may differ.
    assert [(frame.name, frame.size) for frame in capture.frames] == [
        ("p9", (12, 16)),
        ("p10", (5, 7)),
    ]
    image, mask = capture.frames[0].load()
    assert image.shape == (12, 16, 3) and mask is not None and mask.min().item() == 1


def test_photos_in_images_and_turned_ones(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "images").mkdir()
    for name in "ab":
        Image.new("RGB", (16, 12)).save(tmp_path / f"images/{name}.jpg", exif=exif)
    frames = read_capture(tmp_path).frames
    assert [frame.size for frame in frames] == [(16, 12)] * 2
    assert frames[0].load()[0].shape == (16, 12, 3)


def test_unreadable_photos_are_left_out_and_listed(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "d.jpg").symlink_to(tmp_path / "nowhere.jpg")
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["a", "c"]
    assert [reason.split(":")[0] for reason in capture.skipped] == ["b.png", "d.jpg"]
    assert "cannot be decoded" in capture.skipped[0] and "is missing" in capture.skipped[1]
    (tmp_path / "c.png").unlink()
    expect_error(
        tmp_path, r"1 photo found that can be read.* at least 2 \(2 left out; first b\.png"
    )


def test_photos_that_are_cut_off_are_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("a.png", "b.png", "c.jpg", "d.jpg", "e.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
    for name in ("b.png", "d.jpg"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with (tmp_path / "e.jpg").open("ab") as file:
        file.write(b"what a phone adds")
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["a", "c", "e"]
    assert [reason.split(":")[0] for reason in capture.skipped] == ["b.png", "d.jpg"]
    assert all("cannot be decoded" in reason for reason in capture.skipped)


def test_photos_listed_twice_are_taken_once(tmp_path):
    pose = np.eye(4).tolist()
    names = ["a.png", "b.png", "sub/../a.png"]
    frames = [{"file_path": name, "transform_matrix": pose} for name in names]
    write_text(tmp_path / "transforms.json", json.dumps({"fl_x": 9, "frames": frames}))
    (tmp_path / "sub").mkdir()
    for name in names[:2]:
        write_image(tmp_path / name)
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["a", "b"]
    [reason] = capture.skipped
    assert "is listed twice" in reason


def test_links_out_of_the_folder_are_refused(tmp_path):
    write_image(tmp_path / "secret.png")
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "capture" / name)
    (tmp_path / "capture/c.png").symlink_to(tmp_path / "secret.png")
    expect_error(tmp_path / "capture", "leaves the capture's folder")


def test_transforms_go_on_without_a_missing_photo(tmp_path):
    pose = np.eye(4).tolist()
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose} for i in range(3)]
    write_text(tmp_path / "transforms.json", json.dumps({"fl_x": 9, "frames": frames}))
    for index in (0, 2):
        write_image(tmp_path / f"{index}.png")
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["0", "2"]
    [reason] = capture.skipped
    assert reason.startswith("1.png: ") and reason.endswith("restore it or remove its frame.")


def test_what_is_missing_is_said_with_its_remedy(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
    capture = read_capture(tmp_path)
    for refuse, message in (
        (capture.require_cameras, r"2 of 2 photos have no camera \(first .*a\.png\); estimate"),
        (lambda: capture.frames[0].known_camera, r"a\.png has no camera; estimate the cameras"),
        (capture.bounds, r"b\.png has no camera; estimate"),
        (capture.require_masks, r"2 of 2 photos have no mask \(first .*a\.png\); add masks"),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()


def test_a_fit_of_few_photos_without_masks_is_refused_in_one_line(tmp_path, capsys):
    from invgraph.cli import main

    for name in "ab":
        write_image(tmp_path / f"photos/{name}.png")
    assert main(["fit", str(tmp_path / "photos"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "photos without masks besides those held out, but a place needs at least 3" in error
    assert error.splitlines()[-1].startswith("invgraph: photos: 1 photos without masks")
    assert "Traceback" not in error and not (tmp_path / "run").exists()


def test_a_frame_and_its_camera_agree_in_size(tmp_path):
    lens = make_lens((9.0, 9.0), (3.0, 3.0), (6, 6))
    with pytest.raises(ValueError, match=r"a\.png is 12x16 \(h x w\) but its camera is 6x6"):
        Frame("a", None, tmp_path / "a.png", (12, 16), lens=lens)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.png", "is one photo; give the folder"), ("a.txt", "is no capture; give a folder, a vid")],
)
def test_single_files_are_refused(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"x")
    expect_error(tmp_path / name, message)


@pytest.mark.slow
def test_of_ten_thousand_photos_only_headers_are_read(tmp_path, monkeypatch):
    write_image(tmp_path / "0.png")
    for index in range(1, 10_000):
        (tmp_path / f"{index}.png").hardlink_to(tmp_path / "0.png")

    def refuse(*_: object) -> None:
        raise AssertionError("a photo was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    capture = read_capture(tmp_path)
    assert len(capture.frames) == 10_000 and capture.frames[9999].name == "9999"
    with pytest.raises(AssertionError, match="a photo was decoded"):
        capture.frames[0].load()


# Videos


def picture(shift: int, blur: bool = False, size=(96, 128)) -> np.ndarray:
    """A window of a fixed random pattern; red brightens downwards."""
    from scipy import ndimage

    pattern = np.random.default_rng(5).random((size[0] // 4, 200)).repeat(4, 0).repeat(4, 1)
    grey = pattern[:, 3 * shift : 3 * shift + size[1]]
    grey = ndimage.uniform_filter(grey, 13) if blur else grey
    image = np.stack([grey] * 3, -1) * 120 + 40
    image[..., 0] += np.linspace(0, 90, size[0])[:, None]
    return image.astype(np.uint8)


def write_video(path: Path, images: list[np.ndarray], rotation=0, rate=10) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 8_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def test_duplicates_and_blur_are_dropped(tmp_path):
    images = [picture(i, blur=i in (4, 9)) for i in range(12)]
    images[6:6] = [images[5]] * 2
    write_video(tmp_path / "v.mp4", images)
    capture = read_video(tmp_path / "v.mp4", work=tmp_path / "work")
    dropped = {reason.split(":")[0]: reason for reason in capture.skipped}
    assert set(dropped) == {"frame_000004", "frame_000006", "frame_000007", "frame_000011"}
    assert "blurred" in dropped["frame_000004"] and "blurred" in dropped["frame_000011"]
    assert dropped["frame_000006"].endswith("looks like frame_000005")
    assert len(capture.frames) == 10 and capture.name == "v"
    assert [frame.time for frame in capture.frames[:3]] == pytest.approx([0, 0.1, 0.2])
    assert capture.frames[-1].time == pytest.approx(1.3)
    shown = np.asarray(Image.open(capture.frames[3].image_path)).astype(int)
    assert np.abs(shown - picture(3)).mean() < 8


def test_the_sharpest_of_each_stride_is_taken(tmp_path):
    images = [picture(i, blur=i % 3 != 1) for i in range(12)]
    write_video(tmp_path / "v.mp4", images)
    capture = read_video(tmp_path / "v.mp4", stride=3, work=tmp_path / "work")
    assert [frame.name for frame in capture.frames] == [f"frame_{i:06d}" for i in (1, 4, 7, 10)]
    with pytest.raises(ValueError, match="stride is 0, expected at least 1"):
        read_video(tmp_path / "v.mp4", stride=0)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path, rotation):
    write_video(tmp_path / "v.mp4", [picture(i) for i in range(2)], rotation)
    frame = read_video(tmp_path / "v.mp4", work=tmp_path / "work").frames[0]
    # The metadata's angle is counterclockwise, as numpy's quarter turns.
    expected = np.rot90(picture(0), rotation // 90).astype(int)
    shown = np.asarray(Image.open(frame.image_path)).astype(int)
    assert frame.size == expected.shape[:2] == shown.shape[:2]
    assert np.abs(shown - expected).mean() < 8


def test_a_video_is_decoded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("INVGRAPH_CACHE", str(tmp_path / "cache"))
    write_video(tmp_path / "c/v.mp4", [picture(i) for i in range(4)])
    # A folder with one video is that video.
    first = read_capture(tmp_path / "c")
    assert first.kind == "video"
    [folder] = (tmp_path / "cache/videos").iterdir()
    path = first.frames[2].image_path
    assert path.parent == folder
    before = path.stat().st_mtime_ns
    assert read_capture(tmp_path / "c/v.mp4").frames[2].image_path.stat().st_mtime_ns == before
    # A frame that is gone, or a broken index, means decoding again.
    for damage in (path.unlink, lambda: (folder / "index.json").write_text("{")):
        damage()
        again = read_capture(tmp_path / "c/v.mp4")
        assert len(again.frames) == 4 and path.is_file()
    for text in ("[]", "null", '{"frames": 3}', '{"frames": [3], "skipped": []}', "[" * 100_000):
        (folder / "index.json").write_text(text)
        assert len(read_capture(tmp_path / "c/v.mp4").frames) == 4, text[:20]
    # So does another video under the same name.
    write_video(tmp_path / "c/v.mp4", [picture(i) for i in range(5)])
    assert len(read_capture(tmp_path / "c/v.mp4").frames) == 5
    write_video(tmp_path / "c/w.mp4", [picture(0)])
    expect_error(tmp_path / "c", r"holds 2 videos, name one of them, such as v\.mp4")
    expect_error(tmp_path / "c/w.mp4", "1 photo found, a capture needs at least 2")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("INVGRAPH_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "invgraph"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/invgraph"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library/Caches/invgraph"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local/invgraph"


def test_bad_videos_are_named(tmp_path):
    video = tmp_path / "v.mp4"
    video.write_bytes(b"no video at all")
    with pytest.raises(ValueError, match=r"v\.mp4 cannot be decoded as a video .*H\.264"):
        read_video(video, work=tmp_path / "work")
    video.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be decoded as a video"):
        read_video(video, work=tmp_path / "work")
    with pytest.raises(ValueError, match=r"x\.mp4 does not exist; give a video"):
        read_video(tmp_path / "x.mp4")
    # Nothing half done is left behind.
    assert list((tmp_path / "work").iterdir()) == []
    import av

    with av.open(str(tmp_path / "s.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 44100
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    with pytest.raises(ValueError, match=r"s\.mp4 has no pictures, only sound"):
        read_video(tmp_path / "s.mp4", work=tmp_path / "work")


def test_damaged_frames_are_listed(tmp_path):
    video = tmp_path / "v.avi"
    write_video(video, [picture(i) for i in range(20)])
    data = bytearray(video.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    video.write_bytes(data)
    capture = read_video(video, work=tmp_path / "work")
    assert 2 <= len(capture.frames) < 20
    lost = [int(reason.split()[0]) for reason in capture.skipped if "announced" in reason]
    assert len(capture.frames) + len(capture.skipped) - len(lost) + sum(lost) == 20


def test_a_recorded_drive(data_dir, tmp_path):
    capture = read_video(data_dir("highway_video") / "test_video.mp4", stride=8, work=tmp_path)
    assert len(capture.frames) == 5 and capture.frames[0].size == (720, 1280)
    assert capture.frames[-1].time is not None and 1.2 < capture.frames[-1].time < 1.5


@pytest.mark.parametrize(
    ("name", "count", "size"), [("camvid_drive", 101, (360, 480)), ("desk_objects", 99, (480, 640))]
)
def test_recorded_photos(data_dir, name, count, size):
    capture = read_capture(data_dir(name))
    assert capture.kind == "photos" and len(capture.frames) == count and not capture.skipped
    assert {frame.size for frame in capture.frames} == {size}
