"""Clips on one picture: a row for each, its words on the left, some of its frames beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 120)
GAP, MARGIN, CAPTION = 6, 16, 300  # pixels: between frames, around the sheet, width of the words
TITLE_SIZE, TEXT_SIZE = 20, 14
LINE = 19  # pixels from line to line
MIN_SIDE, MAX_SIDE = 112, 336  # pixels of a frame on the sheet


@dataclass(frozen=True)
class SheetRow:
    """One clip: its frames uint8 [n, H, W, 3], a title in dark ink and lines below it in grey."""

    frames: np.ndarray
    title: str
    lines: tuple[str, ...] = ()


def contact_sheet(title: str, columns: Sequence[str], rows: Sequence[SheetRow]) -> Image.Image:
    """The rows one below the other under the names of the columns.

    Frames smaller than 112 pixels are shown larger by a whole factor, with hard pixels, and those above 336 smaller. A row is
    as high as its words need.
    """
    side = max(rows[0].frames.shape[1:3])
    scale = -(-MIN_SIDE // side) if side < MIN_SIDE else min(1.0, MAX_SIDE / side)
    height, width = (round(extent * scale) for extent in rows[0].frames.shape[1:3])
    title_font, text_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(TEXT_SIZE)
    texts = [
        (_wrapped(row.title, text_font), [line for text in row.lines for line in _wrapped(text, text_font)])
        for row in rows
    ]
    heights = [max(height, LINE * (len(head) + len(lines))) for head, lines in texts]
    left, top = MARGIN + CAPTION + MARGIN, MARGIN + TITLE_SIZE + MARGIN + LINE
    sheet = Image.new(
        "RGB",
        (left + len(columns) * (width + GAP) - GAP + MARGIN, top + sum(heights) + 2 * GAP * (len(rows) - 1) + MARGIN),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, title_font)
    for column, name in enumerate(columns):
        draw.text((left + column * (width + GAP), top - LINE), name, FAINT, text_font)
    for row, (head, lines), extent in zip(rows, texts, heights, strict=True):
        for number, text in enumerate([*head, *lines]):
            draw.text((MARGIN, top + number * LINE), text, INK if number < len(head) else FAINT, text_font)
        for column, frame in enumerate(row.frames):
            picture = Image.fromarray(np.ascontiguousarray(frame))
            if scale != 1:
                how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
                picture = picture.resize((width, height), how)
            sheet.paste(picture, (left + column * (width + GAP), top))
        top += extent + 2 * GAP
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The text in lines that fit beside the frames, cut between words where possible."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if font.getlength(longer) <= CAPTION:
            lines[-1] = longer
            continue
        lines.append("") if lines[-1] else None
        for letter in word:
            if font.getlength(lines[-1] + letter) > CAPTION:
                lines.append("")
            lines[-1] += letter
    return lines
