"""What check_data says of annotation files in COCO's format."""

import check_data
import pytest
from PIL import Image

from slowfast_mvit.build.coco_check import check_objects
from slowfast_mvit.config.load import load_config
from tests.data.coco_files import annotation, image, write_coco


def config_of(root, *overrides):
    given = ("DATA.PATH_TO_DATA_DIR", str(root), "MODEL.NUM_CLASSES", "2", "OUTPUT_DIR", str(root / "out"))
    coco = ("COCO.TRAIN_IMAGES", "images", "COCO.TRAIN_ANNOTATIONS", "instances.json", "COCO.VAL_ANNOTATIONS", "")
    return ["--cfg", "configs/Toy/MVITV2_TOY_COCO.yaml", "--workers", "1", *given, *coco, *overrides]


def test_a_good_set(tmp_path, capsys):
    write_coco(tmp_path, [image(1), image(2)], [annotation(1, 1, [0, 0, 2, 2]), annotation(2, 1, [1, 1, 3, 3])])
    assert check_data.main(config_of(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "train: 2 of 2 found, 2 ok" in said
    assert "train objects: 2 in 1 of 2 images, of 1 of 2 categories; 0 crowds" in said
    table = (tmp_path / "out" / "data_check" / "classes.csv").read_text()
    assert table.splitlines() == ["id,name,train", "3,square,2", "7,disc,0"]


def test_files_of_another_size(tmp_path, capsys):
    write_coco(tmp_path, [image(1), image(2), image(3)], [annotation(1, 1, [0, 0, 2, 2])])
    Image.new("RGB", (7, 9)).save(tmp_path / "images" / "2.png")
    (tmp_path / "images" / "3.png").write_bytes(b"none")
    assert check_data.main(config_of(tmp_path)) == 1
    said = capsys.readouterr().out
    assert "instances.json: 1 images are of another size than it says: 2.png (7 x 9 and not 20 x 10)" in said
    assert "train: 3 of 3 found, 2 ok, 1 unreadable" in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bbox": [0, 0, 0, 3]}, "1 boxes have no area: annotations 2"),
        ({"bbox": [15, 0, 8, 3]}, "1 boxes reach out of their image: annotations 2"),
        ({"bbox": [-3, 0, 8, 3]}, "1 boxes reach out of their image: annotations 2"),
        ({"id": 1}, "ids of annotations come more than once: 1"),
        ({"image_id": 9}, "the image_id of 1 annotation is of nothing in the file (annotations 2)"),
        ({"segmentation": []}, "1 annotations have no segmentation: 2"),
        ({"segmentation": [[1, 1, 2, 2]]}, "1 outlines have no three corners: annotations 2"),
        ({"segmentation": {"size": [2, 2], "counts": [4]}}, "the segmentation of annotation 2 is wrong"),
    ],
)
def test_wrong_annotations(tmp_path, wrong, said):
    write_coco(tmp_path, [image(1)], [annotation(1, 1, [0, 0, 2, 2]), annotation(2, 1, [0, 0, 2, 2]) | wrong])
    config = load_config("configs/Toy/MVITV2_TOY_COCO.yaml", config_of(tmp_path)[4:])
    _, problems = check_objects(config, tmp_path / "out")
    assert len(problems) == 1 and said in problems[0]
