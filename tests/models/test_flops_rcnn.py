"""Sizes of detectors against the paper's Tables 5 and 9, and FLOPs against fvcore's own count."""

import warnings
from dataclasses import replace

import pytest
import torch

from slowfast_mvit.build.model import create_model
from slowfast_mvit.models.detectors import DETECTORS, detector
from slowfast_mvit.models.flops_rcnn import HeadWork, count_detector_flops, detector_flops
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.paper import PAPER_ROWS
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.switches import apply_switches
from slowfast_mvit.models.variants import VARIANTS

TABLE_5 = {
    "mask_rcnn_mvitv2_t": (279, 44),
    "mask_rcnn_mvitv2_s": (326, 54),
    "mask_rcnn_mvitv2_b": (392, 71),
    "mask_rcnn_mvitv2_l": (1097, 238),
    "cascade_mask_rcnn_mvitv2_t": (701, 76),
    "cascade_mask_rcnn_mvitv2_s": (748, 87),
    "cascade_mask_rcnn_mvitv2_b": (814, 103),
    "cascade_mask_rcnn_mvitv2_l": (1519, 270),
    "cascade_mask_rcnn_mvitv2_h": (3084, 718),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_sizes_are_table_5_s(name):
    """The paper's L is the form that widens in the MLP: 218 M as a classifier, where the released L has 213.6 M."""
    switches = {"expand_in_attention": False} if name.endswith("_l") else {}
    with torch.device("meta"):
        model = create_model(name, **switches)
    flops, params = TABLE_5[name]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(params * 1e6, rel=0.01)
    assert detector_flops(model).total == pytest.approx(flops * 1e9, rel=0.003)


def test_the_tables_of_the_tool_are_the_paper_s():
    rows = {row.name: (row.paper_flops, row.paper_params) for row in PAPER_ROWS if row.paper_flops is not None}
    assert {name: rows[name] for name in TABLE_5} == TABLE_5


@pytest.mark.parametrize(
    ("backbone", "attention", "fpn", "paper"),
    (
        ("mvitv2_s", "hybrid_window", True, 326),
        ("mvitv2_s", "hybrid_window", False, 276),
        ("vit_b_16", "full", True, 879),
    ),
)
def test_table_9(backbone, attention, fpn, paper):
    """ViT-B without a pyramid comes out as 775, where the paper has 725; no setting is known to give that."""
    arch = detection_architecture(apply_switches(VARIANTS[backbone], cls_token=False, attention=attention))
    work = HeadWork(80, cascade=False, fpn=fpn, num_anchors=3 if fpn else 15)
    total = sum(part.total for part in count_detector_flops(arch, work).values())
    assert total == pytest.approx(paper * 1e9, rel=0.002)


@pytest.mark.parametrize("fpn", (True, False), ids=("fpn", "single"))
@pytest.mark.parametrize("cascade", (False, True), ids=("mask_rcnn", "cascade"))
def test_as_fvcore_counts(cascade, fpn):
    """All above the backbone, whose attention fvcore does not see, part by part: the network run and traced."""
    arch = detection_architecture(apply_switches(VARIANTS["mvitv2_t"], attention="hybrid_window"))
    options = RcnnOptions(proposals=20, max_detections=7, score_thresh=0.0)
    model = detector(arch, 3, cascade=cascade, fpn=fpn, options=options, conv_dim=16, fc_dim=32).eval()
    images = torch.randn(1, 3, 64, 96)
    found = model(images, torch.tensor([[64, 96]]))
    assert len(found[0]) == 7

    class Traced(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            one = self.model(x, torch.tensor([[64, 96]]))[0]
            return one.boxes, one.scores, one.masks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(Traced(), images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counted = analysis.by_module()
    work = HeadWork(3, cascade=cascade, fpn=fpn, num_anchors=3 if fpn else 15, conv_dim=16, fc_dim=32)
    work = replace(work, num_proposals=20, num_masks=7)
    parts = {name: part.total for name, part in count_detector_flops(arch, work, (64, 96)).items()}
    assert parts["pyramid"] == counted.get("model.backbone.fpn", 0)
    assert parts["proposals"] == counted["model.proposal_generator.rpn_head"]
    assert parts["boxes"] == counted["model.roi_heads.box_head"] + counted["model.roi_heads.box_predictor"]
    assert parts["masks"] == counted["model.roi_heads.mask_head"]
    assert detector_flops(model, (64, 96)).total == sum(parts.values())
