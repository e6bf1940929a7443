"""COCO's 80 categories, of which torchvision ships the names."""


def coco_categories() -> dict[int, str]:
    """Names by COCO's own ids, 1 to 90 with ten left out, in the order of the labels 1 to 80 of published detectors."""
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return {number: name for number, name in enumerate(names) if name not in ("__background__", "N/A")}
