"""report.html of real runs, by what a parser finds in it, and when a run writes it."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from slowfast_mvit.report.page import write_report
from slowfast_mvit.report.templates import NAME, STYLE
from tests.commands import has_step, run_here

EVIL = "<script>alert(1)</script>&\"'"


class Found(HTMLParser):
    """Elements of a page: (tag, attributes), and its text by the id of the section that it is in."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._section = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._section] = self.texts.get(self._section, "") + data.replace("\N{NO-BREAK SPACE}", " ")

    def count(self, tag: str, **attributes: str) -> int:
        return sum(one == tag and attributes.items() <= found.items() for one, found in self.elements)


def read(run: Path) -> Found:
    return Found((run / NAME).read_text(encoding="utf-8"))


def test_a_training_and_its_test(finished_run: Path) -> None:
    page = read(finished_run)
    assert list(page.texts) == ["", "run", "training", "accuracy", "classes", "confusions", "clips"]
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert f"top-1 {metrics['top1_acc']:.2f} %" in page.texts["accuracy"]
    assert (
        metrics["protocol"] in page.texts["accuracy"]
        and "Guessing among 8 classes gives 12.5 %" in page.texts["accuracy"]
    )
    assert f"python tools/run_net.py --cfg {finished_run}/config.yaml" in page.texts["run"]
    assert "kinetics" in page.texts["run"] and "float32" in page.texts["run"]
    assert page.count("svg") == page.count("polyline") == 3
    videos = pd.read_csv(finished_run / "predictions" / "videos.csv")
    assert page.count("span", **{"class": "fill"}) == videos["label"].nunique()
    for name, of_class in videos.groupby("label_name"):
        right, count = (of_class["label"] == of_class["top1"]).sum(), len(of_class)
        assert "".join(f"{name}\n{100 * right / count:.1f} %\n{right} of {count}".split()) in "".join(
            page.texts["classes"].split()
        )


def test_parameters_are_the_models(finished_run: Path) -> None:
    import torch

    checkpoint = torch.load(finished_run / "checkpoints" / "checkpoint_epoch_00002.pyth", weights_only=True)
    count = sum(tensor.numel() for tensor in checkpoint["model_state"].values())  # this model has no buffers
    assert f"{count:,}" in read(finished_run).texts["run"]


def test_the_file_needs_nothing_else(finished_run: Path) -> None:
    page = read(finished_run)
    assert not page.count("script") and page.count("link") == page.count("link", rel="icon", href="data:,")
    sources = [
        value for _, attrs in page.elements for name, value in attrs.items() if name in ("src", "srcset") and value
    ]
    assert sources and all(value.startswith("data:image/webp;base64,") for value in sources)
    assert all((attrs["href"] or "").startswith("#") for tag, attrs in page.elements if tag == "a")
    assert "url(" not in STYLE.read_text() and "@import" not in STYLE.read_text()
    assert (finished_run / NAME).stat().st_size < 1_000_000


def test_every_id_is_there_once_and_every_reference_meets_one(finished_run: Path) -> None:
    page = read(finished_run)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = ("aria-labelledby", "aria-describedby")
    wanted = {word for _, attrs in page.elements for name in named for word in (attrs.get(name) or "").split()}
    wanted |= {(attrs["href"] or "")[1:] for tag, attrs in page.elements if tag == "a"}
    assert wanted <= set(ids)
    assert all(attrs.get("alt") for tag, attrs in page.elements if tag == "img")


def test_names_are_anybodys(run_copy: Path) -> None:
    path = run_copy / "predictions" / "videos.csv"
    videos = pd.read_csv(path)
    for column in ("video", "label_name", "top1_name", "top2_name"):
        videos[column] = [f"{EVIL}{row}" for row in videos[column]]
    videos.to_csv(path, index=False)
    labels = json.loads((run_copy / "labels.json").read_text())
    (run_copy / "labels.json").write_text(json.dumps({f"{EVIL}{name}": number for name, number in labels.items()}))
    metrics = json.loads((run_copy / "metrics.json").read_text())
    (run_copy / "metrics.json").write_text(json.dumps({**metrics, "protocol": EVIL, "reasons": [EVIL], EVIL: EVIL}))
    unreadable = pd.DataFrame([(EVIL, EVIL, "pyav", EVIL)], columns=["video", "path", "backend", "cause"])
    unreadable.to_csv(run_copy / "predictions" / "unreadable.csv", index=False)
    evil_folder = run_copy.with_name("<script>x")
    run_copy.rename(evil_folder)
    write_report(evil_folder)
    page = read(evil_folder)
    assert not page.count("script")
    for section in ("accuracy", "classes", "confusions", "clips", "unreadable"):
        assert EVIL in page.texts[section], section
    assert "Report of <script>x" in page.texts[""]


def test_without_a_test(run_copy: Path) -> None:
    (run_copy / "metrics.json").unlink()
    shutil.rmtree(run_copy / "predictions")
    assert write_report(run_copy) == run_copy / NAME
    assert list(read(run_copy).texts) == ["", "run", "training"]


def test_without_videos_the_page_says_so(run_copy: Path) -> None:
    (run_copy / "config.yaml").unlink()
    write_report(run_copy)
    page = read(run_copy)
    assert (
        "has no config that could be read" in page.texts["run"] and "their pictures are left out" in page.texts["notes"]
    )
    assert page.count("img") == 0 and not page.count("input", id="stills")


def test_400_classes(run_copy: Path) -> None:
    rows = [(f"v{n}", n % 400, f"class_{n % 400}", 1, (n * 7) % 400 if n % 3 else n % 400, 0.5) for n in range(1200)]
    names = ["video", "label", "label_name", "num_views", "top1", "top1_score"]
    pd.DataFrame(rows, columns=names).to_csv(run_copy / "predictions" / "videos.csv", index=False)
    write_report(run_copy)
    page = read(run_copy)
    # The best 10 and the worst 10, and all in a list that is folded.
    assert page.count("span", **{"class": "fill"}) == 10 + 10 + 400
    assert page.count("table", **{"class": "matrix"}) == 0 and "of" in page.texts["confusions"]
    assert (run_copy / NAME).stat().st_size < 1_000_000


def test_nothing_to_show(tmp_path: Path) -> None:
    assert write_report(tmp_path) is None and not list(tmp_path.iterdir())


def test_people(ava_run: Path) -> None:
    page = read(ava_run)
    assert "people" in page.texts and "clips" not in page.texts and "confusions" not in page.texts
    assert page.count("img") and not page.count("img", **{"class": "moving"})
    assert "Truth:" in page.texts["people"] and "mAP" in page.texts["accuracy"]


@contextmanager
def stopped_at(run: Path, step: int) -> Iterator[None]:
    """While it is open, this process is sent SIGTERM as soon as the log in ``run`` has ``step``."""
    over = threading.Event()

    def send() -> None:
        while not has_step(run, step):
            if over.wait(0.005):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_stopped_training_has_one(config_file: Path, tmp_path: Path) -> None:
    with stopped_at(tmp_path / "run", 2):  # of a training that is not over before
        assert run_here(config_file, "SOLVER.MAX_EPOCH", "5000", "LOG_PERIOD", "1", "TRAIN.EVAL_PERIOD", "5000") == 143
    page = read(tmp_path / "run")
    assert list(page.texts) == ["", "run", "training"]
    assert "of 5000 epochs that are asked for" in page.texts["training"]


def test_a_run_that_did_nothing_leaves_the_report_alone(run_copy: Path, config_file: Path, tmp_path: Path) -> None:
    (run_copy / NAME).write_text("mine")
    assert run_here(config_file, "OUTPUT_DIR", str(run_copy), "DATA.PATH_TO_DATA_DIR", str(tmp_path / "gone")) == 2
    assert (run_copy / NAME).read_text() == "mine"


def test_a_report_that_cannot_be_made_is_a_warning(
    finished_run: Path, config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = finished_run / "checkpoints" / "checkpoint_epoch_00002.pyth"
    (tmp_path / "run" / NAME).mkdir(parents=True)
    only_test = ("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", str(checkpoint))
    assert run_here(config_file, *only_test) == 0
    assert "the report could not be made: " in capfd.readouterr().err
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["num_videos"] == 10


def test_unreadable_videos_are_listed(
    finished_run: Path, config_file: Path, tmp_path: Path, toy_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "damaged.mp4").write_bytes(b"no video")
    lines = (toy_data / "test.csv").read_text().splitlines()[:3]
    (data / "test.csv").write_text("\n".join([f"{toy_data}/{line}" for line in lines] + [f"{data}/damaged.mp4 grow"]))
    checkpoint = finished_run / "checkpoints" / "checkpoint_epoch_00002.pyth"
    given = ("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", str(checkpoint), "DATA.PATH_TO_DATA_DIR", str(data))
    assert run_here(config_file, *given) == 2  # some could not be read
    page = read(tmp_path / "run")
    assert "damaged.mp4" in page.texts["unreadable"] and "Test: 1" in page.texts["unreadable"]
    assert "training" not in page.texts and str(checkpoint) in page.texts["run"]


@pytest.mark.slow
def test_rank_0_of_several_writes_it(config_file: Path, tmp_path: Path) -> None:
    assert run_here(config_file, "NUM_PROCESSES", "2", "LOG_PERIOD", "1") == 0
    assert list(read(tmp_path / "run").texts)[:4] == ["", "run", "training", "accuracy"]


def test_same_files_same_page(finished_run: Path, tmp_path: Path) -> None:
    before = (finished_run / NAME).read_bytes()
    write_report(finished_run)
    assert (finished_run / NAME).read_bytes() == before
