"""The demo as a browser shows it: a real server, a real model, a real film; by mouse, by keyboard, dark, narrow.

Needs a Chromium on the machine (Debian: apt-get install chromium); playwright's own browser is not fetched.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pandas as pd
import pytest

from slowfast_mvit import Predictor
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.video import open_video
from tests.demo_page.conftest import EVIL, Server

WIDE, NARROW = {"width": 1100, "height": 900}, {"width": 360, "height": 740}


def opened(browser: Any, server: Server, **options: Any) -> Any:
    """The page; ``asked`` lists every address that it has asked for, ``said`` what its console says."""
    page = browser.new_context(**{"viewport": WIDE, **options}).new_page()
    page.set_default_timeout(20_000)
    page.asked, page.said = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(server.url)
    return page


def sent(page: Any, path: Path) -> None:
    page.get_by_label("Choose").set_input_files(path)
    page.get_by_role("heading", level=2, name=path.name).wait_for()


def until(page: Any, expression: str) -> None:
    """Wait for it from here: the page's own policy lets no text be run there, as wait_for_function does."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shown(browser: Any, server: Server, film: Path) -> Any:
    """The page with the film's scores on it."""
    page = opened(browser, server)
    sent(page, film)
    until(page, "document.getElementById('player').readyState >= 2")
    return page


@pytest.fixture(scope="module")
def table(model: tuple[Path, Path], film: Path) -> pd.DataFrame:
    """What Predictor says of the film's windows."""
    config, weights = model
    predictor = Predictor(load_config(config, ["NUM_GPUS", "0"]), weights=weights)
    return predictor.predict(film, window=0.5)


def rows(page: Any, selector: str) -> list[list[str]]:
    """The cells' texts of a table."""
    found: list[list[str]] = page.locator(f"{selector} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def best(table: pd.DataFrame, window: int) -> list[list[str]]:
    row = table.iloc[window]
    return [[row[f"top{rank}_name"], f"{row[f'top{rank}_score']:.3f}"] for rank in range(1, 6)]


def test_the_scores_are_predictors(shown: Any, table: pd.DataFrame, model: tuple[Path, Path], film: Path) -> None:
    assert len(table) == 13 and table["top1_score"].nunique() > 3  # 12 whole windows, and one that ends with the film
    numbers = rows(shown, "#more")
    assert [row[2:] for row in numbers] == [best(table, window)[0] for window in range(13)]
    assert [numbers[place][:2] for place in (0, 1, 12)] == [
        ["0:00", "0:00.5"],
        ["0:00.5", "0:01"],
        ["0:05.9", "0:06.4"],
    ]
    config, weights = model
    whole = Predictor(load_config(config, ["NUM_GPUS", "0"]), weights=weights).predict(film, window=0.5, per_video=True)
    assert rows(shown, "#whole") == best(whole, 0)
    assert shown.title() != "run" and EVIL in shown.locator("#whole, #legend").all_inner_texts()[0]
    assert shown.locator("img[src=x]").count() == 0 and shown.said == []
    assert all(url.startswith((server_of(shown), "blob:", "data:")) for url in shown.asked)


def server_of(page: Any) -> str:
    return str(page.evaluate("location.origin"))


def test_the_chart_has_a_point_for_each_window(shown: Any, table: pd.DataFrame) -> None:
    points = shown.locator("#chart polyline").evaluate_all(
        "lines => lines.map(line => [line.getAttribute('class'), [...line.points].map(p => [p.x, p.y])])"
    )
    curves = dict(points)
    names = [name.strip() for name in shown.locator("#legend li").all_inner_texts()]
    assert sorted(curves) == [f"curve of-{order}" for order in range(5)] and len(names) == 5
    left, right = axis(shown)
    bottom, top = (float(shown.locator("#chart .cursor").get_attribute(key)) for key in ("y2", "y1"))
    middles = (table["start_sec"] + table["end_sec"]) / 2
    for order, name in enumerate(names):
        line = curves[f"curve of-{order}"]
        assert [x for x, _ in line] == pytest.approx((left + middles / 6.4 * (right - left)).tolist(), abs=0.2)
        for (_, y), (_, row) in zip(line, table.iterrows(), strict=True):
            said = {row[f"top{rank}_name"]: row[f"top{rank}_score"] for rank in range(1, 6)}
            score = (bottom - y) / (bottom - top)
            if name in said:
                assert score == pytest.approx(said[name], abs=0.002)
            else:
                assert score <= min(said.values()) + 0.002
    assert shown.locator("#chart circle").count() == 13 * 5


def axis(page: Any) -> tuple[float, float]:
    """Pixels of the chart's begin and end of time, within the chart."""
    line = page.locator("#chart .grid").first
    return float(line.get_attribute("x1")), float(line.get_attribute("x2"))


def player_time(page: Any) -> float:
    return float(page.evaluate("document.getElementById('player').currentTime"))


def cursor_time(page: Any) -> float:
    left, right = axis(page)
    return (float(page.locator("#chart .cursor").get_attribute("x1")) - left) / (right - left) * 6.4


def test_a_click_goes_there_and_the_cursor_follows(shown: Any, table: pd.DataFrame) -> None:
    left, right = axis(shown)
    shown.locator("#chart").click(position={"x": left + (right - left) * 3.3 / 6.4, "y": 60})
    assert player_time(shown) == pytest.approx(3.3, abs=0.03) and cursor_time(shown) == pytest.approx(3.3, abs=0.03)
    assert rows(shown, "#here") == best(table, 6)
    assert shown.get_by_role("heading", name="Here, 0:03 to 0:03.5").is_visible()
    shown.evaluate("document.getElementById('player').currentTime = 5.3")
    until(shown, "document.getElementById('chart').ariaValueNow === '5.30'")
    assert cursor_time(shown) == pytest.approx(5.3, abs=0.03) and rows(shown, "#here") == best(table, 10)
    shown.evaluate("document.getElementById('player').currentTime = 1")
    shown.evaluate("document.getElementById('player').play()")
    until(shown, "Number(document.getElementById('chart').ariaValueNow) > 1.5")
    shown.evaluate("document.getElementById('player').pause()")
    assert cursor_time(shown) == pytest.approx(player_time(shown), abs=0.3)


def test_by_keyboard(shown: Any, table: pd.DataFrame) -> None:
    slider = shown.get_by_role("slider", name="Scores along the time")
    slider.focus()
    for key, seconds, window in (
        ("Home", 0.25, 0),
        ("ArrowRight", 0.75, 1),
        ("End", 6.15, 12),
        ("ArrowLeft", 5.75, 11),
    ):
        shown.keyboard.press(key)
        assert player_time(shown) == pytest.approx(seconds, abs=0.03)
        assert rows(shown, "#here") == best(table, window)
    assert slider.get_attribute("aria-valuetext") == f"0:05.8, {best(table, 11)[0][0]} {table['top1_score'][11]:.2f}"
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.tagName") == "SUMMARY"
    shown.keyboard.press("Enter")
    assert shown.get_by_role("region", name="Every window in numbers").is_visible()
    assert shown.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.mp4", None, "cut.mp4 cannot be read: "),
        ("text.mp4", b"#EXTM3U\n/etc/passwd\n", "text.mp4 does not begin as a video does"),
        ("list.txt", b"/etc/passwd\n", "list.txt does not end as a video does"),
        ("empty.mp4", b"", "empty.mp4 is empty"),
        ("large.mp4", b"\0" * 400_001, "large.mp4 is too large: files may have 0.4 MB."),
        ("<b>..\\..mp4", b"\0\0\0\x18ftypisom", "cannot be read: "),
    ],
)
def test_bad_files(browser: Any, server: Server, film: Path, name: str, content: bytes | None, said: str) -> None:
    page = opened(browser, server)
    content = film.read_bytes()[: film.stat().st_size // 2] if content is None else content
    page.get_by_label("Choose").set_input_files({"name": name, "mimeType": "video/mp4", "buffer": content})
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert said in alert.inner_text() and "\n" not in alert.inner_text() and "/tmp" not in alert.inner_text()
    assert page.locator("#result").is_hidden() and page.locator("#work").is_hidden() and page.locator("b").count() == 0
    if name == "cut.mp4":  # the page and the server go on
        sent(page, film)
        assert alert.is_hidden() and len(rows(page, "#more")) == 13


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [
        ("light", WIDE),
        ("dark", NARROW),
        pytest.param("dark", WIDE, marks=pytest.mark.slow),
        pytest.param("light", NARROW, marks=pytest.mark.slow),
    ],
)
def test_looks(browser: Any, server: Server, film: Path, scheme: str, viewport: dict[str, int], tmp_path: Path) -> None:
    page = opened(browser, server, color_scheme=scheme, viewport=viewport)
    page.screenshot(path=tmp_path / f"{scheme}-{viewport['width']}-empty.png", full_page=True)
    sent(page, film)
    until(page, "document.getElementById('player').readyState >= 2")
    page.evaluate("document.getElementById('more').open = true")
    page.screenshot(path=tmp_path / f"{scheme}-{viewport['width']}.png", full_page=True)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + .5 &&
            !e.closest(".scroll")).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert beyond == []


@pytest.mark.slow
def test_two_visitors(start: Callable[..., Server], browser: Any, model: tuple[Path, Path], film: Path) -> None:
    """The second waits for the first, whose work takes minutes, until that one stops it."""
    config, weights = model
    server = start("--cfg", config, "--weights", weights, "--window", "0.5", "--stride", "0.001", "NUM_GPUS", "0")
    first, second = opened(browser, server), opened(browser, server)
    first.get_by_label("Choose").set_input_files(film)
    until(first, "document.getElementById('state').textContent === 'Looking …'")
    until(first, "document.getElementById('share').value > 0")
    second.get_by_label("Choose").set_input_files(film)
    until(second, "document.getElementById('state').textContent === 'Waiting: 1 before this one …'")
    first.get_by_role("button", name="Stop").click()
    until(second, "document.getElementById('state').textContent === 'Looking …'")
    assert first.locator("#work").is_hidden() and first.evaluate("document.activeElement.id") == "file"
    assert first.get_by_role("alert").is_hidden() and first.said == second.said == []


@pytest.mark.slow
def test_a_film_that_no_browser_plays(browser: Any, server: Server, film: Path, tmp_path: Path) -> None:
    with open_video(film) as reader, av.open(str(tmp_path / "old.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = reader.height, reader.width
        for _, picture in reader.pictures(range(60)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    page = opened(browser, server)
    sent(page, tmp_path / "old.avi")
    page.get_by_text("This browser cannot show the file").wait_for()
    assert page.locator("#player").is_hidden() and len(rows(page, "#more")) == 4
    left, right = axis(page)
    page.locator("#chart").click(position={"x": left + (right - left) * 0.9, "y": 60})
    assert page.get_by_role("heading", name="Here, 0:01.5 to 0:02").is_visible()
    sent(page, film)
    assert page.locator("#player").is_visible() and page.locator("#unplayable").is_hidden()


def test_the_server_s_folder_is_empty_afterwards(browser: Any, server: Server, film: Path, temporary: Path) -> None:
    page = opened(browser, server)
    sent(page, film)
    before = len(list(temporary.glob("slowfast_mvit_demo_*/*")))
    assert before and not list(temporary.rglob("*.mp4"))
    page.goto("about:blank")
    deadline = time.monotonic() + 10
    while len(list(temporary.glob("slowfast_mvit_demo_*/*"))) >= before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
