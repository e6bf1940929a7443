"""What a rank does in a pass where it has no image."""

import torch

from slowfast_mvit.build.coco import coco_list, detection_task, images_to_train
from slowfast_mvit.build.model import build_model
from tests.build.coco_config import coco_config, small_coco


def test_every_parameter_has_its_part_and_no_statistics_move(tmp_path) -> None:
    """Of the cascade's norms: they are over all ranks, whose regions are real."""
    overrides = ["MODEL.ARCH", "cascade_mask_rcnn", "COCO.TRAIN_IMAGES", "images"]
    overrides += ["COCO.TRAIN_ANNOTATIONS", "instances.json"]
    config = coco_config(small_coco(tmp_path / "data"), tmp_path / "run", overrides)
    model = build_model(config).train()
    before = {name: one.clone() for name, one in model.named_buffers()}
    blank = images_to_train(config, coco_list(config, "train"), "float32").blank
    losses = detection_task(config, "float32").losses(model, blank, None)  # type: ignore[arg-type]
    assert len(before) > 0 and torch.isfinite(losses["loss"])
    losses["loss"].backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in model.parameters())
    assert all(torch.equal(one, before[name]) for name, one in model.named_buffers())
