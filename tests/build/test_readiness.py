"""What cannot be had is said before any work."""

from dataclasses import replace
from pathlib import Path

import pytest

from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.config.load import load_config
from slowfast_mvit.errors import UserError

CONFIG = load_config(str(Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml"), [])


def test_what_works_is_let_through() -> None:
    refuse_unbuilt(CONFIG)


def test_objects_are_no_matter_of_a_model_for_clips() -> None:
    coco = replace(CONFIG, TEST=replace(CONFIG.TEST, DATASET="coco"))
    with pytest.raises(UserError, match=r"MVIT\.PATCH_2D: coco has images; set it to True"):
        refuse_unbuilt(coco)


def test_a_reader_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slowfast_mvit.build.readiness.find_spec", lambda name: None)
    with pytest.raises(UserError, match="set it to pyav, or pip install decord"):
        refuse_unbuilt(replace(CONFIG, DATA=replace(CONFIG.DATA, DECODING_BACKEND="decord")))
