"""The table of published weights, held against its files typed out again, torchvision, timm and PyTorchVideo."""

import importlib
from collections import Counter

import pytest

from slowfast_mvit.build.model import create_model, list_models
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import BASELINES
from slowfast_mvit.models.detectors import DETECTORS
from slowfast_mvit.weights.table import PUBLISHED
from slowfast_mvit.weights.zoo import WITHOUT_WEIGHTS, find, list_weights, tags

META = "https://dl.fbaipublicfiles.com/"
V2 = META + "pyslowfast/model_zoo/mvitv2/pysf_video_models/"
MMACTION2 = "https://download.openmmlab.com/mmaction/v1.0/recognition/mvit/converted/"
URLS = {
    V2 + "MViTv2_S_16x4_k400_f302660347.pyth": ("mvitv2_s_16x4", "k400"),
    V2 + "MViTv2_B_32x3_k400_f304025456.pyth": ("mvitv2_b_32x3", "k400"),
    V2 + "MViTv2_L_40x3_k400_f306903192.pyth": ("mvitv2_l_40x3", "k400"),
    V2 + "MViTv2_S_16x4_ssv2_f308341823.pyth": ("mvitv2_s_16x4", "ssv2"),
    V2 + "MViTv2_B_32x3_ssv2_f305803282.pyth": ("mvitv2_b_32x3", "ssv2"),
    V2 + "MViTv2_L_40x3_ssv2_f309603968.pyth": ("mvitv2_l_40x3", "ssv2"),
    META + "mvit/mvitv2_models/MViTv2_T_in1k.pyth": ("mvitv2_t", "in1k"),
    META + "mvit/mvitv2_models/MViTv2_S_in1k.pyth": ("mvitv2_s", "in1k"),
    META + "mvit/mvitv2_models/MViTv2_B_in1k.pyth": ("mvitv2_b", "in1k"),
    META + "mvit/mvitv2_models/MViTv2_L_in1k.pyth": ("mvitv2_l", "in1k"),
    META + "mvit/mvitv2_models/MViTv2_B_in21k.pyth": ("mvitv2_b_in21k", "in21k"),
    META + "mvit/mvitv2_models/MViTv2_L_in21k.pyth": ("mvitv2_l_in21k", "in21k"),
    META + "mvit/mvitv2_models/MViTv2_H_in21k.pyth": ("mvitv2_h_in21k", "in21k"),
    META + "pyslowfast/masked_models/k400_MVIT_S_MaskFeat_PT_epoch_00300.pyth": ("mvitv2_s_16x4", "maskfeat"),
    META + "pyslowfast/masked_models/k400_MVIT_L_MaskFeat_PT_epoch_00800.pyth": ("mvitv2_l_40x3", "maskfeat"),
    META + "pyslowfast/model_zoo/mvit/k400.pyth": ("mvitv1_b_32x3", "k400"),
    META + "pyslowfast/model_zoo/mvit/k600.pyth": ("mvitv1_b_32x3", "k600"),
    META + "pyslowfast/rev/REV_MVIT_B_16x4.pyth": ("mvitv1_b_16x4", "rev_k400"),
    META + "pyslowfast/rev/REV_MVIT_B.pyth": ("mvitv1_b_16", "rev_in1k"),
    META + "detectron2/MViTv2/mask_rcnn_mvitv2_t_3x/f307611773/model_final_1a1c30.pkl": ("mvitv2_t", "coco_mask_rcnn"),
    META + "detectron2/MViTv2/cascade_mask_rcnn_mvitv2_t_3x/f308344828/model_final_c6967a.pkl": (
        "mvitv2_t",
        "coco_cascade",
    ),
    META + "detectron2/MViTv2/cascade_mask_rcnn_mvitv2_s_3x/f308344647/model_final_279baf.pkl": (
        "mvitv2_s",
        "coco_cascade",
    ),
    META + "detectron2/MViTv2/cascade_mask_rcnn_mvitv2_b_3x/f308109448/model_final_421a91.pkl": (
        "mvitv2_b",
        "coco_cascade",
    ),
    META + "detectron2/MViTv2/cascade_mask_rcnn_mvitv2_b_in12k_3x/f309003202/model_final_be5168.pkl": (
        "mvitv2_b",
        "coco_cascade_in21k",
    ),
    META + "detectron2/MViTv2/cascade_mask_rcnn_mvitv2_l_in12k_lsj_50ep/f308099658/model_final_c41c5a.pkl": (
        "mvitv2_l",
        "coco_cascade_in21k",
    ),
    META + "detectron2/MViTv2/cascade_mask_rcnn_mvitv2_h_in12k_lsj_3x/f309013744/model_final_30d36b.pkl": (
        "mvitv2_h",
        "coco_cascade_in21k",
    ),
    META + "detectron2/ImageNetPretrained/mvitv2/MViTv2_T_in1k.pyth": ("mvitv2_t", "detectron2_in1k"),
    META + "detectron2/ImageNetPretrained/mvitv2/MViTv2_S_in1k.pyth": ("mvitv2_s", "detectron2_in1k"),
    META + "detectron2/ImageNetPretrained/mvitv2/MViTv2_B_in1k.pyth": ("mvitv2_b", "detectron2_in1k"),
    META + "detectron2/ImageNetPretrained/mvitv2/MViTv2_B_in21k.pyth": ("mvitv2_b_in21k", "detectron2_in21k"),
    META + "detectron2/ImageNetPretrained/mvitv2/MViTv2_L_in21k.pyth": ("mvitv2_l_in21k", "detectron2_in21k"),
    META + "detectron2/ImageNetPretrained/mvitv2/MViTv2_H_in21k.pyth": ("mvitv2_h_in21k", "detectron2_in21k"),
    META + "pytorchvideo/model_zoo/kinetics/MVIT_B_16x4.pyth": ("mvitv1_b_16x4", "k400"),
    META + "pytorchvideo/model_zoo/kinetics/MVIT_B_32x3_f294077834.pyth": ("mvitv1_b_32x3", "pytorchvideo_k400"),
    META + "pytorchvideo/model_zoo/imagenet/MVIT_B_16_f292487636.pyth": ("mvitv1_b_16", "in1k"),
    "https://download.pytorch.org/models/mvit_v2_s-ae3be167.pth": ("mvitv2_s_16x4", "torchvision_k400"),
    "https://download.pytorch.org/models/mvit_v1_b-dbeb1030.pth": ("mvitv1_b_16x4", "torchvision_k400"),
    MMACTION2 + "mvit-small-p244_16x4x1_kinetics400-rgb_20221021-9ebaaeed.pth": ("mvitv2_s_16x4", "mmaction2_k400"),
    MMACTION2 + "mvit-base-p244_32x3x1_kinetics400-rgb_20221021-f392cd2d.pth": ("mvitv2_b_32x3", "mmaction2_k400"),
    MMACTION2 + "mvit-large-p244_40x3x1_kinetics400-rgb_20221021-11fe1f97.pth": ("mvitv2_l_40x3", "mmaction2_k400"),
    MMACTION2 + "mvit-small-p244_u16_sthv2-rgb_20221021-65ecae7d.pth": ("mvitv2_s_16x4", "mmaction2_ssv2"),
    MMACTION2 + "mvit-base-p244_u32_sthv2-rgb_20221021-d5de5da6.pth": ("mvitv2_b_32x3", "mmaction2_ssv2"),
    MMACTION2 + "mvit-large-p244_u40_sthv2-rgb_20221021-61696e07.pth": ("mvitv2_l_40x3", "mmaction2_ssv2"),
}
# Accuracy as published (sections 11 and 18, torchvision's, timm's and PyTorchVideo's own tables), frames and crop of every row.
FIGURES = {
    ("mvitv2_s_16x4", "k400"): ((81.0, 94.6), 16, 224),
    ("mvitv2_b_32x3", "k400"): ((82.9, 95.7), 32, 224),
    ("mvitv2_l_40x3", "k400"): ((86.1, 97.0), 40, 312),
    ("mvitv2_s_16x4", "ssv2"): ((68.2, 91.4), 16, 224),
    ("mvitv2_b_32x3", "ssv2"): ((70.5, 92.7), 32, 224),
    ("mvitv2_l_40x3", "ssv2"): ((73.3, 94.1), 40, 312),
    ("mvitv1_b_32x3", "k400"): ((80.4, 94.8), 32, 224),
    ("mvitv1_b_32x3", "k600"): ((83.9, 96.5), 32, 224),
    ("mvitv2_t", "in1k"): ((82.3, None), None, 224),
    ("mvitv2_s", "in1k"): ((83.6, None), None, 224),
    ("mvitv2_b", "in1k"): ((84.4, None), None, 224),
    ("mvitv2_l", "in1k"): ((85.3, None), None, 224),
    ("mvitv2_b_in21k", "in21k"): (None, None, 224),
    ("mvitv2_l_in21k", "in21k"): (None, None, 224),
    ("mvitv2_h_in21k", "in21k"): (None, None, 224),
    ("mvitv1_b_16x4", "k400"): ((78.9, None), 16, 224),
    ("mvitv1_b_32x3", "pytorchvideo_k400"): ((80.3, None), 32, 224),
    ("mvitv1_b_16", "in1k"): ((83.0, None), None, 224),
    ("slowfast_r50", "k400"): ((76.94, 92.69), 32, 224),
    ("slowfast_r101", "k400"): ((77.9, 93.27), 32, 224),
    ("slow_r50", "k400"): ((74.58, 91.63), 8, 224),
    ("c2d_r50", "k400"): ((71.46, 89.68), 8, 224),
    ("i3d_r50", "k400"): ((73.27, 90.7), 8, 224),
    ("r2plus1d_r50", "k400"): ((76.01, 92.23), 16, 224),
    ("csn_r101", "k400"): ((77.0, 92.9), 32, 224),
    ("x3d_xs", "k400"): ((69.12, 88.63), 4, 160),
    ("x3d_s", "k400"): ((73.33, 91.27), 13, 160),
    ("x3d_m", "k400"): ((75.94, 92.72), 16, 224),
    ("x3d_l", "k400"): ((77.44, None), 16, 312),
    ("mvitv2_s_16x4", "torchvision_k400"): ((80.757, 94.665), 16, 224),
    ("mvitv1_b_16x4", "torchvision_k400"): ((78.477, 93.582), 16, 224),
    ("mvitv2_s_16x4", "mmaction2_k400"): ((81.1, 94.7), 16, 224),
    ("mvitv2_b_32x3", "mmaction2_k400"): ((82.6, 95.8), 32, 224),
    ("mvitv2_l_40x3", "mmaction2_k400"): ((85.4, 96.2), 40, 312),
    ("mvitv2_s_16x4", "mmaction2_ssv2"): ((68.1, 91.0), 16, 224),
    ("mvitv2_b_32x3", "mmaction2_ssv2"): ((70.8, 92.7), 32, 224),
    ("mvitv2_l_40x3", "mmaction2_ssv2"): ((73.2, 94.0), 40, 312),
    ("mvitv2_s_16x4", "maskfeat"): (None, 16, 224),
    ("mvitv2_l_40x3", "maskfeat"): (None, 16, 224),
    ("mvitv2_t", "detectron2_in1k"): (None, None, 224),
    ("mvitv2_s", "detectron2_in1k"): (None, None, 224),
    ("mvitv2_b", "detectron2_in1k"): (None, None, 224),
    ("mvitv2_b_in21k", "detectron2_in21k"): (None, None, 224),
    ("mvitv2_l_in21k", "detectron2_in21k"): (None, None, 224),
    ("mvitv2_h_in21k", "detectron2_in21k"): (None, None, 224),
    ("mvitv2_t", "coco_mask_rcnn"): (None, None, 224),
    ("mvitv2_t", "coco_cascade"): (None, None, 224),
    ("mvitv2_s", "coco_cascade"): (None, None, 224),
    ("mvitv2_b", "coco_cascade"): (None, None, 224),
    ("mvitv2_b", "coco_cascade_in21k"): (None, None, 224),
    ("mvitv2_l", "coco_cascade_in21k"): (None, None, 224),
    ("mvitv2_h", "coco_cascade_in21k"): (None, None, 224),
    ("mask_rcnn_mvitv2_t", "coco"): (None, None, 224),
    ("cascade_mask_rcnn_mvitv2_t", "coco"): (None, None, 224),
    ("cascade_mask_rcnn_mvitv2_s", "coco"): (None, None, 224),
    ("cascade_mask_rcnn_mvitv2_b", "coco"): (None, None, 224),
    ("cascade_mask_rcnn_mvitv2_b", "coco_in21k"): (None, None, 224),
    ("cascade_mask_rcnn_mvitv2_l", "coco_in21k"): (None, None, 224),
    ("cascade_mask_rcnn_mvitv2_h", "coco_in21k"): (None, None, 224),
    ("mvitv2_t", "timm_in1k"): ((82.41, None), None, 224),
    ("mvitv2_s", "timm_in1k"): ((83.77, None), None, 224),
    ("mvitv2_b", "timm_in1k"): ((84.42, None), None, 224),
    ("mvitv2_l", "timm_in1k"): ((85.26, None), None, 224),
    ("mvitv2_b_in21k", "timm_in21k"): (None, None, 224),
    ("mvitv2_l_in21k", "timm_in21k"): (None, None, 224),
    ("mvitv2_h_in21k", "timm_in21k"): (None, None, 224),
    ("mvitv1_b_16x4", "rev_k400"): ((78.4, 93.4), 16, 224),
    ("mvitv1_b_16", "rev_in1k"): ((82.9, None), None, 224),
}
HUB_MODULES = ("slowfast", "resnet", "x3d", "csn", "r2plus1d")  # modules of PyTorchVideo's hub


def hub_paths() -> dict[str, str]:
    """URL of every network that PyTorchVideo's hub knows, by name."""
    modules = (importlib.import_module(f"pytorchvideo.models.hub.{name}") for name in HUB_MODULES)
    return {name: path for module in modules for name, path in module.checkpoint_paths.items()}


def mean_of(model: str, tag: str) -> tuple[float, ...]:
    return find(model, tag).mean


def test_every_published_address_is_there_once() -> None:
    baselines = {hub_paths()[name]: (name, "k400") for name in list_models() if name in hub_paths()}
    assert len(baselines) == 11
    entries = [entry for entry in PUBLISHED if entry.url is not None and entry.model not in DETECTORS]
    assert {entry.url: (entry.model, entry.tag) for entry in entries} == URLS | baselines
    assert len(entries) == len(URLS | baselines)
    assert max(Counter((entry.model, entry.tag) for entry in PUBLISHED).values()) == 1


def test_the_file_of_a_detector_is_that_of_its_backbone() -> None:
    found = {}
    for entry in PUBLISHED:
        if entry.model in DETECTORS:
            kind = "cascade" if entry.model.startswith("cascade") else "mask_rcnn"
            found[entry.url] = (DETECTORS[entry.model].backbone, entry.tag.replace("coco", f"coco_{kind}"))
            assert f"/{entry.model}_" in entry.url.replace("in12k_", "") and entry.name_hash[0] == "md5"
            assert len(entry.name_hash[1]) == 6
    assert found == {url: names for url, names in URLS.items() if "detectron2/MViTv2/" in url}


def test_every_model_is_one_of_ours() -> None:
    assert {entry.model for entry in PUBLISHED} <= set(list_models())


def test_timm_names_are_those_of_timm() -> None:
    from timm.models.mvitv2 import default_cfgs

    theirs = {f"{cfg.hf_hub_id}{name}": cfg.num_classes for name, cfg in hub_names(default_cfgs).items()}
    ours = {entry.unsupported.split()[0]: entry.num_classes for entry in PUBLISHED if entry.publisher == "timm"}
    assert ours == theirs and len(ours) == 7


def hub_names(default_cfgs: dict) -> dict:
    """timm's pretrained configs by full name, without those that have no weights."""
    return {
        f"{architecture}.{tag}": cfg
        for architecture, tagged in default_cfgs.items()
        for tag, cfg in tagged.cfgs.items()
        if cfg.hf_hub_id
    }


@pytest.mark.parametrize(
    ("model", "builder"), [("mvitv2_s_16x4", "MViT_V2_S_Weights"), ("mvitv1_b_16x4", "MViT_V1_B_Weights")]
)
def test_torchvisions_files_are_as_torchvision_describes_them(model: str, builder: str) -> None:
    from torchvision.models import video

    theirs = getattr(video, builder).KINETICS400_V1
    ours = find(model, "torchvision_k400")
    preset = theirs.transforms()
    assert ours.url == theirs.url
    assert ours.accuracy == tuple(theirs.meta["_metrics"]["Kinetics-400"][key] for key in ("acc@1", "acc@5"))
    assert (list(ours.mean), list(ours.std)) == (list(preset.mean), list(preset.std))
    assert ours.num_classes == len(theirs.meta["categories"])
    assert (ours.num_frames, [ours.crop_size]) == (theirs.meta["min_temporal_size"], list(preset.crop_size)[:1])
    assert "frames at 7.5" in ours.protocol and "frame_rate=7.5" in theirs.meta["_docs"]
    assert theirs.url.endswith(f"-{ours.name_hash[1]}.pth") and ours.name_hash[0] == "sha256"


@pytest.mark.parametrize(
    ("model", "tag", "accuracy", "protocol", "classes", "frames", "crop"),
    [
        ("mvitv2_s_16x4", "k400", (81.0, 94.6), "5 clips x 1 crop", 400, 16, 224),
        ("mvitv2_b_32x3", "k400", (82.9, 95.7), "5 clips x 1 crop", 400, 32, 224),
        ("mvitv2_l_40x3", "k400", (86.1, 97.0), "5 clips x 3 crops", 400, 40, 312),
        ("mvitv2_s_16x4", "ssv2", (68.2, 91.4), "1 clip x 3 crops", 174, 16, 224),
        ("mvitv2_b_32x3", "ssv2", (70.5, 92.7), "1 clip x 3 crops", 174, 32, 224),
        ("mvitv2_l_40x3", "ssv2", (73.3, 94.1), "1 clip x 3 crops", 174, 40, 312),
        ("mvitv1_b_32x3", "k600", (83.9, 96.5), "5 clips x 1 crop", 600, 32, 224),
        ("mvitv2_t", "in1k", (82.3, None), "the centre crop of short side 256", 1000, None, 224),
        ("mvitv2_l", "in1k", (85.3, None), "the centre crop of short side 256", 1000, None, 224),
        ("x3d_s", "k400", (73.33, 91.27), "10 clips x 3 crops", 400, 13, 160),
    ],
)
def test_rows(model, tag, accuracy, protocol, classes, frames, crop) -> None:
    entry = find(model, tag)
    assert (entry.accuracy, entry.protocol, entry.num_classes) == (accuracy, protocol, classes)
    assert (entry.num_frames, entry.crop_size) == (frames, crop)


def test_the_figures_of_every_row() -> None:
    found = {(entry.model, entry.tag): (entry.accuracy, entry.num_frames, entry.crop_size) for entry in PUBLISHED}
    assert found == FIGURES


def test_baselines_clips_are_those_of_their_weights() -> None:
    rows = {entry.model: (entry.num_frames, entry.crop_size) for entry in PUBLISHED if entry.model in BASELINES}
    assert rows == {name: (baseline.num_frames, baseline.crop_size) for name, baseline in BASELINES.items()}


def test_normalisation_of_the_training() -> None:
    """Parity_facts.md 11.1: one mean for all channels in S and B, ImageNet's in L, whoever converted the files."""
    grey, imagenet = (0.45, 0.45, 0.45), (0.485, 0.456, 0.406)
    for tag in ("k400", "ssv2", "mmaction2_k400", "mmaction2_ssv2"):
        assert mean_of("mvitv2_s_16x4", tag) == mean_of("mvitv2_b_32x3", tag) == grey
        assert mean_of("mvitv2_l_40x3", tag) == imagenet
    assert {entry.mean for entry in PUBLISHED if entry.num_frames is None} == {imagenet}
    assert {(entry.mean, entry.std) for entry in PUBLISHED} == {
        (grey, (0.225, 0.225, 0.225)),
        (imagenet, (0.229, 0.224, 0.225)),
    }


def test_which_names_carry_a_hash() -> None:
    found = Counter((entry.publisher, *entry.name_hash[:1]) for entry in PUBLISHED if entry.name_hash)
    assert found == {("torchvision", "sha256"): 2, ("mmaction2", "sha256"): 6, ("detectron2", "md5"): 14}


def test_heads_fit_their_models() -> None:
    """Files of a model's own dataset have its default number of classes; frames, crop and switches are accepted by it."""
    import torch

    for entry in PUBLISHED:
        with torch.device("meta"):
            model = create_model(
                entry.model,
                num_frames=entry.num_frames,
                crop_size=entry.crop_size,
                num_classes=entry.num_classes,
                **dict(entry.switches),
            )
        if entry.model in DETECTORS:
            assert model.sizes.num_classes == entry.num_classes == 80
            continue
        default = 400 if entry.num_frames else 19168 if entry.model.endswith("_in21k") else 1000
        if entry.tag.endswith(("k400", "in1k", "in21k")) and entry.num_classes is not None:
            assert entry.num_classes == default
        assert sum(parameter.numel() for parameter in model.parameters()) > 3e6


@pytest.mark.parametrize(
    ("model", "tag"),
    [
        ("mvitv2_s_16x4", "k400"),
        ("mvitv2_l_40x3", "k400"),
        ("mvitv2_l", "in1k"),
        ("mvitv2_h_in21k", "in21k"),
        ("mvitv1_b_16x4", "k400"),
        ("mvitv1_b_32x3", "k400"),
        ("mvitv1_b_16", "in1k"),
        ("x3d_xs", "k400"),
    ],
)
def test_a_models_own(model: str, tag: str) -> None:
    assert find(model) == find(model, True) == find(model, tag)
    assert find(model).url.startswith(META)


@pytest.mark.parametrize(
    ("model", "pretrained", "said"),
    [
        ("mvitv2_s_16x4", "k600", "no MViTv2 weights for Kinetics-600 or Kinetics-700 were ever released"),
        ("mvitv2_b_32x3", "k700", "no MViTv2 weights for Kinetics-600 or Kinetics-700 were ever released"),
        ("mvitv2_l_40x3", "ava", "no MViTv2 weights for AVA were ever released"),
        ("mvitv2_b_32x3", "in21k_ssv2", "the SSv2 model B from ImageNet-21K was never released"),
        ("mvitv2_b", "in1k_384", "no MViTv2 image weights at 384 or 512 pixels were ever released"),
        ("mvitv2_l", "in21k_in1k", "fine-tuned from ImageNet-21K were never released"),
        ("mvitv2_s", "in21k", "ImageNet-21K weights of MViTv2-T and S were never released"),
        ("mvitv2_h", True, "ImageNet-1K weights of MViTv2-H were never released; it has coco_cascade_in21k"),
        ("mvitv2_h", "in1k", "ImageNet-1K weights of MViTv2-H were never released"),
        ("mask_rcnn_mvitv2_s", True, "Mask R-CNN with MViTv2-S, B or L was never released; you can give the path"),
        ("cascade_mask_rcnn_mvitv2_l", "coco", "L or H from ImageNet-1K was never released; it has coco_in21k, or"),
        ("mvitv2_b", "coco_mask_rcnn", "Mask R-CNN with MViTv2-S, B or L was never released"),
        ("mvitv2_b", "in21k", "those are weights of mvitv2_b_in21k, mvitv2_l_in21k, mvitv2_h_in21k"),
        (
            "mvitv2_s_16x4",
            "sssv2",
            "'sssv2', perhaps 'ssv2' is meant; it has k400, ssv2, torchvision_k400, mmaction2_k400",
        ),
        ("mvitv2_t", "banana", "it has in1k, detectron2_in1k, coco_mask_rcnn, coco_cascade, or give the path or URL"),
        ("vit_b_16", True, "vit_b_16 has no published weights; you can give the path or URL of a file"),
        ("vit_b_16", "k40", "vit_b_16 has no published weights 'k40'; you can give the path or URL of a file"),
        ("mvitv2_t", "timm_in1k", "timm/mvitv2_tiny.fb_in1k lies on the Hugging Face hub: download its"),
        ("mvitv1_b_16x4", "rev_k400", "a reversible model carries two streams through its blocks"),
    ],
)
def test_what_cannot_be_had(model: str, pretrained: bool | str, said: str) -> None:
    with pytest.raises(UserError) as error:
        find(model, pretrained)
    assert said in str(error.value)


def test_lists() -> None:
    assert list_weights() == list(PUBLISHED)
    assert [entry.tag for entry in list_weights("mvitv1_b_16x4")] == ["k400", "torchvision_k400", "rev_k400"]
    assert tags("mvitv1_b_16x4") == ["k400", "torchvision_k400"]
    assert tags("vit_b_16") == []
    with pytest.raises(UserError, match=r"there is no model 'mvitv2_s_16x5'; did you mean mvitv2_s_16x4\?"):
        list_weights("mvitv2_s_16x5")


def test_every_model_has_a_list() -> None:
    assert {name for name in list_models() if list_weights(name) == []} == WITHOUT_WEIGHTS


def test_an_entry_reads_as_a_line() -> None:
    assert str(find("mvitv2_s_16x4")) == "mvitv2_s_16x4 k400: Kinetics-400, 81.0 / 94.6 at 5 clips x 1 crop"
    assert str(find("mvitv2_t")) == "mvitv2_t in1k: ImageNet-1K, 82.3 at the centre crop of short side 256"
    assert str(find("cascade_mask_rcnn_mvitv2_b")) == (
        "cascade_mask_rcnn_mvitv2_b coco: COCO, 54.1 box AP and 46.7 mask AP on val2017, short side 800"
    )
    assert str(find("mvitv2_b_in21k")) == (
        "mvitv2_b_in21k in21k: ImageNet-21K and 1K, no accuracy published; the first 1000 classes are ImageNet-1K's"
    )
    (reversible,) = (entry for entry in list_weights("mvitv1_b_16") if entry.tag == "rev_in1k")
    assert "(not loaded by its tag: a reversible model" in str(reversible)
