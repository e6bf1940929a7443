"""Names of the classes that published heads score, for the datasets whose names a dependency ships."""

import re

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.table import PUBLISHED

_SHIPPED = ("Kinetics-400", "ImageNet-1K")


def class_names(dataset: str) -> tuple[str, ...]:
    """Names of a dataset's classes, in the order of the logits of published weights.

    They are torchvision's lists. Kinetics-400: its 400 names are sorted, ASCII order, which is also the order of a dataset
    with one folder per class, of PySlowFast's ``kinetics_classnames.json`` and of torchvision's own conversion of PySlowFast's
    weights; so labels made in another order do not fit published heads. ImageNet-1K: the 1000 names by sorted WordNet
    id, as everywhere.

    Args:
        dataset: ``Kinetics-400`` (or ``k400``) or ``ImageNet-1K`` (or ``in1k``); case, spaces and dashes are free.

    Raises:
        UserError: no dependency ships the names of that dataset.
    """
    key = re.sub(r"[\s_-]", "", dataset).lower()
    if key in ("kinetics400", "k400"):
        from torchvision.models.video import MViT_V2_S_Weights

        return tuple(MViT_V2_S_Weights.KINETICS400_V1.meta["categories"])
    if key in ("imagenet1k", "imagenet", "in1k"):
        from torchvision.models import ResNet50_Weights

        return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
    raise UserError(
        f"no dependency ships the class names of {dataset!r}, only those of Kinetics-400 and ImageNet-1K: read them from the "
        "dataset (labels.json, or the sorted names of its folders)"
    )


def published_names(source: str, num_classes: int) -> tuple[str, ...]:
    """Names of the classes of a published file of weights, told by its file name; none where they are not known.

    Args:
        source: path or URL of the weights.
        num_classes: outputs of the model that has them; with another head the names are not its own.
    """
    file = source.rsplit("/", 1)[-1]
    datasets = {entry.dataset for entry in PUBLISHED if file and entry.url and entry.url.endswith(f"/{file}")}
    for dataset in sorted(datasets.intersection(_SHIPPED)):
        names = class_names(dataset)
        if len(names) == num_classes:
            return names
    return ()
