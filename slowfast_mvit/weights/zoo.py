"""Which published weights a model name and a tag stand for."""

import difflib

from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.weights.published import Published
from slowfast_mvit.weights.table import PUBLISHED

_MASK_RCNN = frozenset({"mask_rcnn_mvitv2_s", "mask_rcnn_mvitv2_b", "mask_rcnn_mvitv2_l"})
# Models that nobody published a file for.
WITHOUT_WEIGHTS = frozenset({"mvitv1_b_24_32x3", "mvitv1_b_24", "vit_b_16"}) | _MASK_RCNN
_VIDEO = frozenset({"mvitv2_s_16x4", "mvitv2_b_32x3", "mvitv2_l_40x3"})
_IMAGE = frozenset({"mvitv2_t", "mvitv2_s", "mvitv2_b", "mvitv2_l", "mvitv2_h"})

# What the papers report and nobody gave away: tags that people will try, by model.
_NEVER_RELEASED: tuple[tuple[frozenset[str], frozenset[str], str], ...] = (
    (_VIDEO, frozenset({"k600", "k700"}), "no MViTv2 weights for Kinetics-600 or Kinetics-700 were ever released"),
    (_VIDEO, frozenset({"ava"}), "no MViTv2 weights for AVA were ever released"),
    (
        frozenset({"mvitv2_b_32x3"}),
        frozenset({"in21k_ssv2", "ssv2_in21k"}),
        "the SSv2 model B from ImageNet-21K was never released",
    ),
    (
        _IMAGE,
        frozenset({"384", "512", "in1k_384", "in1k_512"}),
        "no MViTv2 image weights at 384 or 512 pixels were ever released",
    ),
    (
        frozenset({"mvitv2_l", "mvitv2_h"}),
        frozenset({"in21k_in1k", "in21k_ft_in1k"}),
        "ImageNet-1K weights of L and H fine-tuned from ImageNet-21K were never released",
    ),
    (frozenset({"mvitv2_h"}), frozenset({"in1k"}), "ImageNet-1K weights of MViTv2-H were never released"),
    (
        frozenset({"mvitv2_t", "mvitv2_s"}),
        frozenset({"in21k"}),
        "ImageNet-21K weights of MViTv2-T and S were never released",
    ),
    (
        frozenset({"mvitv2_s", "mvitv2_b", "mvitv2_l"}),
        frozenset({"coco_mask_rcnn"}),
        "Mask R-CNN with MViTv2-S, B or L was never released",
    ),
    (
        _MASK_RCNN,
        frozenset({"in1k", "coco", "coco_in21k"}),
        "Mask R-CNN with MViTv2-S, B or L was never released",
    ),
    (
        frozenset({"cascade_mask_rcnn_mvitv2_l", "cascade_mask_rcnn_mvitv2_h"}),
        frozenset({"coco"}),
        "Cascade Mask R-CNN with MViTv2-L or H from ImageNet-1K was never released",
    ),
)


def list_weights(model: str | None = None) -> list[Published]:
    """Published weights, of one model or of all, in the order of the table; ``print(*list_weights(), sep="\\n")`` shows them.

    Raises:
        UserError: there is no model of that name.
    """
    if model is None:
        return list(PUBLISHED)
    known = {entry.model for entry in PUBLISHED} | WITHOUT_WEIGHTS
    if model not in known:
        raise UserError(f"there is no model {model!r}; {closest(model, known)}")
    return [entry for entry in PUBLISHED if entry.model == model]


def tags(model: str) -> list[str]:
    """Tags of the published weights of a model that can be loaded by their tag; none for a model without any."""
    return [entry.tag for entry in PUBLISHED if entry.model == model and entry.supported]


def find(model: str, pretrained: bool | str = True) -> Published:
    """The published weights that ``create_model(model, pretrained=...)`` means.

    Args:
        model: name of the model.
        pretrained: a tag; or True for the model's own: Kinetics-400 for video, ImageNet-1K for images, ImageNet-21K for names
            that end so, from the authors where they gave them away.

    Raises:
        UserError: there are none; the sentence says which there are, and what was never released.
    """
    entries = [entry for entry in PUBLISHED if entry.model == model]
    if pretrained is True:
        chosen = [entry for entry in entries if entry.num_classes is not None]
    else:
        chosen = [entry for entry in entries if entry.tag == pretrained]
    if not chosen:
        raise UserError(_nothing(model, pretrained))
    if not chosen[0].supported:
        raise UserError(f"{model} has no weights {pretrained!r} that can be loaded: {chosen[0].unsupported}")
    return chosen[0]


def _nothing(model: str, pretrained: bool | str) -> str:
    """Why there are no such weights, and what there is instead."""
    tag = (
        "in1k" if isinstance(pretrained, bool) else pretrained
    )  # of all models, H alone lacks weights of its own dataset
    known = tags(model)
    never = [sentence for models, names, sentence in _NEVER_RELEASED if model in models and tag in names]
    close = difflib.get_close_matches(tag, known, n=1)
    elsewhere = dict.fromkeys(entry.model for entry in PUBLISHED if entry.tag == tag and entry.supported)
    why = ""
    if never:
        why = f": {never[0]}"
    elif pretrained is not True and elsewhere:
        why = f": those are weights of {', '.join(elsewhere)}"
    elif pretrained is not True and close:
        why = f", perhaps {close[0]!r} is meant"
    what = f" {pretrained!r}" if pretrained is not True else " of its own" if known else ""
    there = f"it has {', '.join(known)}, or" if known else "you can"
    return f"{model} has no published weights{what}{why}; {there} give the path or URL of a file"
