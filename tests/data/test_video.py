"""One contract for all readers of video, on real files, and plain errors for all that are none."""

import importlib.util
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from slowfast_mvit.data.video import VideoError, VideoReader, open_video
from slowfast_mvit.data.video_index import Stamp, average_rate, index_packets, is_closed, starting_positions
from slowfast_mvit.errors import UserError

HAS_DECORD = importlib.util.find_spec("decord") is not None
NEEDS_DECORD = pytest.mark.skipif(not HAS_DECORD, reason="decord is not installed")
BACKENDS = ["pyav", pytest.param("decord", marks=NEEDS_DECORD)]
RED, BLUE = (230, 20, 20), (20, 20, 230)
REFUSED_BY_DECORD = {"late_start.ts": "not with mpegts; use pyav", "bare.h264": "not with h264; use pyav"}


@pytest.fixture
def check_contract(read_numbers, corner_colours):
    """What every reader must do with every sample."""

    def check(sample, backend, **options):
        n, size = sample.num_frames, (sample.height, sample.width)
        random = np.random.default_rng(0).integers(0, n, 12).tolist()
        with open_video(sample.path, backend, **options) as video:
            assert isinstance(video, VideoReader) and video.backend == backend
            assert (video.num_frames, video.codec, video.rotation) == (n, sample.codec_read, sample.rotation)
            assert (video.height, video.width) == size
            check_times(video, sample)
            for indices in (
                [0],
                [n - 1],
                list(range(n))[::-1],
                [n // 2] * 3,
                random,
                sorted(random),
                [n - 1, 0, n - 1],
            ):
                frames = video.frames_at(indices)
                assert frames.shape == (len(indices), *size, 3)
                assert frames.dtype == np.uint8 and frames.flags.c_contiguous and frames.flags.owndata
                assert read_numbers(frames) == indices
                assert video.missing == ()
            # Red at the bottom left and blue at the bottom right: not so in BGR, nor after any wrong turn.
            np.testing.assert_allclose(corner_colours(frames[0]), [RED, BLUE], atol=25)
            assert video.frames_at([]).shape == (0, *size, 3)

    return check


def check_times(video, sample):
    times = video.timestamps()
    assert times.dtype == np.float64 and times.shape == (sample.num_frames,) and times[0] == 0
    milliseconds = sample.path.suffix in (".mkv", ".webm")  # all that Matroska keeps
    np.testing.assert_allclose(times, sample.times, rtol=0, atol=1.01e-3 if milliseconds else 1e-6)
    assert isinstance(video.fps, Fraction)
    if sample.name == "irregular.mp4":
        assert abs(video.fps * Fraction(times[-1]) / (sample.num_frames - 1) - 1) < 0.03
    else:
        assert video.fps == sample.rate


@pytest.mark.parametrize("backend", BACKENDS)
def test_contract(backend, video_sample, video_file, check_contract):
    sample = video_file(video_sample)
    if backend == "decord" and sample.name in REFUSED_BY_DECORD:
        with pytest.raises(VideoError, match=REFUSED_BY_DECORD[sample.name]):
            open_video(sample.path, backend)
        return
    check_contract(sample, backend)


def test_contract_of_a_folder(frame_folder, check_contract):
    check_contract(frame_folder, "frames", frame_fps=29.97)


@NEEDS_DECORD
@pytest.mark.parametrize("name", ["b_frames.mp4", "rotated_90.mp4", "vp9.webm", "odd_size.mp4", "mpeg4.avi"])
def test_backends_agree_on_pixels(name, video_file):
    indices = [3, 20, 39]
    with open_video(video_file(name).path) as one, open_video(video_file(name).path, "decord") as other:
        difference = np.abs(one.frames_at(indices).astype(int) - other.frames_at(indices))
    assert difference.mean() < 2 and np.quantile(difference, 0.99) < 25


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 39), max_size=20), name=st.sampled_from(["open_gop.mp4", "b_frames.mkv"]))
def test_any_list_of_indices(indices, name, video_file, read_numbers):
    with open_video(video_file(name).path) as video:
        assert read_numbers(video.frames_at(np.asarray(indices, dtype=np.int32))) == indices


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_one_at_a_time_is_all_at_once(backend, video_sample, video_file):
    """Every kind of file: the same pictures in the order asked for, decoded once."""
    if backend == "decord":
        pytest.importorskip("decord")
    sample = video_file(video_sample)
    try:
        opened = open_video(sample.path, backend)
    except VideoError:
        pytest.skip("decord is not trusted with it")
    with opened as video:
        wanted = range(0, video.num_frames, 3)
        expected = video.frames_at(wanted)
        before = getattr(video, "num_decoded", 0)
        found = list(video.pictures(wanted))
        decoded = getattr(video, "num_decoded", 0) - before
    assert [index for index, _ in found] == list(wanted)
    assert all(np.array_equal(picture, frame) for (_, picture), frame in zip(found, expected, strict=True))
    if video_sample.name not in ("gradual_refresh.mkv", "vp9_hidden.webm"):
        assert decoded <= sample.num_frames


def test_one_at_a_time_of_a_folder(frame_folder, read_numbers):
    with open_video(frame_folder.path, "frames") as video:
        assert [(index, read_numbers([picture])) for index, picture in video.pictures([2, 7])] == [(2, [2]), (7, [7])]
        assert list(video.pictures([])) == []
        for wrong in ([3, 3], [4, 3]):
            with pytest.raises(ValueError, match="ascending and distinct"):
                list(video.pictures(wrong))
        with pytest.raises(IndexError):
            list(video.pictures([12]))


def test_one_at_a_time_stops_at_a_hole(new_video, damaged, read_numbers):
    """With the frames before it given, and few of those after it held."""
    broken = damaged(new_video("long_hole.mp4", num_frames=120, gop=10).path, 31)
    with open_video(broken) as video:
        pictures, found = video.pictures(range(120)), []
        with pytest.raises(VideoError, match=r"frame 3[12] of 120"):
            for _, picture in pictures:
                found.append(picture)
        assert read_numbers(found)[:30] == list(range(30))
        assert video.num_converted < 60


def test_one_at_a_time_a_lost_end_is_filled(video_file, damaged, read_numbers):
    with open_video(damaged(video_file("plain.mp4").path, 38, 39)) as video:
        found = read_numbers([picture for _, picture in video.pictures(range(30, 40))])
        assert found == [*range(30, 38), 37, 37] and video.missing == (38, 39)


def test_pre_roll_of_an_edit_list_is_not_shown(video_file, tmp_path, read_numbers):
    path = (
        tmp_path / "edited.mp4"
    )  # as left by cutting without encoding: packets 0 to 4 are only there to decode others
    with (
        av.open(str(video_file("b_frames.mp4").path)) as whole,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as edited,
    ):
        stream = edited.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                packet.pts -= round(Fraction(5, 25) / packet.time_base)
                packet.dts -= round(Fraction(5, 25) / packet.time_base)
                packet.stream = stream
                edited.mux(packet)
    with open_video(path) as video:
        assert (video.num_frames, video.num_packets, video.fps) == (35, 40, 25)
        assert read_numbers(video.frames_at([34, 0, 9, 1])) == [39, 5, 14, 6]
        np.testing.assert_allclose(video.timestamps(), np.arange(35) / 25, atol=1e-6)
    if HAS_DECORD:
        with pytest.raises(VideoError, match="5 of its packets are not to be shown, and decord cannot tell which"):
            open_video(path, "decord")


def test_keyframes_that_are_none(new_video, tmp_path, read_numbers):
    path = tmp_path / "all_keys.flv"  # calls every frame a keyframe, as careless writers do; no parser corrects it
    with av.open(str(new_video("sorenson.flv", codec="flv").path)) as whole, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                packet.is_keyframe, packet.stream = True, stream
                copy.mux(packet)
    with open_video(path) as video:
        assert len(video.packets.keys) == 40
        for index in (38, 5, 20, 1):
            assert read_numbers(video.frames_at([index])) == [index]
        assert read_numbers(video.frames_at([20, 38, 5])) == [20, 38, 5]
        before = video.num_decoded
        assert read_numbers(video.frames_at([5, 15, 30])) == [5, 15, 30]
        assert video.num_decoded - before <= 31  # found out once, then read from the beginning at once


# Time


def test_interval_is_half_open(video_file):
    with open_video(video_file("late_start.mp4").path) as video:  # 25 fps, its stamps begin at 5 s
        assert video.frames_between(0, 1).tolist() == list(range(25))
        assert video.frames_between(0.2, 0.28).tolist() == [5, 6]
        noisy = 0.1 + 0.02  # 0.12000000000000001, past frame 3 by floating-point noise only
        assert video.frames_between(noisy, 0.2).tolist() == [3, 4]
        assert video.frames_between(0, noisy).tolist() == [0, 1, 2]
        assert video.frames_between(-1, 0).tolist() == []
        assert video.frames_between(-1, 99).tolist() == list(range(40))
        assert video.frames_between(0.5, 0.5).tolist() == []
        for start, end in ((1, 0), (float("nan"), 1)):
            with pytest.raises(ValueError, match="must not end before it starts"):
                video.frames_between(start, end)


def test_times_are_exact(video_file):
    with open_video(video_file("ntsc.mp4").path) as video:
        assert video.fps == Fraction(30000, 1001)
        assert video.timestamps().tolist() == [index * 1001 / 30000 for index in range(40)]


def test_rate_comes_from_the_frames_where_the_header_lies():
    stamps = [Stamp(pts, pts, pts, pts == 0, True) for pts in (0, 100, 200, 300)]
    index = index_packets(stamps, Fraction(1, 1000))
    assert average_rate(index, [None, Fraction(30), Fraction(10)]) == 10
    assert average_rate(index, [Fraction(30)]) == 10
    assert average_rate(index, [Fraction(0)]) == 10
    one = index_packets(stamps[:1], Fraction(1, 1000))
    assert average_rate(one, [Fraction(24)]) == 24
    assert average_rate(one, [None]) == 1


def test_index_of_open_and_closed_groups():
    def indexed(pts, keys, hidden=()):
        stamps = [Stamp(p, n, n, n in keys, n not in hidden) for n, p in enumerate(pts)]
        return index_packets(stamps, Fraction(1, 25))

    closed = indexed([0, 2, 1, 3, 5, 4], {0, 3})
    assert closed.positions.tolist() == [0, 2, 1, 3, 5, 4] and is_closed(closed)
    assert starting_positions(closed).tolist() == [0, 0, 0, 3, 3, 3]
    opened = indexed([0, 2, 1, 5, 3, 4, 6], {0, 3})  # 3 and 4 are shown before the keyframe at 5 that they follow
    assert opened.positions.tolist() == [0, 2, 1, 4, 5, 3, 6] and not is_closed(opened)
    assert starting_positions(opened).tolist() == [0, 0, 0, 0, 0, 3, 3]
    hidden = indexed([-2, -1, 0, 1], {0}, hidden={0, 1})  # an edit list's pre-roll
    assert hidden.positions.tolist() == [2, 3] and hidden.ticks.tolist() == [0, 1]
    assert starting_positions(hidden).tolist() == [0, 0]


# Work


def test_only_wanted_frames_are_converted(new_video):
    sample = new_video("ten_seconds.mp4", num_frames=250, gop=250, b_frames=3)
    with open_video(sample.path) as video:
        before = video.num_decoded
        video.frames_at([*range(100, 132, 2), 110, 100])
        assert video.num_converted == 16
        assert 131 <= video.num_decoded - before <= 131 + 6


def test_unneeded_groups_are_skipped(new_video):
    sample = new_video("many_groups.mp4", num_frames=200, gop=10, b_frames=0)
    with open_video(sample.path) as video:
        before = video.num_decoded
        video.frames_at([195, 3, 101])
        assert video.num_decoded - before <= 4 + 2 + 6 + 3  # from keyframes 0, 100 and 190
        before = video.num_decoded
        video.frames_at(range(50, 70))
        assert video.num_decoded - before <= 20 + 3  # once each, though two groups


def test_open_groups_are_entered_at_their_keyframes(video_file, read_numbers):
    with open_video(video_file("open_gop.mp4").path) as video:
        before = video.num_decoded
        assert read_numbers(video.frames_at([39])) == [39]
        assert video.num_decoded - before <= 12 + 3 + 4  # a group, the frames led over from the one before, the delay


def test_one_decoder_thread(video_file):
    with open_video(video_file("plain.mp4").path) as video:
        assert video._stream.codec_context.thread_count == 1


def test_opening_many_videos_leaks_nothing(video_file):
    sample = video_file("b_frames.mp4")
    script = (
        "import os, sys\n"
        "from slowfast_mvit.data.video import VideoError, open_video\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20\n"
        "def use():\n"
        "    with open_video(sys.argv[1]) as video: video.frames_at([0, 20])\n"
        "    try: open_video(sys.argv[2])\n"
        "    except VideoError: pass\n"
        "for _ in range(20): use()\n"
        "before, files = resident(), len(os.listdir('/proc/self/fd'))\n"
        "for _ in range(200): use()\n"
        "print(resident() - before, len(os.listdir('/proc/self/fd')) - files)\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    run = [sys.executable, "-c", script, str(sample.path), __file__]
    grown, files = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert float(grown) < 8 and int(files) == 0


# Damage


def test_lost_end_is_filled_and_reported(video_file, damaged, read_numbers):
    path = damaged(video_file("plain.mp4").path, -1, -2)
    with open_video(path) as video:
        assert video.num_frames == 40
        assert read_numbers(video.frames_at([39, 0, 38, 37, 38])) == [37, 0, 37, 37, 37]
        assert video.missing == (38, 39)
        assert read_numbers(video.frames_at([5])) == [5] and video.missing == ()


def test_file_cut_short(new_video, read_numbers):
    sample = new_video("cut.mp4", b_frames=2, container_options={"movflags": "faststart"})
    with av.open(str(sample.path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
        stop = packet.pos + 5
    sample.path.write_bytes(sample.path.read_bytes()[:stop])
    with open_video(sample.path) as video:
        assert video.num_frames == 21  # what is in the file, not what its header promises
        numbers = read_numbers(video.frames_at(range(21)))
        lost = [index for index, number in enumerate(numbers) if number != index]
        assert lost == list(video.missing) and len(lost) == 1 and numbers[lost[0]] == lost[0] - 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_damage_in_the_middle(backend, video_file, damaged, read_numbers):
    path = damaged(video_file("plain.mp4").path, 20)  # keyframes at 0, 12, 24, 36
    for index in (20, 21):
        with open_video(path, backend) as video, pytest.raises(VideoError, match=f"frame {index} of 40"):
            video.frames_at([index])
    with open_video(path) as video:
        assert read_numbers(video.frames_at([0, 12, 19, 24, 39])) == [0, 12, 19, 24, 39]
        with pytest.raises(VideoError, match="frame 21 of 40 refers to damaged data"):
            video.frames_at([12, 21, 39])


def test_damaged_start(video_file, damaged):
    with pytest.raises(VideoError, match="its first 12 frames cannot be decoded"):
        open_video(damaged(video_file("plain.mp4").path, 0))


def test_cut_transport_stream_begins_at_its_first_whole_frame(video_file, tmp_path, read_numbers):
    whole = video_file("late_start.ts").path
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "cut.ts"
    path.write_bytes(whole.read_bytes()[packets[3].pos // 188 * 188 :])
    with open_video(path) as video:
        numbers = read_numbers(video.frames_at(range(video.num_frames)))
        assert numbers[0] >= 12 and numbers == list(range(numbers[0], 40))
        assert video.timestamps()[0] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_video(backend, tmp_path, video_file):
    def write(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    whole = video_file("plain.mp4").path.read_bytes()
    cases = {
        tmp_path / "none.mp4": "there is no such file",
        tmp_path: "it is a folder, not a video file",
        write("empty.mp4", b""): "the file is empty",
        write("text.mp4", b"no video at all\n" * 100): "it is no video, or one that is cut short: Invalid data",
        write("no_index.mp4", whole[: len(whole) // 2]): "it is no video, or one that is cut short: Invalid data",
    }
    for path, cause in cases.items():
        with pytest.raises(VideoError) as caught:
            open_video(path, backend)
        assert caught.value.cause.startswith(cause) and caught.value.path == str(path)
        assert str(caught.value).startswith(f"cannot read {path} with {backend}: {cause}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_without_pictures(backend, tmp_path):
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame) + stream.encode())
    with pytest.raises(VideoError, match="with " + backend + ": it holds no video stream"):
        open_video(sound, backend)
    nothing = tmp_path / "nothing.avi"
    with av.open(str(nothing), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match="it holds no frames"):
        open_video(nothing, backend)


def test_error_survives_the_way_between_processes(tmp_path):
    with pytest.raises(VideoError) as caught:
        open_video(tmp_path / "none.mp4")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, VideoError) and str(copy) == str(caught.value)
    assert (copy.path, copy.backend, copy.cause) == (str(tmp_path / "none.mp4"), "pyav", "there is no such file")
    assert str(VideoError("/x/y.mp4", "pyav", "it holds no video stream")) == (
        "cannot read /x/y.mp4 with pyav: it holds no video stream"
    )


def test_wrong_use(video_file):
    path = video_file("plain.mp4").path
    with pytest.raises(ValueError, match="unknown video backend 'opencv': choose one of pyav, decord, frames"):
        open_video(path, "opencv")
    with open_video(path) as video:
        for index in (-1, 40):
            with pytest.raises(IndexError, match=f"frame {index} is out of range: .*plain.mp4 has frames 0 to 39"):
                video.frames_at([0, index])
        for indices in ([0.0, 1.0], [[0, 1]], [True, False]):
            with pytest.raises(ValueError, match="flat list of integers"):
                video.frames_at(indices)
    with pytest.raises(ValueError, match="closed"):
        video.frames_at([0])
    video.close()


def test_missing_decord_is_said_in_a_sentence(video_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(UserError, match="backend 'decord' needs the package decord"):
        open_video(video_file("plain.mp4").path, "decord")


# Folders of images


def test_folder_is_in_natural_order_and_rgb(tmp_path):
    for name, colour in (("img_10.jpg", BLUE), ("img_9.JPG", RED), ("._img_1.jpg", BLUE), ("notes.txt", BLUE)):
        with (tmp_path / name).open("wb") as file:
            Image.new("RGB", (32, 24), colour).save(file, format="jpeg", quality=95)
    with open_video(tmp_path, "frames") as video:
        assert (video.num_frames, video.fps, video.height, video.width, video.codec) == (2, 30, 24, 32, "jpeg")
        np.testing.assert_allclose(video.frames_at([0, 1])[:, 12, 16], [RED, BLUE], atol=6)
        assert video.timestamps().tolist() == [0, 1 / 30]


def test_folder_ignores_exif_and_palettes(tmp_path, paint, read_numbers):
    exif = Image.Exif()
    exif[0x0112] = 6  # asks to be turned; readers of frames take the pixels as stored
    Image.fromarray(paint(5, 64, 96)).save(tmp_path / "1.jpg", exif=exif, quality=95)
    Image.fromarray(paint(6, 64, 96)).convert("P").save(tmp_path / "2.png")
    Image.fromarray(paint(7, 64, 96)).save(tmp_path / "3.webp", lossless=True)
    with open_video(tmp_path, "frames", frame_fps=Fraction(30000, 1001)) as video:
        assert read_numbers(video.frames_at([0, 1, 2])) == [5, 6, 7]
        assert video.fps == Fraction(30000, 1001)


def test_no_image_is_opened_before_it_is_asked_for(frame_folder, read_numbers, monkeypatch):
    files, real = [], Image.open
    monkeypatch.setattr(
        Image, "open", lambda file, *args, **kwargs: (files.append(file), real(file, *args, **kwargs))[1]
    )
    with open_video(frame_folder.path, "frames") as video:
        assert (video.num_frames, len(video.timestamps())) == (12, 12) and files == []
        assert read_numbers(video.frames_at([4, 2, 4])) == [4, 2, 4]
        assert [file.name for file in files] == ["frame_2.png", "frame_4.png"]
        assert (video.height, video.width, video.codec) == (64, 96, "png") and len(files) == 2
    with open_video(frame_folder.path, "frames") as video:
        assert (video.width, video.height, video.codec) == (96, 64, "png") and len(files) == 3


def test_bad_folders(tmp_path, frame_folder):
    with pytest.raises(VideoError, match="with frames: there is no such folder"):
        open_video(tmp_path / "none", "frames")
    with pytest.raises(VideoError, match="it holds no images"):
        open_video(tmp_path, "frames")
    with pytest.raises(VideoError, match="it is a file, not a folder"):
        open_video(frame_folder.path / "frame_0.png", "frames")
    with pytest.raises(ValueError, match="frame_fps must be positive"):
        open_video(frame_folder.path, "frames", frame_fps=0)
    Image.new("RGB", (32, 24)).save(tmp_path / "1.png")
    Image.new("RGB", (24, 32)).save(tmp_path / "2.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "1.png").read_bytes()[:50])
    (tmp_path / "4.png").write_text("no image")
    with open_video(tmp_path, "frames") as video:
        assert video.frames_at([0, 0]).shape == (2, 24, 32, 3)
        with pytest.raises(VideoError, match=r"2\.png is 24x32 while 1\.png is 32x24"):
            video.frames_at([0, 1])
        (tmp_path / "2.png").unlink()
        with pytest.raises(VideoError, match=r"there is no file .*2\.png"):
            video.frames_at([1])
        for index, name in ((2, "3"), (3, "4")):
            with pytest.raises(VideoError, match=rf"{name}\.png is no readable image"):
                video.frames_at([index])
