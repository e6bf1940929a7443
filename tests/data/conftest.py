"""Small real videos for the tests of the readers, each frame with its number painted in its pixels."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

NUM_BITS, COLUMNS = 12, 4
ROWS = NUM_BITS // COLUMNS + 1  # the last row holds colours: red on the left, blue on the right
RED, BLUE = (230, 20, 20), (20, 20, 230)


def paint(number: int, height: int, width: int) -> np.ndarray:
    """A picture uint8 [height, width, 3] that says `number`: 12 bits as white and black cells over red and blue."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    for bit in range(NUM_BITS):
        picture[cell(bit, height, width)] = 255 * (number >> bit & 1)
    for bit in range(NUM_BITS, NUM_BITS + COLUMNS):
        picture[cell(bit, height, width)] = RED if bit < NUM_BITS + COLUMNS // 2 else BLUE
    return picture


def cell(bit: int, height: int, width: int, margin: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns of the cell of `bit`, less a margin on each side (a share of the cell)."""
    row, column = divmod(bit, COLUMNS)
    down, across = height / ROWS, width / COLUMNS
    return (
        slice(round((row + margin) * down), round((row + 1 - margin) * down)),
        slice(round((column + margin) * across), round((column + 1 - margin) * across)),
    )


def read_number(picture: np.ndarray) -> int:
    """The number painted in a picture; fails where a cell is neither black nor white."""
    number = 0
    for bit in range(NUM_BITS):
        light = picture[cell(bit, *picture.shape[:2], margin=0.25)].mean()
        assert light < 80 or light > 175, f"the cell of bit {bit} is grey: {light}"
        number |= int(light > 127) << bit
    return number


@dataclass(frozen=True)
class Sample:
    """How a test video is written, and what a reader must say of it."""

    name: str
    codec: str = "libx264"
    num_frames: int = 40
    height: int = 64  # as shown
    width: int = 96
    rate: Fraction = Fraction(25)
    pix_fmt: str = "yuv420p"
    gop: int = 12
    b_frames: int = 0
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    rotation: int = 0  # degrees clockwise
    time_base: Fraction | None = None
    ticks: tuple[int, ...] = ()  # time stamps; one tick per frame where empty
    audio: bool = False
    codec_read: str = "h264"
    path: Path = Path()

    @property
    def times(self) -> np.ndarray:
        base = self.time_base or 1 / self.rate
        ticks = self.ticks or range(self.num_frames)
        return np.asarray([float((tick - ticks[0]) * base) for tick in ticks])


IRREGULAR = tuple(np.cumsum([20, 30, 13, 90, 7] * 8).tolist())
FASTSTART = {"movflags": "+faststart"}

SAMPLES = [
    Sample("plain.mp4"),
    Sample("b_frames.mp4", b_frames=3),
    Sample("open_gop.mp4", b_frames=3, options={"x264-params": "open-gop=1"}),
    Sample("long_gop.mp4", num_frames=300, gop=250, b_frames=2),
    Sample("intra.mp4", gop=1),
    Sample("b_frames.mkv", b_frames=3),
    Sample("vp9.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}, codec_read="vp9"),
    Sample(
        "vp9_hidden.webm", codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "12"}, codec_read="vp9"
    ),
    Sample("vp8.webm", codec="libvpx", options={"deadline": "good", "cpu-used": "4"}, codec_read="vp8"),
    Sample(
        "hevc.mp4",
        codec="libx265",
        b_frames=3,
        options={"x265-params": "open-gop=1:log-level=none"},
        codec_read="hevc",
    ),
    Sample("gradual_refresh.mkv", options={"x264-params": "intra-refresh=1"}),
    Sample("ten_bits.mp4", pix_fmt="yuv420p10le", b_frames=2),
    Sample("full_range.mov", codec="mjpeg", pix_fmt="yuvj420p", codec_read="mjpeg"),
    Sample("bare.h264", b_frames=2),
    Sample("mpeg4.mp4", codec="mpeg4", b_frames=2, codec_read="mpeg4"),
    Sample("mpeg4.avi", codec="mpeg4", codec_read="mpeg4"),
    Sample("mpeg4_b_frames.avi", codec="mpeg4", b_frames=2, codec_read="mpeg4"),
    Sample("h264_b_frames.avi", b_frames=2),
    Sample("odd_size.mp4", height=131, width=175, pix_fmt="yuv444p"),
    Sample("odd_size_mpeg4.mp4", codec="mpeg4", height=131, width=175, codec_read="mpeg4"),
    Sample("rotated_90.mp4", b_frames=2, height=96, width=64, rotation=90),
    Sample("rotated_180.mp4", b_frames=2, rotation=180),
    Sample("rotated_270.mp4", b_frames=2, height=96, width=64, rotation=270),
    Sample("rotated_vp9.mp4", codec="libvpx-vp9", height=96, width=64, rotation=90, codec_read="vp9"),
    Sample("late_start.mp4", b_frames=2, time_base=Fraction(1, 25), ticks=tuple(range(125, 165))),
    Sample("late_start.ts", b_frames=2, time_base=Fraction(1, 25), ticks=tuple(range(125, 165))),
    Sample("irregular.mp4", b_frames=2, time_base=Fraction(1, 600), ticks=IRREGULAR),
    Sample("ntsc.mp4", b_frames=2, rate=Fraction(30000, 1001)),
    Sample("ntsc.mkv", rate=Fraction(30000, 1001)),
    Sample("one_frame.mp4", num_frames=1),
    Sample("with_audio.mp4", b_frames=2, audio=True),
]


def write_video(sample: Sample, path: Path) -> None:
    """Encode `sample` at `path`: painted frames, turned against the rotation that a reader must undo."""
    turned = sample.rotation in (90, 270)
    with av.open(str(path), "w", options=sample.container_options) as container:
        keyframes = {"sc_threshold": "0"} if sample.codec == "libx264" else {}  # where `gop` says and nowhere else
        stream = container.add_stream(sample.codec, rate=sample.rate, options=keyframes | sample.options)
        stream.width, stream.height = (sample.height, sample.width) if turned else (sample.width, sample.height)
        stream.pix_fmt, stream.gop_size, stream.max_b_frames = sample.pix_fmt, sample.gop, sample.b_frames
        stream.bit_rate = 2_000_000
        base = sample.time_base or 1 / sample.rate
        stream.codec_context.time_base = base
        sound = container.add_stream("aac", rate=16000, layout="mono") if sample.audio else None
        for number, tick in enumerate(sample.ticks or range(sample.num_frames)):
            stored = np.rot90(paint(number, sample.height, sample.width), k=sample.rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = tick, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            container.mux(sound.encode(silence(16000)) + sound.encode())
    if sample.rotation:
        path.write_bytes(with_rotation(path.read_bytes(), sample.rotation))


def silence(num_samples: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, num_samples), np.float32), format="fltp", layout="mono")
    frame.rate, frame.pts = 16000, 0
    return frame


def with_rotation(mp4: bytes, degrees: int) -> bytes:
    """The MP4 with a track header that turns by `degrees` clockwise (ISO 14496-12: x' = ax + cy, y' = bx + dy)."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    box = mp4.index(b"tkhd") + 4
    start = box + 4 + (32 if mp4[box] == 1 else 20) + 16  # version and flags, times and ids, reserved and layer fields
    return mp4[:start] + matrix + mp4[start + len(matrix) :]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `video_sample` runs once per kind of file."""
    if "video_sample" in metafunc.fixturenames:
        metafunc.parametrize("video_sample", SAMPLES, ids=lambda sample: sample.name)


@pytest.fixture(scope="session")
def video_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sample | str], Sample]:
    """Writes a sample (or the one of that name) on first use; returns it with its path."""
    folder = tmp_path_factory.mktemp("videos")
    named = {sample.name: sample for sample in SAMPLES}
    written: dict[str, Sample] = {}

    def get(wanted: Sample | str) -> Sample:
        sample = named[wanted] if isinstance(wanted, str) else wanted
        if sample.name not in written:
            write_video(sample, folder / sample.name)
            written[sample.name] = replace(sample, path=folder / sample.name)
        return written[sample.name]

    return get


@pytest.fixture(scope="session")
def new_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sample]:
    """Writes a video of its own: new_video("name.mp4", num_frames=10, ...)."""
    folder = tmp_path_factory.mktemp("new_videos")

    def write(name: str, **settings) -> Sample:
        sample = Sample(name, path=folder / name, **settings)
        write_video(sample, sample.path)
        return sample

    return write


@pytest.fixture(scope="session")
def frame_folder(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A folder of 12 PNG files whose order is that of their numbers and not of their letters."""
    folder = tmp_path_factory.mktemp("frames")
    for number in range(12):
        Image.fromarray(paint(number, 64, 96)).save(folder / f"frame_{number}.png")
    return Sample("folder", num_frames=12, rate=Fraction(2997, 100), codec_read="png", path=folder)


@pytest.fixture(scope="session", name="paint")
def paint_fixture() -> Callable[[int, int, int], np.ndarray]:
    """paint(number, height, width) -> picture."""
    return paint


@pytest.fixture(scope="session", name="read_numbers")
def read_numbers_fixture() -> Callable[[np.ndarray], list[int]]:
    """read_numbers(frames) -> the numbers painted in them."""
    return lambda frames: [read_number(frame) for frame in frames]


@pytest.fixture(scope="session", name="corner_colours")
def corner_colours_fixture() -> Callable[[np.ndarray], np.ndarray]:
    """corner_colours(picture) -> mean colours of its bottom left and right, painted RED and BLUE, [2, 3]."""

    def seen(picture: np.ndarray) -> np.ndarray:
        cells = [cell(bit, *picture.shape[:2], margin=0.3) for bit in (NUM_BITS, NUM_BITS + COLUMNS - 1)]
        return np.stack([picture[place].reshape(-1, 3).mean(axis=0) for place in cells])

    return seen


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """damaged(path, *packets) -> a copy whose packets of these positions hold nonsense."""
    folder = tmp_path_factory.mktemp("damaged")

    def damage(path: Path, *packets: int) -> Path:
        data = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        for number in packets:
            start, size = places[number]
            data[start : start + size] = b"\xff" * size
        copy = folder / f"{'_'.join(map(str, packets))}_{path.name}"
        copy.write_bytes(data)
        return copy

    return damage
