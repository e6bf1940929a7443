"""What is said of a file: real videos, whole, turned, cut and damaged, folders of frames and images."""

import av
import numpy as np
import pytest
from PIL import Image

from slowfast_mvit.data.inspect import DAMAGED, OK, UNREADABLE, Inspection, Request, inspect_file
from slowfast_mvit.data.video_pyav import PyAVReader


def look(path, full=False, **settings) -> Inspection:
    return inspect_file(Request(str(path), full=full, **settings))


@pytest.mark.parametrize("full", [False, True])
def test_whole_videos_of_every_kind_are_ok(video_sample, video_file, full):
    sample = video_file(video_sample)
    found = look(sample.path, full)
    assert (found.status, found.cause) == (OK, "")
    assert (found.width, found.height, found.frames) == (sample.width, sample.height, sample.num_frames)
    assert (found.codec, found.rotation) == (sample.codec_read, sample.rotation)
    assert found.duration == pytest.approx(sample.times[-1] + 1 / found.fps, abs=2e-3) and found.seconds > 0


def test_no_frame_of_a_whole_video_counts_as_damaged(video_sample, video_file):
    with PyAVReader(video_file(video_sample).path) as reader:
        assert reader.damaged_frames() == []


def test_a_turned_video_is_as_it_is_shown(video_file):
    found = look(video_file("rotated_90.mp4").path)
    assert (found.width, found.height, found.rotation) == (64, 96, 90)
    assert (found.frames, found.fps, found.codec, found.duration) == (40, 25.0, "h264", 1.6)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (b"no video but a text\n" * 50, "it is no video, or one that is cut short: Invalid data found"),
        (b"\0" * 5000, "it is no video, or one that is cut short"),
    ],
)
def test_what_is_no_video(tmp_path, content, cause):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    found = look(path)
    assert found.status == UNREADABLE and found.cause.startswith(cause)
    assert (found.width, found.frames, found.codec) == (None, None, "")


def test_a_missing_file(tmp_path):
    assert look(tmp_path / "no.mp4").cause == "there is no such file"


def cut(path, share, folder):
    data = path.read_bytes()
    copy = folder / f"cut_{path.name}"
    copy.write_bytes(data[: int(len(data) * share)])
    return copy


def test_a_cut_file_without_its_index(new_video, tmp_path):
    found = look(cut(new_video("index_last.mp4").path, 0.6, tmp_path))
    assert found.status == UNREADABLE and "cut short" in found.cause


def test_a_cut_file_with_its_index_first(new_video, tmp_path):
    path = new_video("fast.mp4", num_frames=120, container_options={"movflags": "+faststart"}).path
    found = look(cut(path, 0.7, tmp_path))
    assert found.status == DAMAGED and 0 < found.frames < 120
    assert found.cause.startswith(f"cut short: its header promises 120 frames, and it holds {found.frames}")


@pytest.mark.parametrize(("name", "codec"), [("v.mkv", "libx264"), ("v.webm", "libvpx-vp9"), ("v.avi", "mpeg4")])
def test_a_cut_file_beside_the_duration_in_its_header(new_video, tmp_path, name, codec):
    found = look(cut(new_video(f"{codec}_{name}", codec=codec, num_frames=120).path, 0.5, tmp_path))
    assert found.status == DAMAGED and found.cause.startswith(
        "cut short: its header promises 4.8 s, and its frames last "
    )


def test_sound_that_outlasts_the_pictures_is_no_cut(new_video):
    found = look(new_video("sound.mkv", num_frames=5, audio=True).path)  # 0.2 s of pictures, 1 s of sound
    assert (found.status, found.frames) == (OK, 5)


def test_damage_in_the_middle_is_found_cheaply_before_one_of_the_three_frames(new_video, damaged):
    path = damaged(new_video("long_gop.mp4", num_frames=60, gop=60).path, 20)  # frame 30 refers to it
    found = look(path)
    assert found.status == DAMAGED and found.cause.startswith("frame 30 of 60 refers to damaged data")


def test_damage_elsewhere_is_found_by_decoding_all(new_video, damaged):
    path = damaged(new_video("short_gop.mp4", num_frames=60, gop=10).path, 15)  # frames 0, 30 and 59 do not need it
    assert look(path).status == OK
    found = look(path, full=True)
    assert found.status == DAMAGED
    assert found.cause == "5 of 60 frames are damaged or missing: 15, 16, 17, 18, 19"  # to the end of their group


def test_patched_pictures_are_found_by_decoding_all(new_video, tmp_path):
    """Nonsense at the end of a packet: the decoder delivers a picture, and only its flag tells that it is made up."""
    path = new_video("patched.mp4", num_frames=60, gop=10, codec="mpeg4").path
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    start, size = places[15]
    noise = np.random.default_rng(0).integers(0, 256, size - size // 2, np.uint8).tobytes()
    data[start + size // 2 : start + size] = noise
    copy = tmp_path / "patched.mp4"
    copy.write_bytes(data)
    assert look(copy).status == OK
    assert look(copy, full=True).cause == "1 of 60 frames are damaged or missing: 15"


def test_a_damaged_end(new_video, damaged):
    path = damaged(new_video("end.mp4", num_frames=40, gop=10).path, 39)
    assert look(path).cause == "its last frame cannot be decoded"
    assert look(path, full=True).cause == "1 of 40 frames are damaged or missing: 39"


def test_decord_is_asked_where_it_will_read(new_video, damaged):
    pytest.importorskip("decord")
    whole = new_video("for_decord.mp4", num_frames=40).path
    assert look(whole, kind="decord").status == OK
    ts = look(new_video("stream.ts").path, kind="decord")
    assert ts.status == UNREADABLE and "not with mpegts" in ts.cause and ts.frames == 40


def test_folders_of_frames(frame_folder, tmp_path, paint):
    found = look(frame_folder.path, kind="frames", frame_fps=29.97)
    assert (found.status, found.frames, found.fps, found.codec, found.width) == (OK, 12, 29.97, "png", 96)
    for number in range(8):
        Image.fromarray(paint(number, 64, 96)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:100])
    assert look(tmp_path, kind="frames").status == OK  # 0, 4 and 7 are whole
    found = look(tmp_path, kind="frames", full=True)
    assert found.status == DAMAGED and found.cause.startswith("2.png is no readable image")


def test_listed_frames(frame_folder, tmp_path):
    files = tuple(str(frame_folder.path / f"frame_{number}.png") for number in (3, 1, 2))
    found = look(tmp_path, kind="frames", files=files, frame_fps=10)
    assert (found.status, found.frames, found.duration) == (OK, 3, 0.3)
    gone = str(tmp_path / "gone.jpg")
    for place in range(6):  # also where no frame is decoded
        listed = [*files, *files[:2]]
        listed.insert(place, gone)
        found = look(tmp_path, kind="frames", files=tuple(listed))
        assert (found.status, found.frames) == (DAMAGED, 6)
        assert found.cause == f"1 of its 6 listed images are not there, the first is {gone}"


def test_images(tmp_path):
    path = tmp_path / "a.JPEG"
    Image.fromarray(np.zeros((30, 50, 3), np.uint8)).save(path)
    found = look(path, kind="image")
    assert (found.status, found.width, found.height, found.frames, found.codec) == (OK, 50, 30, 1, "jpeg")
    path.write_bytes(path.read_bytes()[:-200])
    found = look(path, kind="image")
    assert found.status == UNREADABLE and "truncated" in found.cause.lower()
