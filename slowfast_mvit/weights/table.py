"""The table of published weights, publisher by publisher. The figures are the publishers' own; no file was opened for it."""

from dataclasses import replace

from slowfast_mvit.weights.published import Accuracy, Published

_META = "https://dl.fbaipublicfiles.com/"
_PYSLOWFAST = f"{_META}pyslowfast/"
_PYTORCHVIDEO = f"{_META}pytorchvideo/model_zoo/"
_DETECTRON2 = f"{_META}detectron2/"
_TORCHVISION = "https://download.pytorch.org/models/"
_OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/recognition/mvit/converted/"

_FIVE, _FIFTEEN, _THIRTY, _THREE = "5 clips x 1 crop", "5 clips x 3 crops", "10 clips x 3 crops", "1 clip x 3 crops"
_FRAMES = {"16x4": 16, "32x3": 32, "40x3": 40}

_K400 = Published(
    model="",
    tag="k400",
    url="",
    publisher="PySlowFast",
    dataset="Kinetics-400",
    num_classes=400,
    accuracy=None,
    protocol=_FIVE,
    num_frames=None,
    crop_size=224,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
_K600 = replace(_K400, tag="k600", dataset="Kinetics-600", num_classes=600)
_SSV2 = replace(_K400, tag="ssv2", dataset="Something-Something v2", num_classes=174, protocol=_THREE)
_IN1K = replace(
    _K400,
    tag="in1k",
    publisher="mvit",
    dataset="ImageNet-1K",
    num_classes=1000,
    protocol="the centre crop of short side 256",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
_IN21K = replace(
    _IN1K,
    tag="in21k",
    dataset="ImageNet-21K and 1K",
    num_classes=19168,
    protocol="no accuracy published; the first 1000 classes are ImageNet-1K's",
)


def _large(kind: Published, protocol: str) -> Published:
    """Video L: 312 pixels, and ImageNet's normalisation."""
    return replace(kind, protocol=protocol, crop_size=312, mean=_IN1K.mean, std=_IN1K.std)


def _file(kind: Published, model: str, url: str, accuracy: Accuracy | None = None) -> Published:
    return replace(kind, model=model, url=url, accuracy=accuracy, num_frames=_FRAMES.get(model[-4:]))


# PySlowFast and mvit: the authors' own.
_V2 = f"{_PYSLOWFAST}model_zoo/mvitv2/pysf_video_models/MViTv2_"
_VIDEO = (
    _file(_K400, "mvitv2_s_16x4", f"{_V2}S_16x4_k400_f302660347.pyth", (81.0, 94.6)),
    _file(_K400, "mvitv2_b_32x3", f"{_V2}B_32x3_k400_f304025456.pyth", (82.9, 95.7)),
    _file(_large(_K400, _FIFTEEN), "mvitv2_l_40x3", f"{_V2}L_40x3_k400_f306903192.pyth", (86.1, 97.0)),
    _file(_SSV2, "mvitv2_s_16x4", f"{_V2}S_16x4_ssv2_f308341823.pyth", (68.2, 91.4)),
    _file(_SSV2, "mvitv2_b_32x3", f"{_V2}B_32x3_ssv2_f305803282.pyth", (70.5, 92.7)),
    _file(_large(_SSV2, _THREE), "mvitv2_l_40x3", f"{_V2}L_40x3_ssv2_f309603968.pyth", (73.3, 94.1)),
)
_VERSION_1 = (
    _file(_K400, "mvitv1_b_32x3", f"{_PYSLOWFAST}model_zoo/mvit/k400.pyth", (80.4, 94.8)),
    _file(_K600, "mvitv1_b_32x3", f"{_PYSLOWFAST}model_zoo/mvit/k600.pyth", (83.9, 96.5)),
)
_V2_IMAGE = f"{_META}mvit/mvitv2_models/MViTv2_"
_IMAGE = (
    _file(_IN1K, "mvitv2_t", f"{_V2_IMAGE}T_in1k.pyth", (82.3, None)),
    _file(_IN1K, "mvitv2_s", f"{_V2_IMAGE}S_in1k.pyth", (83.6, None)),
    _file(_IN1K, "mvitv2_b", f"{_V2_IMAGE}B_in1k.pyth", (84.4, None)),
    _file(_IN1K, "mvitv2_l", f"{_V2_IMAGE}L_in1k.pyth", (85.3, None)),
    _file(_IN21K, "mvitv2_b_in21k", f"{_V2_IMAGE}B_in21k.pyth"),
    _file(_IN21K, "mvitv2_l_in21k", f"{_V2_IMAGE}L_in21k.pyth"),
    _file(_IN21K, "mvitv2_h_in21k", f"{_V2_IMAGE}H_in21k.pyth"),
)

# MaskFeat's pre-training. Its head predicts gradient histograms; that and its mask token are left behind. Its last stage kept
# 14 x 14 tokens, so that position tables of that stage are resized.
_MASKFEAT = tuple(
    replace(
        _file(_K400, model, f"{_PYSLOWFAST}masked_models/{file}"),
        tag="maskfeat",
        dataset="Kinetics-400 without labels",
        num_classes=None,
        protocol=f"a start for fine-tuning, without head and last norm; fine-tuned it reached {reached} (10 clips x 1 crop)",
        num_frames=16,
        switches=(("expand_in_attention", False), ("mean_pooling", True)),
    )
    for model, file, reached in (
        ("mvitv2_s_16x4", "k400_MVIT_S_MaskFeat_PT_epoch_00300.pyth", 82.2),
        ("mvitv2_l_40x3", "k400_MVIT_L_MaskFeat_PT_epoch_00800.pyth", 84.3),
    )
)
_REVERSIBLE = tuple(
    replace(
        _file(kind, model, f"{_PYSLOWFAST}rev/{file}", accuracy),
        tag=f"rev_{kind.tag}",
        publisher="PySlowFast",
        unsupported="a reversible model carries two streams through its blocks, and this package does not build one",
    )
    for kind, model, file, accuracy in (
        (_K400, "mvitv1_b_16x4", "REV_MVIT_B_16x4.pyth", (78.4, 93.4)),
        (_IN1K, "mvitv1_b_16", "REV_MVIT_B.pyth", (82.9, None)),
    )
)

# PyTorchVideo's hub: MViTv1 and the baselines.
_HUB_K400 = replace(_K400, publisher="PyTorchVideo")
# Its norms after pools have another epsilon than everybody else's.
_HUB = tuple(
    replace(entry, switches=(("pool_norm_eps", 1e-5),))
    for entry in (
        _file(_HUB_K400, "mvitv1_b_16x4", f"{_PYTORCHVIDEO}kinetics/MVIT_B_16x4.pyth", (78.9, None)),
        _file(
            replace(_HUB_K400, tag="pytorchvideo_k400"),
            "mvitv1_b_32x3",
            f"{_PYTORCHVIDEO}kinetics/MVIT_B_32x3_f294077834.pyth",
            (80.3, None),
        ),
        _file(
            replace(_IN1K, publisher="PyTorchVideo"),
            "mvitv1_b_16",
            f"{_PYTORCHVIDEO}imagenet/MVIT_B_16_f292487636.pyth",
            (83.0, None),
        ),
    )
)
_BASELINES = tuple(
    replace(
        _file(_HUB_K400, model, f"{_PYTORCHVIDEO}kinetics/{file}.pyth", accuracy),
        protocol=_THIRTY,
        num_frames=num_frames,
        crop_size=crop_size,
    )
    for model, file, num_frames, crop_size, accuracy in (
        ("slowfast_r50", "SLOWFAST_8x8_R50", 32, 224, (76.94, 92.69)),
        ("slowfast_r101", "SLOWFAST_8x8_R101", 32, 224, (77.90, 93.27)),
        ("slow_r50", "SLOW_8x8_R50", 8, 224, (74.58, 91.63)),
        ("c2d_r50", "C2D_8x8_R50", 8, 224, (71.46, 89.68)),
        ("i3d_r50", "I3D_8x8_R50", 8, 224, (73.27, 90.70)),
        ("r2plus1d_r50", "R2PLUS1D_16x4_R50", 16, 224, (76.01, 92.23)),
        ("csn_r101", "CSN_32x2_R101", 32, 224, (77.00, 92.90)),
        ("x3d_xs", "X3D_XS", 4, 160, (69.12, 88.63)),
        ("x3d_s", "X3D_S", 13, 160, (73.33, 91.27)),
        ("x3d_m", "X3D_M", 16, 224, (75.94, 92.72)),
        ("x3d_l", "X3D_L", 16, 312, (77.44, None)),
    )
)

# Conversions of the authors' files.
_KIND = replace(
    _K400, tag="torchvision_k400", publisher="torchvision", protocol=f"{_FIVE}, 16 frames at 7.5 per second"
)
_CONVERTED = (
    _file(_KIND, "mvitv2_s_16x4", f"{_TORCHVISION}mvit_v2_s-ae3be167.pth", (80.757, 94.665)),
    _file(_KIND, "mvitv1_b_16x4", f"{_TORCHVISION}mvit_v1_b-dbeb1030.pth", (78.477, 93.582)),
    *(
        replace(
            official,
            tag=f"mmaction2_{official.tag}",
            url=f"{_OPENMMLAB}mvit-{file}.pth",
            publisher="mmaction2",
            accuracy=accuracy,
            protocol=official.protocol + normalised,
        )
        # Some of its configs do not normalise as these weights were trained: mean and std here are the training's.
        for official, (file, accuracy, normalised) in zip(
            _VIDEO,
            (
                ("small-p244_16x4x1_kinetics400-rgb_20221021-9ebaaeed", (81.1, 94.7), ""),
                ("base-p244_32x3x1_kinetics400-rgb_20221021-f392cd2d", (82.6, 95.8), ""),
                ("large-p244_40x3x1_kinetics400-rgb_20221021-11fe1f97", (85.4, 96.2), ", normalised by 0.45 / 0.225"),
                ("small-p244_u16_sthv2-rgb_20221021-65ecae7d", (68.1, 91.0), ", normalised as ImageNet"),
                ("base-p244_u32_sthv2-rgb_20221021-d5de5da6", (70.8, 92.7), ""),
                ("large-p244_u40_sthv2-rgb_20221021-61696e07", (73.2, 94.0), ", normalised by 0.45 / 0.225"),
            ),
            strict=True,
        )
    ),
)
_TIMM = tuple(
    replace(
        official,
        tag=f"timm_{official.tag}",
        url=None,
        publisher="timm",
        accuracy=None if top1 is None else (top1, None),
        protocol=official.protocol if top1 is None else "the centre crop of 0.9",
        unsupported=f"timm/{name} lies on the Hugging Face hub: download its model.safetensors there and give the path",
    )
    for official, (name, top1) in zip(
        _IMAGE,
        (
            ("mvitv2_tiny.fb_in1k", 82.41),
            ("mvitv2_small.fb_in1k", 83.77),
            ("mvitv2_base.fb_in1k", 84.42),
            ("mvitv2_large.fb_in1k", 85.26),
            ("mvitv2_base_cls.fb_inw21k", None),
            ("mvitv2_large_cls.fb_inw21k", None),
            ("mvitv2_huge_cls.fb_inw21k", None),
        ),
        strict=True,
    )
)

# detectron2: what its detectors start from, and the detectors, whose backbones have no class token.
_STARTS = tuple(
    replace(
        official,
        tag=f"detectron2_{official.tag}",
        url=f"{_DETECTRON2}ImageNetPretrained/mvitv2/{(official.url or '').rsplit('/', 1)[-1]}",
        publisher="detectron2",
        num_classes=None,  # whether these copies hold the head is not known; if they do, it is loaded
        accuracy=None,
        protocol="what detectron2's detectors start from",
    )
    for official in _IMAGE
    if official.model != "mvitv2_l"
)
# model of the detector, tag, file, box and mask AP
_COCO = (
    ("mask_rcnn_mvitv2_t", "coco", "mask_rcnn_mvitv2_t_3x/f307611773/model_final_1a1c30", 48.3, 43.8),
    ("cascade_mask_rcnn_mvitv2_t", "coco", "cascade_mask_rcnn_mvitv2_t_3x/f308344828/model_final_c6967a", 52.2, 45.0),
    ("cascade_mask_rcnn_mvitv2_s", "coco", "cascade_mask_rcnn_mvitv2_s_3x/f308344647/model_final_279baf", 53.2, 46.0),
    ("cascade_mask_rcnn_mvitv2_b", "coco", "cascade_mask_rcnn_mvitv2_b_3x/f308109448/model_final_421a91", 54.1, 46.7),
    (
        "cascade_mask_rcnn_mvitv2_b",
        "coco_in21k",
        "cascade_mask_rcnn_mvitv2_b_in12k_3x/f309003202/model_final_be5168",
        54.9,
        47.4,
    ),
    (
        "cascade_mask_rcnn_mvitv2_l",
        "coco_in21k",
        "cascade_mask_rcnn_mvitv2_l_in12k_lsj_50ep/f308099658/model_final_c41c5a",
        55.8,
        48.3,
    ),
    (
        "cascade_mask_rcnn_mvitv2_h",
        "coco_in21k",
        "cascade_mask_rcnn_mvitv2_h_in12k_lsj_3x/f309013744/model_final_30d36b",
        56.1,
        48.5,
    ),
)
_DETECTORS = tuple(
    replace(
        _IN1K,
        model=model,
        tag=tag,
        url=f"{_DETECTRON2}MViTv2/{file}.pkl",
        publisher="detectron2",
        dataset="COCO",
        num_classes=80,
        protocol=f"{box} box AP and {mask} mask AP on val2017, short side 800",
    )
    for model, tag, file, box, mask in _COCO
)
_BACKBONE_SWITCHES = {"mvitv2_l": (("expand_in_attention", True),), "mvitv2_h": (("cls_token", False),)}
_BACKBONES = tuple(
    replace(
        detector,
        model=backbone,
        tag=detector.tag.replace("coco", f"coco_{'cascade' if detector.model.startswith('cascade') else 'mask_rcnn'}"),
        num_classes=None,
        protocol=f"the backbone, without head and last norm, of {detector.model}: {detector.protocol}",
        switches=_BACKBONE_SWITCHES.get(backbone, ()),
    )
    for detector in _DETECTORS
    for backbone in (detector.model[-len("mvitv2_t") :],)
)

# A model's first file with a head is its default.
PUBLISHED: tuple[Published, ...] = (
    *_VIDEO,
    *_VERSION_1,
    *_IMAGE,
    *_HUB,
    *_BASELINES,
    *_CONVERTED,
    *_MASKFEAT,
    *_STARTS,
    *_DETECTORS,
    *_BACKBONES,
    *_TIMM,
    *_REVERSIBLE,
)
