"""Small data sets in COCO's format, written for a test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def image(id: int, width: int = 20, height: int = 10, file_name: str = "") -> dict[str, Any]:
    """An entry of images."""
    return {"id": id, "file_name": file_name or f"{id}.png", "height": height, "width": width}


def annotation(id: int, image_id: int, box: list[float], **others: Any) -> dict[str, Any]:
    """An entry of annotations, a box [x, y, width, height] with an outline around it."""
    x, y, w, h = box
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {
        "id": id,
        "image_id": image_id,
        "category_id": 3,
        "bbox": box,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": outline,
    } | others


CATEGORIES = [{"id": 7, "name": "disc"}, {"id": 3, "name": "square"}]


def write_coco(
    root: Path,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]] | None,
    categories: list[dict[str, Any]] = CATEGORIES,
) -> Path:
    """``root/instances.json``, and the images in ``root/images``; returns the file."""
    (root / "images").mkdir(exist_ok=True)
    for entry in images:
        rng = np.random.default_rng(entry["id"])
        pixels = rng.integers(0, 256, (entry["height"], entry["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / entry["file_name"])
    content: dict[str, Any] = {"images": images, "categories": categories}
    if annotations is not None:
        content["annotations"] = annotations
    path = root / "instances.json"
    path.write_text(json.dumps(content))
    return path
