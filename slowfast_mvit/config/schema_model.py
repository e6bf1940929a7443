"""The config's sections about the network: MODEL, MVIT and DETECTION."""

from dataclasses import dataclass

from slowfast_mvit.config.keys import key

# PyTorchVideo's hub networks that MODEL.ARCH may name.
BASELINE_ARCHS = (
    "slowfast_r50",
    "slowfast_r101",
    "slow_r50",
    "x3d_xs",
    "x3d_s",
    "x3d_m",
    "x3d_l",
    "i3d_r50",
    "c2d_r50",
    "r2plus1d_r50",
    "csn_r101",
)

# Detectors of objects in images, on the backbone that the section MVIT describes.
DETECTOR_ARCHS = ("mask_rcnn", "cascade_mask_rcnn")


@dataclass(frozen=True)
class Model:
    """What is built, its loss and its precision."""

    ARCH: str = key(
        "mvit",
        "What is built: MViT by the section MVIT, a detector on it, or PyTorchVideo's network of that name (PySlowFast's "
        "default: slowfast)",
        choices=("mvit", *BASELINE_ARCHS, *DETECTOR_ARCHS),
    )
    MODEL_NAME: str = key("MViT", "No effect here: MODEL.ARCH says what is built (PySlowFast's default: SlowFast)")
    NUM_CLASSES: int = key(400, "Outputs of the head", at_least=1)
    LOSS_FUNC: str = key(
        "cross_entropy",
        "Training loss; not cross_entropy with MIXUP, and one of the bce, which are alike, with DATA.MULTI_LABEL",
        choices=("cross_entropy", "soft_cross_entropy", "bce", "bce_logit"),
    )
    DROPOUT_RATE: float = key(0.5, "Dropout before the last linear layer", at_least=0, below=1)
    HEAD_ACT: str = key("softmax", "What turns logits into the scores of a test", choices=("softmax", "sigmoid"))
    ACT_CHECKPOINT: bool = key(False, "Recompute each block in the backward pass: less memory, more time")
    PRECISION: str = key(
        "float32",
        "Arithmetic of the network; auto is bfloat16 where the device has it; float16 trains with a scaled loss (ours)",
        choices=("float32", "bfloat16", "float16", "auto"),
    )


@dataclass(frozen=True)
class Mvit:
    """The multiscale vision transformer, at PySlowFast's defaults (MViTv1-like, and not MViTv2's)."""

    MODE: str = key("conv", "How queries, keys and values are pooled", choices=("conv", "max", "avg"))
    CLS_EMBED_ON: bool = key(True, "Add a class token")
    PATCH_2D: bool = key(False, "Images: the stem has two axes; PATCH_KERNEL, PATCH_STRIDE, PATCH_PADDING two numbers")
    PATCH_KERNEL: tuple[int, ...] = key((3, 7, 7), "Kernel of the stem (time, height, width)", at_least=1)
    PATCH_STRIDE: tuple[int, ...] = key((2, 4, 4), "Stride of the stem (time, height, width)", at_least=1)
    PATCH_PADDING: tuple[int, ...] = key((2, 4, 4), "Padding of the stem (time, height, width)", at_least=0)
    EMBED_DIM: int = key(96, "Channels of the first block", at_least=1)
    NUM_HEADS: int = key(1, "Attention heads of the first block", at_least=1)
    MLP_RATIO: float = key(4.0, "Hidden channels of a block's MLP over its channels", above=0)
    QKV_BIAS: bool = key(True, "Biases of the query, key and value projections")
    DROPPATH_RATE: float = key(0.1, "Drop path of the last block; it grows linearly from 0", at_least=0, below=1)
    DROPOUT_RATE: float = key(0.0, "Dropout inside the blocks and after the stem", at_least=0, at_most=1)
    DEPTH: int = key(16, "Number of blocks", at_least=1)
    NORM: str = key("layernorm", "Normalisation", choices=("layernorm",))
    DIM_MUL: tuple[tuple[int, float], ...] = key((), "[block, factor]: channels are multiplied there")
    HEAD_MUL: tuple[tuple[int, float], ...] = key((), "[block, factor]: attention heads are multiplied there")
    DIM_MUL_IN_ATT: bool = key(False, "Channels grow in the attention (MViTv2), not in the MLP of the block before")
    POOL_Q_STRIDE: tuple[tuple[int, ...], ...] = key((), "[block, time, height, width]: query pooling of that block")
    POOL_KV_STRIDE: tuple[tuple[int, ...], ...] = key((), "[block, time, height, width]: key and value pooling")
    POOL_KV_STRIDE_ADAPTIVE: tuple[int, ...] | None = key(
        None, "Key and value stride of block 0, halved at each stage; it replaces POOL_KV_STRIDE", at_least=1
    )
    POOL_KVQ_KERNEL: tuple[int, ...] | None = key(
        None, "Kernel of every pooling; None: stride + 1 where the stride is over 1", at_least=1
    )
    RESIDUAL_POOLING: bool = key(False, "Add the pooled query to the attention's output (MViTv2)")
    USE_ABS_POS: bool = key(True, "Absolute position embedding after the stem")
    SEP_POS_EMBED: bool = key(False, "Absolute positions separate for space, time and class token (MViTv1)")
    REL_POS_SPATIAL: bool = key(False, "Decomposed relative positions in height and width (MViTv2)")
    REL_POS_TEMPORAL: bool = key(False, "Decomposed relative positions in time (MViTv2)")
    REL_POS_ZERO_INIT: bool = key(False, "Relative position tables start at zero")
    ATTENTION: str = key(
        "pooling",
        "pooling: as the strides say; windows of tokens, fixed, shifted or hybrid (global in the last blocks of the last three "
        "stages); full: keys and values are not pooled (ours)",
        choices=("pooling", "window", "shifted_window", "hybrid_window", "full"),
    )
    WINDOW_SIDES: tuple[int, ...] = key(
        (),
        "Sides of the windows in tokens, one per stage or one for all; empty: 28, 14, 7, 7, or 7 for ViT (ours)",
        at_least=1,
    )
    POSITIONS: str = key(
        "",
        "Positions by the paper's names, in place of USE_ABS_POS and REL_POS_*; empty: as those say (ours)",
        choices=(
            "",
            "none",
            "absolute",
            "relative_time",
            "relative_space",
            "decomposed",
            "absolute_and_decomposed",
            "joint_space_plus_time",
            "joint_spacetime",
        ),
    )
    REL_POS_TERMS: str = key(
        "q",
        "What the relative positions meet: queries, keys, values, or several of them (ours)",
        choices=("q", "k", "qk", "v", "qv", "qkv"),
    )
    ZERO_DECAY_POS_CLS: bool = key(True, "No weight decay on position embeddings and class token")
    USE_MEAN_POOLING: bool = key(False, "The head takes the mean over tokens instead of the class token (MaskFeat)")
    POOL_NORM_EPS: float = key(
        1e-6, "Epsilon of the norms after pools; 1e-5 for PyTorchVideo's MViTv1, all others as here (ours)", above=0
    )
    INIT: str = key(
        "official",
        "Initial weights: the official rule, or xavier for narrow models (ours)",
        choices=("official", "xavier"),
    )
    HEAD_INIT_SCALE: float = key(1.0, "The head's weight and bias are multiplied by this at the start", at_least=0)


@dataclass(frozen=True)
class Detection:
    """Actions of boxes (AVA): the RoI head."""

    ENABLE: bool = key(False, "Score boxes instead of whole clips")
    ALIGNED: bool = key(True, "RoIAlign with the half-pixel correction")
    SPATIAL_SCALE_FACTOR: int = key(
        0, "Input pixels per feature-map cell; 0: from the model, 32 for MViT (PySlowFast's default: 16)", at_least=0
    )
    ROI_XFORM_RESOLUTION: int = key(7, "Cells per side that a box is resampled to", at_least=1)
