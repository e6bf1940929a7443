"""COCO's categories, against its annotation files."""

from slowfast_mvit.weights.coco_categories import coco_categories


def test_ids_and_names() -> None:
    categories = coco_categories()
    assert len(categories) == 80 and list(categories) == sorted(categories)
    assert set(range(1, 91)) - set(categories) == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert (categories[1], categories[13], categories[18], categories[90]) == (
        "person",
        "stop sign",
        "dog",
        "toothbrush",
    )
