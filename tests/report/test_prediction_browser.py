"""report.html of predictions as a browser shows it: light, dark, narrow, by keyboard, without a network."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slowfast_mvit.report.templates import NAME
from tests.report.test_browser import NARROW, WIDE, beyond, by_tabs, contrast, inks, luminance, opened


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", WIDE), ("dark", WIDE), ("light", NARROW)], ids=["light", "dark", "narrow"]
)
@pytest.mark.parametrize("which", ["predicted_clips", "predicted_people", "predicted_objects"])
def test_looks(
    browser: Any,
    which: str,
    scheme: str,
    viewport: dict[str, int],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    folder = request.getfixturevalue(which)
    page = opened(browser, folder, color_scheme=scheme, viewport=viewport)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.screenshot(path=tmp_path / f"{which}-{scheme}-{viewport['width']}.png", full_page=True)
    assert [url for url in page.asked if not url.startswith("data:image/webp")] == [(folder / NAME).as_uri()]
    assert page.said == [] and page.title() == "Report of out"
    assert all(page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth > 0)"))
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) > 0.5) == (scheme == "light")
    for tag, ink, colour, size in inks(page):
        assert size >= 10 and contrast(ink, colour) >= 4.5, (tag, ink, colour, size)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    if viewport is NARROW:
        assert beyond(page) == []


def test_bars_are_as_long_as_scores(browser: Any, predicted_clips: Path) -> None:
    page, videos = opened(browser, predicted_clips), pd.read_csv(predicted_clips / "videos.csv")
    assert page.get_by_role("article").count() == len(videos)
    track = page.locator(".track").first.bounding_box()["width"]
    widths = [bar.bounding_box()["width"] / track for bar in page.locator(".fill").all()]
    expected = videos[[f"top{rank}_score" for rank in range(1, 6)]].to_numpy().ravel().tolist()
    assert widths == pytest.approx(expected, abs=0.01)


def test_by_keyboard(browser: Any, predicted_clips: Path) -> None:
    order = by_tabs(opened(browser, predicted_clips))
    names = [Path(video).name for video in pd.read_csv(predicted_clips / "videos.csv")["video"]]
    of_each = [
        word
        for name in names
        for word in (f"The video with its labels: {name}", f"When which label is the best in {name}")
    ]
    heads = ["Skip to the content", "What was predicted", "Videos", "Unreadable"]
    assert order == [*heads, "stills", *of_each, "Unreadable, inputs"]


def test_a_link_opens_the_drawn_picture(browser: Any, predicted_objects: Path) -> None:
    page = opened(browser, predicted_objects)
    page.get_by_role("link", name="The picture in full").first.click()
    assert page.url.startswith((predicted_objects / "pictures").as_uri()) and page.url.endswith("_objects.jpg")


def test_pictures_stop(browser: Any, predicted_clips: Path) -> None:
    page = opened(browser, predicted_clips)
    page.get_by_label("Show stills instead of moving pictures").check()
    assert not any(image.is_visible() for image in page.locator("img.moving").all())
    assert all(image.is_visible() for image in page.locator("img.still").all())
