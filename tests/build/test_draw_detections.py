"""Boxes on real encoded videos: where they are, when they are, and what is said of wrong files."""

from fractions import Fraction

import av
import draw_detections as tool
import numpy as np
import pytest

from slowfast_mvit.build.draw_detections import draw_detections
from slowfast_mvit.data.boxes_on_video import COLOURS, DrawnBox, draw_boxes
from slowfast_mvit.data.toy import write_video
from slowfast_mvit.data.video import open_video

LABELS = 'item { name: "wave" id: 3 }\n'
# A person at 902 in the left half, two at 903 in the right half; the action 3 is named, 5 is not.
ROWS = """film,0902,0.1,0.2,0.4,0.9,3,0.9
film,0902,0.1,0.2,0.4,0.9,5,0.1
film,0903,0.6,0.2,0.9,0.5,3,0.2
film,0903,0.6,0.6,0.9,0.9,5,0.8
other,0902,0,0,1,1,3,1
"""


@pytest.fixture
def film(tmp_path):
    """Five grey seconds at 10 frames a second."""
    write_video(tmp_path / "film.mp4", np.full((50, 120, 160, 3), 128, dtype=np.uint8), Fraction(10))
    (tmp_path / "d.csv").write_text(ROWS)
    (tmp_path / "l.pbtxt").write_text(LABELS)
    return tmp_path


def is_colour(pixels, number):
    return (np.abs(pixels.astype(int) - COLOURS[number]) < 60).all(axis=-1)


def test_boxes_by_hand():
    frame = np.full((100, 200, 3), 9, dtype=np.uint8)
    drawn = draw_boxes(frame, [DrawnBox((0.25, 0.2, 0.75, 0.8)), DrawnBox((0.9, 0.9, 1.0, 1.0))])
    rows, columns = np.nonzero((drawn == COLOURS[0]).all(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 79, 50, 149)
    assert (drawn[30:70, 60:140] == 9).all() and (frame == 9).all()
    assert (drawn[99, 199] == COLOURS[1]).all()
    words = draw_boxes(frame, [DrawnBox((0.25, 0.2, 0.75, 0.8), ("wave 0.90",))])
    assert (words[22:40, 52:140] != drawn[22:40, 52:140]).any() and (words[50:] == drawn[50:])[:30].all()


def test_frames_show_the_second_next_to_them(film):
    assert draw_detections(film / "film.mp4", film / "d.csv", film / "new" / "out.mp4", first_second=900) == 50
    with open_video(str(film / "new" / "out.mp4"), "pyav") as reader:
        assert (reader.num_frames, reader.fps, reader.height, reader.width) == (50, 10, 120, 160)
        np.testing.assert_allclose(reader.timestamps(), np.arange(50) / 10, atol=1e-3)
        frames = reader.frames_at(range(50))
    left = np.array([is_colour(frame[:, :70], 0).sum() > 100 for frame in frames])
    lower = np.array([is_colour(frame[70:, 90:], 1).sum() > 50 for frame in frames])
    # 902 is second 2 of the film, 903 second 3; each holds half a second to the other, and a second where nobody follows.
    assert np.flatnonzero(left).tolist() == list(range(11, 26))
    assert np.flatnonzero(lower).tolist() == list(range(26, 40))


def test_the_command(film, capsys):
    files = [str(film / name) for name in ("film.mp4", "d.csv", "out.mp4")]
    assert tool.main([*files, "--labelmap", str(film / "l.pbtxt"), "--first-second", "900"]) == 0
    assert capsys.readouterr().out == f"{files[2]}: 50 frames\n"
    with av.open(files[2]) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_odd_sizes_lose_a_row_and_a_column(film):
    write_odd(film / "odd.mkv")
    (film / "o.csv").write_text("odd,1,0,0,0.5,0.5,1,1\n")
    assert draw_detections(film / "odd.mkv", film / "o.csv", film / "out.mp4") == 15
    with open_video(str(film / "out.mp4"), "pyav") as reader:
        assert (reader.height, reader.width) == (60, 80)


def write_odd(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 81, 61, "yuv444p"
        for _ in range(15):
            picture = av.VideoFrame.from_ndarray(np.full((61, 81, 3), 100, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["film.mp4", "d.csv", "out.mp4"], "is of seconds 0 to 4.9, and"),
        (["film.mp4", "d.csv", "out.mp4", "--name", "fi"], "has no detections of a video 'fi', but of film, other"),
        (["film.mp4", "none.csv", "out.mp4"], "there is no file none.csv"),
        (["none.mp4", "d.csv", "out.mp4"], "cannot read none.mp4 with pyav: there is no such file"),
        (["d.csv", "d.csv", "out.mp4", "--name", "film"], "cannot read d.csv with pyav"),
        (["film.mp4", "d.csv", "film.mp4", "--first-second", "900"], "film.mp4 is read, and would be overwritten"),
        (["film.mp4", "d.csv", "link.mp4", "--first-second", "900"], "link.mp4 is read, and would be overwritten"),
        (["film.mp4", "link.mkv", "link.mkv", "--first-second", "900"], "link.mkv is read, and would be overwritten"),
        (["film.mp4", "d.csv", "out"], "out cannot be written as a video: OUT must end in .mp4 or .mkv"),
        (["film.mp4", "d.csv", "out.txt"], "out.txt cannot be written as a video: OUT must end in .mp4 or .mkv"),
        (
            ["film.mp4", "d.csv", "d.csv/out.mp4", "--first-second", "900"],
            "d.csv/out.mp4 cannot be written: d.csv is not",
        ),
    ],
)
def test_mistakes_are_one_sentence(film, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(film)
    (film / "link.mp4").symlink_to("film.mp4")
    (film / "link.mkv").symlink_to("d.csv")
    before = [(film / name).read_bytes() for name in ("film.mp4", "d.csv")]
    assert tool.main(arguments) == 2
    assert [(film / name).read_bytes() for name in ("film.mp4", "d.csv")] == before
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_names_with_endings(film):
    (film / "d.csv").write_text(ROWS.replace("film,0902", "film.mp4,0902").replace("film,0903", "film.mkv,0903"))
    out = film / "out.MKV"
    assert draw_detections(film / "film.mp4", film / "d.csv", out, first_second=900) == 50
    with open_video(str(out), "pyav") as reader:
        frames = reader.frames_at([20, 30])
    assert is_colour(frames[0][:, :70], 0).sum() > 100 and not is_colour(frames[1][:, 90:], 0).any()
