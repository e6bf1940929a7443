"""Boxes of other tools to a box list, from the command line."""

import json

import convert_boxes

CVAT = (
    "<annotations><meta><job><original_size><width>10</width><height>10</height></original_size><source>hall.mp4</source>"
    '</job></meta><track label="walk"><box frame="0" outside="0" xtl="1" ytl="2" xbr="3" ybr="4"/></track></annotations>'
)
COCO = {
    "images": [{"id": 1, "file_name": "kitchen/0025.jpg", "width": 10, "height": 10}],
    "categories": [{"id": 1, "name": "cut"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
}


def test_both_kinds_in_one_list(tmp_path, capsys):
    (tmp_path / "a.xml").write_text(CVAT)
    (tmp_path / "b.json").write_text(json.dumps(COCO))
    out = tmp_path / "boxes.csv"
    assert (
        convert_boxes.main([str(tmp_path / "a.xml"), str(tmp_path / "b.json"), "--fps", "25", "--out", str(out)]) == 0
    )
    assert out.read_text().splitlines() == [
        "video,second,x1,y1,x2,y2,action,score",
        "hall,0,0.1,0.2,0.3,0.4,walk,",
        "kitchen,1,0.1,0.2,0.4,0.6,cut,",
    ]
    assert "2 boxes at whole seconds of 2 videos; 0 between them" in capsys.readouterr().out


def test_mistakes_are_told_in_a_sentence(tmp_path, capsys):
    (tmp_path / "b.json").write_text(json.dumps(COCO))
    before = (tmp_path / "b.json").read_bytes()
    for file, fps, out, said in (
        ("b.json", "24", "o.csv", "none of the 1 boxes lies at a whole second"),
        ("none.xml", "25", "o.csv", f"error: there is no file {tmp_path / 'none.xml'}: check"),
        ("none.json", "25", "o.csv", f"error: there is no file {tmp_path / 'none.json'}: check"),
        ("b.csv", "25", "o.csv", "b.csv should end in .json (COCO's) or .xml (CVAT's)"),
        *(
            ("b.json", fps, "o.csv", f"the frame rate {fps} must be more than 0 and")
            for fps in ("0", "-1", "nan", "inf")
        ),
        ("b.json", "25", "b.json/o.csv", "b.json is not a folder; give --out another place"),
        ("b.json", "25", "b.json", "b.json is read, and would be overwritten: give --out another name"),
    ):
        assert convert_boxes.main([str(tmp_path / file), "--fps", fps, "--out", str(tmp_path / out)]) == 2
        err = capsys.readouterr().err
        assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "o.csv").exists() and (tmp_path / "b.json").read_bytes() == before


def test_the_folder_is_made(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(COCO))
    assert convert_boxes.main([str(tmp_path / "b.json"), "--fps", "25", "--out", str(tmp_path / "new" / "o.csv")]) == 0
    assert (tmp_path / "new" / "o.csv").exists()
