"""report.html as a browser shows it: light, dark, narrow, by keyboard, without motion, without a network.

Needs a Chromium on the machine (Debian: apt-get install chromium); playwright's own browser is not fetched.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slowfast_mvit.report.page import write_report
from slowfast_mvit.report.templates import NAME

WIDE, NARROW = {"width": 1100, "height": 800}, {"width": 360, "height": 740}


def opened(browser: Any, run: Path, **options: Any) -> Any:
    """The report of a run; ``asked`` of it lists every address that it has asked for."""
    page = browser.new_context(**{"viewport": WIDE, **options}).new_page()
    page.asked = []
    page.said = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto((run / NAME).as_uri())
    return page


def by_tabs(page: Any) -> list[str]:
    """Names of what the Tab key comes to, in turn, each with an outline that is seen."""
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => { const e = document.activeElement; return [e === document.body ? "" :
                e.ariaLabel || e.textContent.trim() || e.id, getComputedStyle(e).outlineWidth]; }"""
        )
        if not name:
            break
        assert outline == "3px", name
        order.append(name)
    return order


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of ``rgb(r, g, b)``."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def inks(page: Any) -> list[tuple[str, str, str, float]]:
    """Of every element with text that is shown: its tag, colour, ground, and letters in pixels."""
    return page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")].filter(e => e.getClientRects().length &&
            [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
              let over = e, colour = "rgba(0, 0, 0, 0)";
              while (over && colour === "rgba(0, 0, 0, 0)") {
                colour = getComputedStyle(over).backgroundColor; over = over.parentElement; }
              const style = getComputedStyle(e), ink = e.closest("svg") ? style.fill : style.color;
              return [e.tagName, ink, colour, parseFloat(style.fontSize) * (e.closest("svg") ?
                e.closest("svg").getBoundingClientRect().width / 360 : 1)]; })"""
    )


def beyond(page: Any) -> list[str]:
    """Beginnings of elements that a phone of 360 pixels does not show whole."""
    return page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 360.5 &&
            !e.closest(".scroll, pre")).map(e => e.outerHTML.slice(0, 80))"""
    )


def test_what_is_shown(browser: Any, finished_run: Path, tmp_path: Path) -> None:
    page = opened(browser, finished_run)
    page.screenshot(path=tmp_path / "light.png", full_page=True)
    assert page.title() == "Report of run"
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["Report of run"]
    heads = ["What was run", "Training", "Accuracy", "Classes", "Confusions", "Clips"]
    assert page.get_by_role("heading", level=2).all_inner_texts() == heads
    assert page.get_by_role("navigation").get_by_role("link").all_inner_texts() == heads
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    assert [page.get_by_role("region", name=head, exact=True).count() for head in heads] == [1] * len(heads)
    for title in ("Loss", "Learning rate", "Validation top-1"):
        assert page.get_by_role("img", name=title, exact=True).is_visible()

    videos = pd.read_csv(finished_run / "predictions" / "videos.csv")
    right = videos.assign(right=videos["label"] == videos["top1"]).groupby("label_name")["right"]
    cells = page.locator("table.bars tbody tr").all_inner_texts()
    assert {text.split()[0]: text.split()[-3:] for text in cells} == {
        name: [str(of.sum()), "of", str(len(of))] for name, of in right
    }
    track = page.locator(".track").first.bounding_box()["width"]
    widths = [bar.bounding_box()["width"] / track for bar in page.locator(".fill").all()]
    assert widths == pytest.approx(sorted((of.mean() for _, of in right), reverse=True), abs=0.01)
    matrix = [
        [int(cell) for cell in row.locator("td").all_inner_texts()] for row in page.locator(".matrix tbody tr").all()
    ]
    classes = sorted({*videos["label"], *videos["top1"]})
    assert matrix == pd.crosstab(videos["label"], videos["top1"]).reindex(classes, fill_value=0).reindex(
        columns=classes, fill_value=0
    ).to_numpy().tolist()  # fmt: skip


def test_nothing_is_asked_for(browser: Any, finished_run: Path) -> None:
    page = opened(browser, finished_run)
    assert [url for url in page.asked if not url.startswith("data:image/webp")] == [(finished_run / NAME).as_uri()]
    assert page.said == []
    images = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert images and all(width > 0 for width in images)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_text_can_be_read(
    browser: Any, finished_run: Path, scheme: str, viewport: dict[str, int], tmp_path: Path
) -> None:
    page = opened(browser, finished_run, color_scheme=scheme, viewport=viewport)
    page.screenshot(path=tmp_path / f"{scheme}-{viewport['width']}.png", full_page=True)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) > 0.5) == (scheme == "light")
    shown = inks(page)
    assert len(shown) > 100
    # Grounds of the matrix are mixed, in another notation: they have a test of their own.
    for tag, ink, colour, size in shown:
        assert size >= 10, (tag, size)
        if colour.startswith("rgb("):
            assert contrast(ink, colour) >= 4.5, (tag, ink, colour)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_matrix_can_be_read(browser: Any, finished_run: Path, scheme: str) -> None:
    """Its grounds are mixed by the browser: they are measured as pixels."""
    page = opened(browser, finished_run, color_scheme=scheme)
    pairs = page.evaluate(
        """() => { const canvas = document.createElement("canvas").getContext("2d");
          return [...document.querySelectorAll(".matrix td")].map(cell => { const style = getComputedStyle(cell);
            canvas.fillStyle = style.backgroundColor; canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
            return [style.color, `rgb(${r}, ${g}, ${b})`]; }); }"""
    )
    assert len({ground for _, ground in pairs}) > 1
    assert min(contrast(ink, ground) for ink, ground in pairs) >= 4.5


@pytest.mark.parametrize("which", ["finished_run", "ava_run"])
def test_a_phone_need_not_scroll_sideways(
    browser: Any, which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    page = opened(browser, request.getfixturevalue(which), viewport=NARROW)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.screenshot(path=tmp_path / "narrow.png", full_page=True)
    assert beyond(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_by_keyboard(browser: Any, finished_run: Path) -> None:
    order = by_tabs(opened(browser, finished_run))
    heads = ["What was run", "Training", "Accuracy", "Classes", "Confusions", "Clips"]
    after = ["The whole config", "Every epoch in numbers", "The other values of metrics.json"]
    assert order == [
        *("Skip to the content", *heads, *after),
        *("Pairs that are confused the most", "Confusion matrix", "stills"),
    ]


def test_the_skip_link_and_folded_parts(browser: Any, finished_run: Path) -> None:
    page = opened(browser, finished_run)
    page.keyboard.press("Tab")
    assert page.get_by_role("link", name="Skip to the content").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "PATH_TO_DATA_DIR" in page.get_by_role("region", name="The whole config").inner_text()


def shown(page: Any, kind: str) -> list[bool]:
    return [image.is_visible() for image in page.locator(f"#clips img.{kind}").all()]


def test_pictures_stop_when_they_are_asked_to(browser: Any, finished_run: Path) -> None:
    page = opened(browser, finished_run)
    assert all(shown(page, "moving")) and not any(shown(page, "still")) and shown(page, "still")
    page.get_by_label("Show stills instead of moving pictures").focus()
    page.keyboard.press("Space")
    assert not any(shown(page, "moving")) and all(shown(page, "still"))


def test_pictures_stand_still_where_the_system_asks_for_it(browser: Any, finished_run: Path) -> None:
    page = opened(browser, finished_run, reduced_motion="reduce")
    assert not any(shown(page, "moving")) and all(shown(page, "still")) and shown(page, "still")
    assert not page.locator("#stills").is_visible()


def test_scripts_in_names_do_not_run(browser: Any, run_copy: Path) -> None:
    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    path = run_copy / "predictions" / "videos.csv"
    videos = pd.read_csv(path)
    videos.assign(label_name=evil, top1_name=evil).to_csv(path, index=False)
    labels = json.loads((run_copy / "labels.json").read_text())
    (run_copy / "labels.json").write_text(json.dumps({evil: labels["grow"]}))
    write_report(run_copy)
    page = opened(browser, run_copy)
    assert page.title() == "Report of copy" and page.said == []
    assert page.locator("script").count() == page.locator("img[src=x]").count() == 0
    assert evil in page.locator("table.bars").inner_text()


def test_people(browser: Any, ava_run: Path, tmp_path: Path) -> None:
    page = opened(browser, ava_run, color_scheme="dark")
    page.screenshot(path=tmp_path / "ava.png", full_page=True)
    assert "Key frames" in page.get_by_role("heading", level=2).all_inner_texts()
    images = page.locator("#people img").all()
    assert images and all(image.is_visible() for image in images)
    assert all(" numbered boxes, which the list below names" in (image.get_attribute("alt") or "") for image in images)
