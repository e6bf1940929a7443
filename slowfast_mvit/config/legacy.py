"""Keys and values of PySlowFast and of the mvit repository that this package does not have.

A foreign key at a neutral value asks for nothing and is accepted silently; any other value is refused with the reason
and the remedy. Neutral values are PySlowFast's defaults where the key would change the result, and `ANY` where the key
has no effect in this package or acts only together with a key that is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

ANY = "any value"  # as `neutral`: the key has no effect here


@dataclass(frozen=True)
class ForeignKey:
    """A key that is not in the schema: its neutral values, and what to say about any other."""

    neutral: tuple[Any, ...] | str
    reason: str
    remedy: str = "remove this key"

    def accepts(self, value: Any) -> bool:
        """Whether the value is neutral. Lists and tuples are alike; True is not 1."""
        if self.neutral == ANY:
            return True
        return any(_plain(value) == _plain(neutral) for neutral in self.neutral)


@dataclass(frozen=True)
class ForeignSection:
    """A section of another network: accepted where every key has PySlowFast's default, else refused as a whole."""

    defaults: Mapping[str, Any]
    remedy: str

    def accepts(self, key: str, value: Any) -> bool:
        """Whether the key of this section is at its default."""
        return key in self.defaults and _plain(value) == _plain(self.defaults[key])


def _plain(value: Any) -> Any:
    """A value for comparison: tuples as lists, bools apart from numbers."""
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return (value,) if isinstance(value, bool) else value


def _no_effect(reason: str) -> ForeignKey:
    return ForeignKey(ANY, reason)


_SELF_SUPERVISED = "self-supervised training is not part of this package"
_COLOUR = "the colour augmentation of self-supervised training is not part of this package"
_MULTIGRID = "multigrid training is not part of this package; no MViTv2 recipe uses it"
_BATCH_NORM = "MViT has no batch normalisation, and the baselines use PyTorch's own"
_BATCH_NORM_NUMBERS = "MViT has no batch normalisation, and that of the baselines has PySlowFast's default"
_MASKS = "the mask loader of masked pre-training is not part of this package"
_RELEASED = "no released MViTv2 model uses it, and this package does not have it"
_PLOTS = "these TensorBoard plots are not part of this package"
_PLOTS_REMEDY = "set it to False"
_CHUNKS = "list files are read whole here"
_AVA_COLOUR = "the PCA colour augmentation of AVA is not part of this package"
_BOX_FRAMES = "frames are always RGB here"

FOREIGN_KEYS: Mapping[str, ForeignKey] = MappingProxyType(
    {
        # Top level
        "LOG_MODEL_INFO": _no_effect("the model's size is always logged"),
        "PREFETCH.*": _no_effect("PySlowFast itself does not have this section; its SSv2 files carry it"),
        # Batch normalisation
        "BN.USE_PRECISE_STATS": ForeignKey((False,), _BATCH_NORM, "set it to False"),
        "BN.NORM_TYPE": ForeignKey(("batchnorm",), _BATCH_NORM, "set it to batchnorm"),
        "BN.GLOBAL_SYNC": ForeignKey((False,), _BATCH_NORM, "set it to False"),
        "BN.WEIGHT_DECAY": ForeignKey((0,), _BATCH_NORM_NUMBERS, "set it to 0"),
        "BN.EPSILON": ForeignKey((1e-5,), _BATCH_NORM_NUMBERS, "set it to 1e-5"),
        "BN.MOMENTUM": ForeignKey((0.1,), _BATCH_NORM_NUMBERS, "set it to 0.1"),
        "BN.*": _no_effect("it acts only with USE_PRECISE_STATS or another NORM_TYPE"),
        # Training schemes
        "MULTIGRID.SHORT_CYCLE": ForeignKey((False,), _MULTIGRID, "set it to False"),
        "MULTIGRID.LONG_CYCLE": ForeignKey((False,), _MULTIGRID, "set it to False"),
        "MULTIGRID.*": _no_effect("it acts only with SHORT_CYCLE or LONG_CYCLE"),
        "CONTRASTIVE.*": _no_effect("it acts only with MODEL.MODEL_NAME ContrastiveModel, which is refused"),
        "MASK.ENABLE": ForeignKey((False,), _SELF_SUPERVISED, "set it to False"),
        "MASK.*": _no_effect("it acts only with MASK.ENABLE"),
        "VIS_MASK.ENABLE": ForeignKey((False,), _SELF_SUPERVISED, "set it to False"),
        "VIS_MASK.*": _no_effect("it acts only with VIS_MASK.ENABLE"),
        "AUG.GEN_MASK_LOADER": ForeignKey((False,), _MASKS, "set it to False"),
        "AUG.MASK_TUBE": _no_effect("it acts only with AUG.GEN_MASK_LOADER"),
        "AUG.MASK_FRAMES": _no_effect("it acts only with AUG.GEN_MASK_LOADER"),
        "AUG.MASK_WINDOW_SIZE": _no_effect("it acts only with AUG.GEN_MASK_LOADER"),
        "AUG.MASK_RATIO": _no_effect("it acts only with AUG.GEN_MASK_LOADER"),
        "AUG.MAX_MASK_PATCHES_PER_BLOCK": _no_effect("it acts only with AUG.GEN_MASK_LOADER"),
        # Data
        "DATA.COLOR_RND_GRAYSCALE": ForeignKey((0,), _COLOUR, "set it to 0"),
        "DATA.TIME_DIFF_PROB": ForeignKey((0,), _COLOUR, "set it to 0"),
        "DATA.SSL_COLOR_JITTER": ForeignKey((False,), _COLOUR, "set it to False"),
        "DATA.SSL_MOCOV2_AUG": ForeignKey((False,), _COLOUR, "set it to False"),
        "DATA.SSL_COLOR_BRI_CON_SAT": _no_effect("it acts only with DATA.SSL_COLOR_JITTER"),
        "DATA.SSL_COLOR_HUE": _no_effect("it acts only with DATA.SSL_COLOR_JITTER"),
        "DATA.SSL_BLUR_SIGMA_MIN": _no_effect("it acts only with DATA.SSL_MOCOV2_AUG"),
        "DATA.SSL_BLUR_SIGMA_MAX": _no_effect("it acts only with DATA.SSL_MOCOV2_AUG"),
        "DATA.TRAIN_CROP_NUM_TEMPORAL": ForeignKey((1,), _SELF_SUPERVISED, "set it to 1"),
        "DATA.TRAIN_CROP_NUM_SPATIAL": ForeignKey((1,), _SELF_SUPERVISED, "set it to 1; see AUG.NUM_SAMPLE"),
        "DATA.TRAIN_JITTER_FPS": ForeignKey((0,), _SELF_SUPERVISED, "set it to 0"),
        "DATA.TRAIN_JITTER_MOTION_SHIFT": ForeignKey((False,), _RELEASED, "set it to False"),
        "DATA.TRAIN_PCA_EIGVAL": _no_effect("colours are augmented by RandAugment or AUG.COLOR_JITTER"),
        "DATA.TRAIN_PCA_EIGVEC": _no_effect("colours are augmented by RandAugment or AUG.COLOR_JITTER"),
        "DATA.LOADER_CHUNK_SIZE": ForeignKey((0,), _CHUNKS, "set it to 0"),
        "DATA.LOADER_CHUNK_OVERALL_SIZE": ForeignKey((0,), _CHUNKS, "set it to 0"),
        "DATA.PATH_TO_PRELOAD_IMDB": ForeignKey(("",), "ImageNet is read from its folders", "leave it empty"),
        "DATA.DUMMY_LOAD": ForeignKey((False,), "it would train on one repeated sample", "set it to False"),
        "DATA.DECODING_SHORT_SIZE": _no_effect("frames are decoded at the video's own size"),
        "DATA_LOADER.ENABLE_MULTI_THREAD_DECODE": _no_effect("each loader process decodes in one thread"),
        # Optimizer
        "SOLVER.WARMUP_FACTOR": _no_effect("PySlowFast does not read it either; see SOLVER.WARMUP_START_LR"),
        "SOLVER.GAMMA": _no_effect("no learning rate policy reads it"),
        "SOLVER.STEP_SIZE": _no_effect("no learning rate policy reads it"),
        # Model
        "MODEL.DROPCONNECT_RATE": ForeignKey((0,), "MViT has drop path", "set it to 0 and MVIT.DROPPATH_RATE instead"),
        "MODEL.FC_INIT_STD": _no_effect(
            "MViT starts from a truncated normal of 0.02, the baselines from PySlowFast's 0.01"
        ),
        "MODEL.SINGLE_PATHWAY_ARCH": _no_effect("the pathways follow from MODEL.ARCH"),
        "MODEL.MULTI_PATHWAY_ARCH": _no_effect("the pathways follow from MODEL.ARCH"),
        "MODEL.DETACH_FINAL_FC": ForeignKey((False,), _SELF_SUPERVISED, "set it to False"),
        "MODEL.FROZEN_BN": ForeignKey((False,), _BATCH_NORM, "set it to False"),
        "MODEL.FP16_ALLREDUCE": ForeignKey((False,), _RELEASED, "set it to False; see MODEL.PRECISION"),
        "MVIT.POOL_FIRST": ForeignKey((False,), _RELEASED, "set it to False"),
        "MVIT.SEPARATE_QKV": ForeignKey((False,), _RELEASED, "set it to False"),
        "MVIT.NORM_STEM": ForeignKey((False,), _RELEASED, "set it to False"),
        "MVIT.USE_FIXED_SINCOS_POS": ForeignKey((False,), _RELEASED, "set it to False"),
        "MVIT.LAYER_SCALE_INIT_VALUE": ForeignKey((0,), _RELEASED, "set it to 0"),
        "MVIT.REV.ENABLE": ForeignKey((False,), "reversible MViT is not part of this package", "set it to False"),
        "MVIT.REV.*": _no_effect("it acts only with MVIT.REV.ENABLE"),
        # AVA
        "AVA.BGR": ForeignKey((False,), _BOX_FRAMES, "set it to False"),
        "AVA.TRAIN_USE_COLOR_AUGMENTATION": ForeignKey((False,), _AVA_COLOUR, "set it to False"),
        "AVA.TRAIN_PCA_JITTER_ONLY": _no_effect("it acts only with AVA.TRAIN_USE_COLOR_AUGMENTATION"),
        "AVA.TRAIN_PCA_EIGVAL": _no_effect("it acts only with AVA.TRAIN_USE_COLOR_AUGMENTATION"),
        "AVA.TRAIN_PCA_EIGVEC": _no_effect("it acts only with AVA.TRAIN_USE_COLOR_AUGMENTATION"),
        "AVA.TEST_FORCE_FLIP": ForeignKey((False,), "tests see the frames as they are", "set it to False"),
        # Tools
        "TENSORBOARD.PREDICTIONS_PATH": ForeignKey(("",), _PLOTS, "leave it empty"),
        "TENSORBOARD.CATEGORIES_PATH": ForeignKey(("",), _PLOTS, "leave it empty"),
        "TENSORBOARD.CONFUSION_MATRIX.ENABLE": ForeignKey((False,), _PLOTS, _PLOTS_REMEDY),
        "TENSORBOARD.CONFUSION_MATRIX.*": _no_effect("it acts only with its ENABLE"),
        "TENSORBOARD.HISTOGRAM.ENABLE": ForeignKey((False,), _PLOTS, _PLOTS_REMEDY),
        "TENSORBOARD.HISTOGRAM.*": _no_effect("it acts only with its ENABLE"),
        "TENSORBOARD.MODEL_VIS.ENABLE": ForeignKey((False,), _PLOTS, _PLOTS_REMEDY),
        "TENSORBOARD.MODEL_VIS.*": _no_effect("it acts only with its ENABLE"),
        "TENSORBOARD.WRONG_PRED_VIS.ENABLE": ForeignKey((False,), _PLOTS, _PLOTS_REMEDY),
        "TENSORBOARD.WRONG_PRED_VIS.*": _no_effect("it acts only with its ENABLE"),
        "DEMO.ENABLE": ForeignKey(
            (False,), "there is no demo inside a training job", "set it to False; tools/predict.py runs on any video"
        ),
        "DEMO.*": _no_effect("it acts only with DEMO.ENABLE"),
        "BENCHMARK.*": _no_effect("tools/benchmark.py takes its settings as arguments"),
    }
)

_OTHER_NETWORK = (
    "the network of this section is not part of this package; "
    "for a baseline set MODEL.ARCH to a PyTorchVideo hub name such as {name} and remove the section"
)

FOREIGN_SECTIONS: Mapping[str, ForeignSection] = MappingProxyType(
    {
        "RESNET": ForeignSection(
            {
                "TRANS_FUNC": "bottleneck_transform",
                "NUM_GROUPS": 1,
                "WIDTH_PER_GROUP": 64,
                "INPLACE_RELU": True,
                "STRIDE_1X1": False,
                "ZERO_INIT_FINAL_BN": False,
                "ZERO_INIT_FINAL_CONV": False,
                "DEPTH": 50,
                "NUM_BLOCK_TEMP_KERNEL": [[3], [4], [6], [3]],
                "SPATIAL_STRIDES": [[1], [2], [2], [2]],
                "SPATIAL_DILATIONS": [[1], [1], [1], [1]],
            },
            _OTHER_NETWORK.format(name="slow_r50"),
        ),
        "SLOWFAST": ForeignSection(
            {"BETA_INV": 8, "ALPHA": 8, "FUSION_CONV_CHANNEL_RATIO": 2, "FUSION_KERNEL_SZ": 5},
            _OTHER_NETWORK.format(name="slowfast_r50"),
        ),
        "X3D": ForeignSection(
            {
                "WIDTH_FACTOR": 1.0,
                "DEPTH_FACTOR": 1.0,
                "BOTTLENECK_FACTOR": 1.0,
                "DIM_C5": 2048,
                "DIM_C1": 12,
                "SCALE_RES2": False,
                "BN_LIN5": False,
                "CHANNELWISE_3x3x3": True,
            },
            _OTHER_NETWORK.format(name="x3d_m"),
        ),
        "NONLOCAL": ForeignSection(
            {
                "LOCATION": [[[]], [[]], [[]], [[]]],
                "GROUP": [[1], [1], [1], [1]],
                "INSTANTIATION": "dot_product",
                "POOL": [[[1, 2, 2], [1, 2, 2]]] * 4,
            },
            _OTHER_NETWORK.format(name="slow_r50"),
        ),
    }
)

KEY_ALIASES: Mapping[str, str] = MappingProxyType({"DATA.VAL_CROP_RATIO": "DATA.IN_VAL_CROP_RATIO"})

# (key, value as written) -> the value that it means here
VALUE_ALIASES: Mapping[tuple[str, Any], Any] = MappingProxyType(
    {
        ("DATA.DECODING_BACKEND", "torchvision"): "pyav",
        ("SOLVER.OPTIMIZING_METHOD", "mt_adamw"): "adamw",
        ("MVIT.POOL_KV_STRIDE", None): (),
        ("MVIT.POOL_KV_STRIDE", "None"): (),
    }
)

_PTV_NAME = "PySlowFast builds this network itself; here set MODEL.ARCH to {name} (PyTorchVideo's hub model)"

_CHARADES = (
    "its frame lists are not read here: list its videos, or folders of frames, as 'path label,label,...', and set kinetics "
    "with DATA.MULTI_LABEL True"
)
# key -> value -> why it is refused
FOREIGN_VALUES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "MODEL.ARCH": {
            "slowfast": _PTV_NAME.format(name="slowfast_r50 or slowfast_r101"),
            "slow": _PTV_NAME.format(name="slow_r50"),
            "i3d": _PTV_NAME.format(name="i3d_r50"),
            "c2d": _PTV_NAME.format(name="c2d_r50"),
            "2d": _PTV_NAME.format(name="c2d_r50"),
            "x3d": _PTV_NAME.format(name="x3d_xs, x3d_s, x3d_m or x3d_l"),
            "r2plus1d": _PTV_NAME.format(name="r2plus1d_r50"),
            "csn": _PTV_NAME.format(name="csn_r101"),
        },
        "MODEL.MODEL_NAME": {
            "ContrastiveModel": f"{_SELF_SUPERVISED}; set it to MViT",
            "MaskMViT": f"{_SELF_SUPERVISED}; set it to MViT",
        },
        "MODEL.LOSS_FUNC": {
            "mse": f"{_SELF_SUPERVISED}; set it to cross_entropy or soft_cross_entropy",
            "multi_mse": f"{_SELF_SUPERVISED}; set it to cross_entropy or soft_cross_entropy",
            "contrastive_loss": f"{_SELF_SUPERVISED}; set it to cross_entropy or soft_cross_entropy",
        },
        "TASK": {"ssl": f"{_SELF_SUPERVISED}; ssl_eval and other names are fine"},
        "TRAIN.CHECKPOINT_TYPE": {
            "caffe2": "Caffe2 files are not read here; convert it with PySlowFast, then set pytorch"
        },
        "TEST.CHECKPOINT_TYPE": {
            "caffe2": "Caffe2 files are not read here; convert it with PySlowFast, then set pytorch"
        },
        "TRAIN.DATASET": {"charades": _CHARADES},
        "TEST.DATASET": {"charades": _CHARADES},
    }
)


def find_foreign_key(name: str) -> ForeignKey | None:
    """The row of the table for a dotted name: the name itself, else the nearest family "A.B.*" that holds it."""
    if name in FOREIGN_KEYS:
        return FOREIGN_KEYS[name]
    parts = name.split(".")
    families = (".".join(parts[:length]) + ".*" for length in range(len(parts) - 1, 0, -1))
    return next((FOREIGN_KEYS[family] for family in families if family in FOREIGN_KEYS), None)


def foreign_key_problem(name: str, value: Any) -> str | None:
    """Why the value of a foreign key is refused, or None where it is neutral. The name must be in the table."""
    row = find_foreign_key(name)
    if row is None:
        raise KeyError(name)
    if row.accepts(value):
        return None
    neutral = " or ".join(map(repr, row.neutral))
    return f"{value!r} is refused: {row.reason} (accepted: {neutral}); {row.remedy}"


def section_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """For the keys of foreign sections ("RESNET.DEPTH": 101), the sections that are refused and why."""
    problems: dict[str, str] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        if section not in problems and not FOREIGN_SECTIONS[section].accepts(key, value):
            problems[section] = FOREIGN_SECTIONS[section].remedy
    return problems
