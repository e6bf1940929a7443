"""AVA's label maps in both of its forms, and what is wrong with others."""

import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_boxes import ActionClass
from slowfast_mvit.evaluation.ava_label_map import read_label_map

ITEM = 'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\n'
LABEL = 'label {\n  name: "bend/bow (at the waist)"\n  label_id: 1\n  label_type: PERSON_MOVEMENT\n}\n'
BEND = ActionClass(1, "bend/bow (at the waist)")


def read(tmp_path, text):
    path = tmp_path / "map.pbtxt"
    path.write_text(text, encoding="utf-8")
    return read_label_map(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ITEM, [BEND]),
        (LABEL, [BEND]),
        (ITEM + 'item {\n  name: "crawl"\n  id: 80\n}\n', [BEND, ActionClass(80, "crawl")]),
        (
            '\ufeff# of ours\nitem { id: 2, name: \'a "b"\' } # two\r\nitem{name:"c\\"}#" id:1}',
            [(2, 'a "b"'), (1, 'c"}#')],
        ),
        ('item { name: "gehen über" id: 7 }', [ActionClass(7, "gehen über")]),
    ],
)
def test_forms(tmp_path, text, expected):
    assert read(tmp_path, text) == tuple(ActionClass(*one) if isinstance(one, tuple) else one for one in expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": no entry like item { name: ... id: ... }"),
        ("stand\nsit\n", ", line 1: 'stand' where an entry like item { name: ... id: ... } is expected"),
        (ITEM + "item {\n id: 2\n}", ', line 5: an entry needs a name: "..." and an id: (or label_id:)'),
        ('item {\n name: "a"\n}', ', line 1: an entry needs a name: "..." and an id: (or label_id:)'),
        ("item {\n name: a id: 1}", ', line 1: an entry needs a name: "..." and an id: (or label_id:)'),
        ('item { name: "a" id: 0 }', ", line 1: the id 0 is not a whole number from 1 on"),
        ('item { name: "a" id: 1.5 }', ", line 1: the id 1.5 is not a whole number from 1 on"),
        (ITEM + ITEM, ", line 5: 1 'bend/bow (at the waist)' is there twice, before as 'bend/bow (at the waist)'"),
        (ITEM + 'item { name: "x" id: 1 }', ", line 5: 1 'x' is there twice, before as 'bend/bow (at the waist)'"),
        (ITEM + 'item { name: "a" id: 3', ", line 5: an entry must be of lines like id: 12, with a brace at its end"),
        ("item { name id: 3 }", ", line 1: an entry must be of lines like id: 12, with a brace at its end"),
        ('item {\n name: "a\n id: 3 }', ", line 2: '\"' does not belong in a label map"),
        ('{"stand": 1}', ", line 1: '{' where an entry like item { name: ... id: ... } is expected"),
    ],
)
def test_other_text(tmp_path, text, said):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'map.pbtxt'}{said}"


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "map").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text in UTF-8"):
        read_label_map(tmp_path / "map")


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*l\.pbtxt: check"):
        read_label_map(tmp_path / "l.pbtxt")
