"""Small sets in COCO's format, whose scores can be worked by hand."""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as codes

SIDE = 200  # of every image
CATEGORIES = [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}, {"id": 44, "name": "bottle"}]


def polygon(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def code_of(x, y, width, height):
    """The run-length code of a filled box of whole pixels."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    code = codes.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def annotated(image, category, *box, crowd=False):
    return {
        "id": 0,  # of all: pycocotools takes a match with number 0 for none
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": int(crowd),
        "segmentation": code_of(*box) if crowd else polygon(*box),
    }


def found(image, category, score, *box):
    return {
        "image_id": image,
        "category_id": category,
        "score": score,
        "bbox": list(box),
        "segmentation": code_of(*box),
    }


def write_truth(folder: Path, annotations, **extra) -> Path:
    """A file of annotations of images 7 and 9; ``annotations`` None leaves the list out, ``extra`` stands in for others."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": SIDE, "width": SIDE} for i in (7, 9)],
        "categories": CATEGORIES,
        **({} if annotations is None else {"annotations": annotations}),
    } | extra
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path
