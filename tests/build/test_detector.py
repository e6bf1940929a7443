"""Detectors by name and by config."""

import pytest
import torch

from slowfast_mvit.build.model import build_model, create_model
from slowfast_mvit.config.load import load_config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.cascade import CascadeHeads
from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.rcnn import Detector

SMALL = """
TRAIN: {ENABLE: False}
TEST: {ENABLE: False}
DATA: {TRAIN_CROP_SIZE: 64}
MODEL: {ARCH: mask_rcnn, NUM_CLASSES: 3}
MVIT:
  PATCH_2D: True
  PATCH_KERNEL: [7, 7]
  PATCH_STRIDE: [4, 4]
  PATCH_PADDING: [3, 3]
  EMBED_DIM: 8
  DEPTH: 4
  DIM_MUL: [[1, 2.0], [2, 2.0], [3, 2.0]]
  HEAD_MUL: [[1, 2.0], [2, 2.0], [3, 2.0]]
  POOL_Q_STRIDE: [[0, 1, 1, 1], [1, 1, 2, 2], [2, 1, 2, 2], [3, 1, 2, 2]]
  POOL_KV_STRIDE_ADAPTIVE: [1, 4, 4]
  POOL_KVQ_KERNEL: [1, 3, 3]
  DIM_MUL_IN_ATT: True
  CLS_EMBED_ON: False
  USE_ABS_POS: False
  REL_POS_SPATIAL: True
  RESIDUAL_POOLING: True
  ATTENTION: hybrid_window
RCNN: {CONV_DIM: 8, FC_DIM: 16}
"""


@pytest.fixture
def config_of(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return lambda *changes: load_config(path, list(changes))


def on_meta(make, *args, **options):
    with torch.device("meta"):
        return make(*args, **options)


def test_by_name():
    model = on_meta(create_model, "cascade_mask_rcnn_mvitv2_t", drop_path_rate=0.2)
    assert isinstance(model, Detector) and isinstance(model.roi_heads, CascadeHeads)
    assert model.sizes.num_classes == 80 and model.proposal_generator.strides == (4, 8, 16, 32, 64)
    arch = model.backbone.bottom_up.arch
    assert arch.windows == "hybrid" and not arch.cls_token and arch.expand_in_attention
    assert [spec.index for spec in plan_blocks(arch) if spec.window is None] == [2, 7, 9]
    assert on_meta(create_model, "mask_rcnn_mvitv2_t", num_classes=5).sizes.num_classes == 5
    large = on_meta(create_model, "mask_rcnn_mvitv2_l").backbone.bottom_up.arch
    assert large.expand_in_attention  # as detectron2 builds it, though the classifier of that name does not
    plain = on_meta(create_model, "mask_rcnn_mvitv2_t", attention="pooling").backbone.bottom_up.arch
    assert plain.windows == "none"
    windows = on_meta(create_model, "mask_rcnn_mvitv2_t", window_sides=(8, 8, 4, 4)).backbone.bottom_up.arch
    assert windows.window_sides == (8, 8, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    (
        ({"num_frames": 8}, "finds objects in images and takes no num_frames"),
        ({"dropout_rate": 0.5}, "takes no dropout_rate"),
        ({"boxes": True}, "takes no boxes"),
        ({"cls_token": True}, "neither class token nor classifier"),
    ),
)
def test_what_a_detector_does_not_take(arguments, said):
    with pytest.raises(UserError, match=said):
        on_meta(create_model, "mask_rcnn_mvitv2_t", **arguments)


@pytest.mark.parametrize("fpn", (True, False))
@pytest.mark.parametrize("arch", ("mask_rcnn", "cascade_mask_rcnn"))
def test_a_config_s_detector_finds_something(config_of, arch, fpn):
    config = config_of(
        "MODEL.ARCH", arch, "RCNN.FPN", str(fpn), "RCNN.SCORE_THRESH", "0.01", "RCNN.MAX_DETECTIONS", "7"
    )
    torch.manual_seed(0)
    model = build_model(config).eval()
    assert isinstance(model, Detector)
    found = model(torch.randn(1, 3, 64, 96), torch.tensor([[60, 90]]))
    assert len(found[0]) == 7 and set(found[0].labels.tolist()) <= {1, 2, 3}


def test_every_key_arrives(config_of):
    changes = {
        "ANCHOR_SIZES": "[16, 24, 32, 64, 128]",
        "ANCHOR_RATIOS": "[1.0]",
        "PROPOSALS_BEFORE_NMS_TRAIN": "50",
        "PROPOSALS_BEFORE_NMS_TEST": "40",
        "PROPOSALS": "30",
        "BOXES_PER_IMAGE": "20",
        "SCORE_THRESH": "0.01",
        "NMS_THRESH": "0.6",
        "MAX_DETECTIONS": "9",
        "SOFT_NMS": "linear",
        "SOFT_NMS_SIGMA": "0.3",
        "SOFT_NMS_MIN_SCORE": "0.002",
    }
    options = build_model(
        config_of(*[part for name, value in changes.items() for part in (f"RCNN.{name}", value)])
    ).options
    assert options.anchor_sizes == (16, 24, 32, 64, 128) and options.anchor_ratios == (1.0,)
    numbers = (options.proposals_before_nms_train, options.proposals_before_nms_test, options.proposals)
    assert numbers == (50, 40, 30) and options.boxes_per_image == 20 and options.max_detections == 9
    assert (options.score_thresh, options.nms_thresh) == (0.01, 0.6)
    assert (options.soft_nms, options.soft_nms_sigma, options.soft_nms_min_score) == ("linear", 0.3, 0.002)


def test_the_backbone_s_keys_arrive(config_of):
    config = config_of(
        "MVIT.DROPPATH_RATE", "0.3", "MODEL.ACT_CHECKPOINT", "True", "MVIT.WINDOW_SIDES", "[16, 8, 4, 2]"
    )
    model = build_model(config)
    bottom_up = model.backbone.bottom_up
    assert bottom_up.arch.window_sides == (16, 8, 4, 2) and bottom_up.arch.input_size == (64, 64)
    assert max(getattr(m, "p", 0.0) if "DropPath" in type(m).__name__ else 0.0 for m in model.modules()) >= 0
    assert model.sizes.conv_dim == 8 and model.sizes.fc_dim == 16


def test_anchors_that_do_not_fit_are_told(config_of):
    with pytest.raises(UserError, match=r"RCNN.ANCHOR_SIZES: there are 2 for the 5 maps of the feature pyramid"):
        config_of("RCNN.ANCHOR_SIZES", "[32, 64]")
    with pytest.raises(UserError, match=r"RCNN.ANCHOR_RATIOS: it is empty"):
        config_of("RCNN.ANCHOR_RATIOS", "[]")
    with pytest.raises(UserError, match=r"RCNN.ANCHOR_SIZES: it is empty"):
        config_of("RCNN.FPN", "False", "RCNN.ANCHOR_SIZES", "[]")
    config_of("RCNN.FPN", "False", "RCNN.ANCHOR_SIZES", "[32, 64]")
