"""Which videos are shown, by hand, and their pictures from real files."""

from pathlib import Path

import pandas as pd

from slowfast_mvit.report.clips import EACH, FRAMES, best_and_worst, clips_of, judged
from slowfast_mvit.report.files import RunFiles, read_run
from slowfast_mvit.report.looping import Budget
from tests.report.test_looping import opened


def table_of(rows: list[tuple[int, int, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["label", "top1", "top1_score"])
    return judged(frame.assign(video=[f"v{row}" for row in range(len(rows))]))


def test_best_and_worst_by_hand() -> None:
    rows = [(0, 0, 0.5), (0, 0, 0.9), (1, 1, 0.7), (1, 0, 0.6), (2, 0, 0.8), (1, 0, 0.95), (2, 2, 0.2)]
    best, worst, wrong = best_and_worst(table_of(rows))
    assert (best, worst, wrong) == ([1, 2, 6], [5, 4], True)  # v0 is of v1's class, v3 is v5's confusion


def test_without_mistakes_the_least_certain_are_shown() -> None:
    best, worst, wrong = best_and_worst(table_of([(0, 0, 0.5), (0, 0, 0.9), (0, 0, 0.7), (1, 1, 0.8)]))
    assert (best, worst, wrong) == ([1, 3], [0, 2], False)
    many = best_and_worst(table_of([(label, label, 0.5) for label in range(20)]))
    assert (len(many[0]), len(many[1])) == (EACH, EACH) and not set(many[0]) & set(many[1])


def test_several_labels_count_by_share() -> None:
    table = judged(
        pd.DataFrame(
            {
                "video": ["a", "b", "c", "d"],
                "labels": ["1;2", "1;2", "", "3"],
                "top1": [2, 1, 1, 1],
                "top2": [1, 3, 2, 3],
                "top1_score": [0.9, 0.8, 0.7, 0.6],
            }
        )
    )
    assert table["good"].tolist()[:2] == [1, 0.5] and pd.isna(table["good"][2]) and table["good"][3] == 0
    assert best_and_worst(table) == ([0], [3, 1], True)


def test_pictures_are_of_the_tests_videos(finished_run: Path) -> None:
    run = read_run(finished_run)
    clips = clips_of(run, Budget())
    assert clips is not None and run.videos is not None and run.notes == []
    right = run.videos[run.videos["label"] == run.videos["top1"]]
    assert len(clips.best) == min(EACH, right["label"].nunique()) and clips.worst
    for clip in (*clips.best, *clips.worst):
        assert clip.picture is not None and clip.problem == ""
        assert opened(clip.picture.moving).n_frames == FRAMES  # type: ignore[attr-defined]
        row = run.videos[run.videos["video"] == clip.name].iloc[0]
        assert clip.truth == row["label_name"] and clip.said[0][0] == row["top1_name"]
        assert clip.right[0] == (row["label"] == row["top1"])
    assert all(clip.right[0] for clip in clips.best) and not any(clip.right[0] for clip in clips.worst)


def test_a_video_that_cannot_be_read_is_named(run_copy: Path) -> None:
    videos = pd.read_csv(run_copy / "predictions" / "videos.csv")
    config = (run_copy / "config.yaml").read_text()
    data = run_copy.parent / "data"
    data.mkdir()
    (data / "damaged.mp4").write_bytes(b"no video")
    lines = [f"{'damaged.mp4' if row == 0 else f'gone{row}.mp4'} {row % 8}" for row in range(len(videos))]
    (data / "test.csv").write_text("\n".join(lines))
    videos["video"] = [line.split(" ")[0] for line in lines]
    videos.to_csv(run_copy / "predictions" / "videos.csv", index=False)
    old = next(line for line in config.splitlines() if "PATH_TO_DATA_DIR" in line).split("PATH_TO_DATA_DIR: ")[1]
    (run_copy / "config.yaml").write_text(config.replace(old, f"{data}, PATH_PREFIX: ''" if "," in old else str(data)))
    run = read_run(run_copy)
    clips = clips_of(run, Budget())
    assert clips is not None
    shown = (*clips.best, *clips.worst)
    assert shown and all(clip.picture is None and clip.problem.startswith("no picture: ") for clip in shown)
    assert len(run.notes) == len(shown) and all(str(data) in note for note in run.notes)


def test_without_a_config_clips_have_words_alone(run_copy: Path) -> None:
    (run_copy / "config.yaml").unlink()
    run = read_run(run_copy)
    clips = clips_of(run, Budget())
    assert clips is not None and not clips.moves and len(run.notes) == 1 and "no config" in run.notes[0]
    assert all(clip.said and clip.picture is None for clip in clips.worst)


def test_the_budget_counts(finished_run: Path) -> None:
    budget = Budget(20_000)
    clips = clips_of(read_run(finished_run), budget)
    assert clips is not None
    none = [clip for clip in (*clips.best, *clips.worst) if clip.picture is None]
    assert len(none) == budget.refused > 0
    assert {clip.problem for clip in none} == {"no picture: the page has enough of them"}


def test_no_table_no_clips() -> None:
    assert clips_of(RunFiles(Path()), Budget()) is None
