"""Weights for torchvision's detector that see a person in every region, and a network small enough for a test."""

import torch


def detector_state():
    """A state dict of random weights, whose classifier says person (class 1 of 91) whatever it sees."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn_v2

    torch.manual_seed(0)
    state = fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=91).state_dict()
    classifier = "roi_heads.box_predictor.cls_score."
    state[classifier + "weight"].zero_()
    state[classifier + "bias"].zero_()[1] = 5
    return state


def made_small(detector):
    """The same network on small frames and few regions."""
    detector.transform.min_size = (64,)
    detector.rpn._post_nms_top_n = {"training": 5, "testing": 5}
    return detector
