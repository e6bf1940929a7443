# ruff: noqa: RUF009 - the sections that stand as defaults of Config are frozen
"""Every key that the package reads, under PySlowFast's names, with type, default, range and one line of documentation.

The dataclasses are frozen: lists are tuples, and what follows from other keys (scaled learning rates, adaptive
strides) is computed by whoever needs it, never written back. "(ours)" marks keys that PySlowFast does not have.
"""

from dataclasses import dataclass

from slowfast_mvit.config.keys import Key, key, keys_of
from slowfast_mvit.config.schema_coco import Coco
from slowfast_mvit.config.schema_model import Detection, Model, Mvit
from slowfast_mvit.config.schema_rcnn import Rcnn

__all__ = [
    "Aug",
    "Ava",
    "Coco",
    "Config",
    "Data",
    "DataLoader",
    "Detection",
    "Distributed",
    "Mixup",
    "Model",
    "Mvit",
    "Rcnn",
    "Solver",
    "Tensorboard",
    "Test",
    "Train",
    "all_keys",
]

DATASETS = ("kinetics", "ssv2", "ava", "imagenet", "coco")


@dataclass(frozen=True)
class Train:
    """What to train on, for how long between evaluations, and from which weights."""

    ENABLE: bool = key(True, "Train")
    DATASET: str = key("kinetics", "Data set of training and validation", choices=DATASETS)
    BATCH_SIZE: int = key(64, "Videos per machine and forward pass, before repeated augmentation", at_least=1)
    ACCUMULATE_STEPS: int = key(1, "Forward passes per optimizer step (ours)", at_least=1)
    EVAL_PERIOD: int = key(10, "Epochs between validations", at_least=1)
    CHECKPOINT_PERIOD: int = key(10, "Epochs between checkpoints; an epoch that is validated has one too", at_least=1)
    CHECKPOINT_SECONDS: float = key(
        0.0, "Seconds between checkpoints inside epochs; 0: none but at the end of epochs (ours)", at_least=0
    )
    KEEP_CHECKPOINTS: int = key(
        3, "How many of the newest checkpoints stay, beside the best validated one; 0: all (ours)", at_least=0
    )
    MAX_SKIPPED_STEPS: int = key(
        20,
        "Steps in a row that are left out because the loss or its gradient is not finite, before the run stops (ours)",
        at_least=0,
    )
    AUTO_RESUME: bool = key(True, "Go on from the last checkpoint in OUTPUT_DIR")
    CHECKPOINT_FILE_PATH: str = key("", "File or URL of weights to start from, of any publisher")
    CHECKPOINT_TYPE: str = key("pytorch", "Format of that file", choices=("pytorch",))
    CHECKPOINT_INFLATE: bool = key(
        False,
        "Image weights in a video model: repeat kernels over time and divide by its length (I3D's rule). False: kernels stand "
        "at the middle frame (the paper's rule, ours)",
    )
    CHECKPOINT_IN_INIT: bool = key(
        False,
        "Image weights in a video model: repeat kernels at every frame, temporal tables stay fresh (PySlowFast's rule). "
        "False: kernels stand at the middle frame. CHECKPOINT_INFLATE goes before it. Tables are resized in either case",
    )
    CHECKPOINT_EPOCH_RESET: bool = key(
        False,
        "No effect here: CHECKPOINT_FILE_PATH always gives weights only, and AUTO_RESUME alone goes on with a run",
    )
    CHECKPOINT_CLEAR_NAME_PATTERN: tuple[str, ...] = key((), "Texts removed from parameter names, e.g. backbone.")
    MIXED_PRECISION: bool = key(False, "PySlowFast's switch for half precision; here MODEL.PRECISION auto in training")
    KILL_LOSS_EXPLOSION_FACTOR: float = key(
        0.0,
        "Stop when the loss is over this times the mean of the five steps before, from an epoch's seventh step on; 0: off",
        at_least=0,
    )


@dataclass(frozen=True)
class Test:
    """What to test on, with which views and weights."""

    ENABLE: bool = key(True, "Test")
    DATASET: str = key("kinetics", "Data set of the test", choices=DATASETS)
    BATCH_SIZE: int = key(8, "Views per machine and forward pass", at_least=1)
    CHECKPOINT_FILE_PATH: str = key(
        "", "File or URL of weights to test; empty: what was just trained, else the last checkpoint in OUTPUT_DIR"
    )
    CHECKPOINT_TYPE: str = key("pytorch", "Format of that file", choices=("pytorch",))
    NUM_ENSEMBLE_VIEWS: int = key(
        10, "Clips per video; -1: test with 1, 3, 5, 7 and 10. imagenet: always 1", at_least=-1
    )
    NUM_SPATIAL_CROPS: int = key(
        3, "Crops per clip: 1 (centre) or 3 (left, centre, right). imagenet: always 1", choices=(1, 3)
    )
    NUM_TEMPORAL_CLIPS: tuple[int, ...] = key(
        (), "Test once with each of these numbers of clips, in place of NUM_ENSEMBLE_VIEWS", at_least=1
    )
    SHORT_SIDE: int = key(
        0,
        "Short side of test frames in pixels, for 1 and 3 crops (the paper's rule: 256); 0: the official code's, "
        "TRAIN_JITTER_SCALES[0] for 1 crop and TEST_CROP_SIZE for 3 (ours)",
        at_least=0,
    )
    SAVE_RESULTS_PATH: str = key(
        "", "Pickle of [scores, labels] of the videos as torch tensors, as PySlowFast's, inside OUTPUT_DIR"
    )
    USE_EMA: bool = key(
        True,
        "Test the averaged weights of a checkpoint that has them (SOLVER.EMA_DECAY); False: its last weights (ours)",
    )
    RESUME: bool = key(
        True, "Keep the scores of finished videos until the test is over, and go on from them after a restart (ours)"
    )
    SAVE_PROBABILITIES: bool = key(False, "Also write all probabilities, to predictions/probabilities.npz (ours)")


@dataclass(frozen=True)
class Aug:
    """Augmentation of training clips and images."""

    ENABLE: bool = key(False, "RandAugment or colour jitter, and random erasing")
    NUM_SAMPLE: int = key(1, "Augmented copies of each training video (repeated augmentation)", at_least=1)
    COLOR_JITTER: float | None = key(
        0.4, "Brightness, contrast and saturation times 1 +- this; unused with RandAugment", at_least=0
    )
    AA_TYPE: str = key("rand-m9-mstd0.5-inc1", "RandAugment policy; empty: none")
    INTERPOLATION: str = key(
        "bicubic", "Interpolation of RandAugment's geometric operations", choices=("bicubic", "bilinear")
    )
    RE_PROB: float = key(0.25, "Probability of random erasing", at_least=0, at_most=1)
    RE_MODE: str = key("pixel", "What erased boxes are filled with", choices=("pixel", "rand", "const"))
    RE_COUNT: int = key(1, "At most so many boxes are erased per clip", at_least=1)
    RE_SPLIT: bool = key(False, "Leave the first of NUM_SAMPLE copies without erasing")


@dataclass(frozen=True)
class Mixup:
    """Mixup, cutmix and label smoothing over a training batch."""

    ENABLE: bool = key(False, "Mix clips and smooth labels")
    ALPHA: float = key(0.8, "Beta distribution of mixup; 0: no mixup", at_least=0)
    CUTMIX_ALPHA: float = key(1.0, "Beta distribution of cutmix; 0: no cutmix", at_least=0)
    PROB: float = key(1.0, "Probability that a batch is mixed; 0 keeps the label smoothing", at_least=0, at_most=1)
    SWITCH_PROB: float = key(0.5, "Probability of cutmix where both are on", at_least=0, at_most=1)
    LABEL_SMOOTH_VALUE: float = key(0.1, "Label smoothing", at_least=0, below=1)


@dataclass(frozen=True)
class Data:
    """Where clips and images come from, and their shape."""

    PATH_TO_DATA_DIR: str = key("", "Folder of train.csv, val.csv, test.csv, of ssv2's annotations, or of the images")
    PATH_LABEL_SEPARATOR: str = key(" ", "Separator of the fields in list files")
    PATH_PREFIX: str = key("", "Put before every path of the list files; of ssv2, the folder of the videos")
    LIST_COLUMNS: tuple[str, ...] = key(
        (),
        "Fields of the list files in order, with one path and one label; empty: path label, as in PySlowFast (ours)",
        choices=("path", "ignore", "label"),
    )
    SKIP_ROWS: int = key(0, "Lines left out at the top of list files", at_least=0)
    DECODING_BACKEND: str = key(
        "pyav",
        "Reader of videos, or of folders of frames at TARGET_FPS; torchvision means pyav (PySlowFast's default: torchvision)",
        choices=("pyav", "decord", "frames"),
    )
    NUM_FRAMES: int = key(8, "Frames of a clip", at_least=1)
    SAMPLING_RATE: int = key(
        8, "Source frames per frame of a clip; unused by ssv2, whose clips span the video", at_least=1
    )
    TARGET_FPS: int = key(30, "Frame rate at which SAMPLING_RATE counts", at_least=1)
    USE_OFFSET_SAMPLING: bool = key(
        False, "Test clips from the first to the last frame, at equal distances; unused by ssv2"
    )
    TRAIN_CROP_SIZE: int = key(224, "Side of the training crop in pixels", at_least=1)
    TEST_CROP_SIZE: int = key(256, "Side of the test crop in pixels", at_least=1)
    TRAIN_JITTER_SCALES: tuple[int, ...] = key(
        (256, 320),
        "Least and greatest short side in training; the first is also the short side of 1-crop tests",
        at_least=1,
        lengths=(2,),
    )
    TRAIN_JITTER_SCALES_RELATIVE: tuple[float, ...] = key(
        (),
        "Least and greatest share of the area in an Inception crop; empty: TRAIN_JITTER_SCALES, and 0.08 to 1 for imagenet",
        above=0,
        at_most=1,
        lengths=(0, 2),
    )
    TRAIN_JITTER_ASPECT_RELATIVE: tuple[float, ...] = key(
        (),
        "Least and greatest aspect ratio of an Inception crop; empty: 3/4 to 4/3 for imagenet",
        above=0,
        lengths=(0, 2),
    )
    INV_UNIFORM_SAMPLE: bool = key(False, "Draw the short side uniformly in 1/size instead of in size")
    RANDOM_FLIP: bool = key(True, "Flip half of the training clips left to right")
    MEAN: tuple[float, ...] = key((0.45, 0.45, 0.45), "Mean per channel (RGB, 0 to 1)", lengths=(3,))
    STD: tuple[float, ...] = key((0.225, 0.225, 0.225), "Deviation per channel", above=0, lengths=(3,))
    INPUT_CHANNEL_NUM: tuple[int, ...] = key(
        (3, 3), "Channels per pathway; MViT takes one pathway whatever this says", choices=(3,), lengths=(1, 2)
    )
    REVERSE_INPUT_CHANNEL: bool = key(
        False, "PySlowFast needs True for SSv2, where it reads BGR; frames are always RGB here, so no effect"
    )
    MULTI_LABEL: bool = key(
        False, "Several labels per video, comma-joined in list files, scored by mean average precision; for kinetics"
    )
    ENSEMBLE_METHOD: str = key("sum", "How the scores of a video's views are joined", choices=("sum", "max"))
    MAX_BAD_VIDEOS: int = key(
        100, "Training goes on without videos that cannot be read, up to so many different ones (ours)", at_least=0
    )
    IN22K_TRAINVAL: bool = key(
        False, "ImageNet-21K, with IN22k_VAL_IN1K: train on its training and validation images together"
    )
    IN22k_VAL_IN1K: str = key(
        "",
        "Folder of ImageNet-1K beside ImageNet-21K in PATH_TO_DATA_DIR: its train/ is trained on too, its classes are the "
        "first outputs, and validation and tests are on its images by these outputs alone",
    )
    IN_VAL_CROP_RATIO: float = key(
        0.875,
        "ImageNet test: crop side over resized short side; 0: both sides are resized straight to the crop",
        at_least=0,
        at_most=1,
    )


@dataclass(frozen=True)
class Solver:
    """Optimizer and learning rate."""

    BASE_LR: float = key(0.1, "Learning rate at its peak, before scaling", at_least=0)
    BASE_LR_SCALE_NUM_SHARDS: bool = key(
        False, "Multiply BASE_LR, WARMUP_START_LR and COSINE_END_LR by the number of machines"
    )
    REFERENCE_BATCH: int = key(
        0, "Clips for which the rates are stated: multiply them by global clips over this; 0: off (ours)", at_least=0
    )
    LR_POLICY: str = key("cosine", "Course of the rate", choices=("cosine", "steps_with_relative_lrs"))
    COSINE_END_LR: float = key(0.0, "Rate at the end of cosine", at_least=0)
    COSINE_AFTER_WARMUP: bool = key(False, "Cosine starts at the end of the warm-up instead of at epoch 0")
    STEPS: tuple[float, ...] = key(
        (),
        "Epochs, or with MAX_STEPS optimizer steps, at which steps_with_relative_lrs changes, the first 0",
        at_least=0,
    )
    LRS: tuple[float, ...] = key((), "Factors of BASE_LR from each of STEPS on", at_least=0)
    MAX_EPOCH: int = key(300, "Epochs of training; unused with MAX_STEPS", at_least=1)
    MAX_STEPS: int = key(
        0,
        "Optimizer steps of training, the last epoch cut short, which the rate follows; 0: by MAX_EPOCH (ours)",
        at_least=0,
    )
    WARMUP_EPOCHS: float = key(0.0, "Epochs of linear warm-up", at_least=0)
    WARMUP_STEPS: int = key(0, "Optimizer steps of linear warm-up, with MAX_STEPS (ours)", at_least=0)
    WARMUP_START_LR: float = key(0.01, "Rate at the start of the warm-up", at_least=0)
    OPTIMIZING_METHOD: str = key("sgd", "Optimizer; mt_adamw is read as adamw", choices=("sgd", "adam", "adamw"))
    MOMENTUM: float = key(0.9, "Momentum of sgd", at_least=0)
    DAMPENING: float = key(0.0, "Dampening of sgd's momentum")
    NESTEROV: bool = key(True, "Nesterov momentum in sgd")
    BETAS: tuple[float, ...] = key((0.9, 0.999), "Betas of adam and adamw", at_least=0, lengths=(2,))
    WEIGHT_DECAY: float = key(1e-4, "Weight decay", at_least=0)
    ZERO_WD_1D_PARAM: bool = key(False, "No weight decay on biases, norms and other one-dimensional parameters")
    ZERO_WD_NORM: bool = key(
        False, "No weight decay on norms; biases of other layers decay, as in detectron2's recipes (ours)"
    )
    CLIP_GRAD_VAL: float | None = key(None, "Clip each gradient to this size; goes before CLIP_GRAD_L2NORM", above=0)
    CLIP_GRAD_L2NORM: float | None = key(None, "Scale gradients down to this norm over all parameters", above=0)
    LARS_ON: bool = key(False, "Scale rates per layer by weight over gradient norm, times 0.001")
    LAYER_DECAY: float = key(
        1.0, "Factor of the rate per block, from the head down; below 1 for MViT only", above=0, at_most=1
    )
    EMA_DECAY: float = key(
        0.0,
        "Also keep an average of the weights, of which a step leaves this share; validations and tests use it; 0: off (ours)",
        at_least=0,
        below=1,
    )


@dataclass(frozen=True)
class DataLoader:
    """Worker processes."""

    NUM_WORKERS: int = key(8, "Loader processes per GPU", at_least=0)
    PIN_MEMORY: bool = key(True, "Batches in page-locked memory")
    TIMEOUT: float = key(
        120.0,
        "Seconds that a loader process may be at one video while its batch is waited for: then training goes on without the "
        "video (see DATA.MAX_BAD_VIDEOS) and with new processes, and a test stops; 0: for ever, as with NUM_WORKERS 0 (ours)",
        at_least=0,
    )


@dataclass(frozen=True)
class Distributed:
    """How several processes share the work (ours)."""

    STRATEGY: str = key(
        "ddp",
        "ddp: every process holds the whole model; fsdp: each holds a part of every block",
        choices=("ddp", "fsdp"),
    )
    TIMEOUT: float = key(600.0, "Seconds that a process waits for another before it gives up", above=0)


@dataclass(frozen=True)
class Ava:
    """AVA's folders and files, or one's own; files lie in FRAME_LIST_DIR (lists) and ANNOTATION_DIR (the rest)."""

    FRAME_DIR: str = key(
        "", "Folder of the videos: files, folders of frames, or what the paths of frame lists are relative to"
    )
    FIRST_SECOND: float | None = key(
        None,
        "What the box lists call the time of a video's first frame, in seconds; None: 0, but 900 for AVA's own frames and for "
        "its files cut from minute 15 on (ours)",
        at_least=0,
    )
    FRAME_LIST_DIR: str = key("", "Folder of the frame lists")
    ANNOTATION_DIR: str = key("", "Folder of boxes, labels, label map and exclusions")
    TRAIN_LISTS: tuple[str, ...] = key(("train.csv",), "Frame lists of training; needless where FRAME_DIR holds videos")
    TEST_LISTS: tuple[str, ...] = key(("val.csv",), "Frame lists of the test")
    TRAIN_GT_BOX_LISTS: tuple[str, ...] = key(("ava_train_v2.2.csv",), "Annotated boxes of training")
    TRAIN_PREDICT_BOX_LISTS: tuple[str, ...] = key((), "Detected boxes with labels, added to training")
    TEST_PREDICT_BOX_LISTS: tuple[str, ...] = key(("ava_val_predicted_boxes.csv",), "Detected boxes of the test")
    DETECTION_SCORE_THRESH: float = key(0.9, "Detected boxes below this score are left out", at_least=0, at_most=1)
    TEST_CENTRE_CROP: bool = key(
        False, "Test the central square of DATA.TEST_CROP_SIZE instead of whole frames (the paper's center, ours)"
    )
    TEST_SHORT_SIDES: tuple[int, ...] = key(
        (),
        "Short sides of test frames, each a view whose scores are averaged; empty: DATA.TEST_CROP_SIZE (ours)",
        at_least=1,
    )
    TEST_FLIP: bool = key(False, "Test every view mirrored too, and average (ours)")
    FULL_TEST_ON_VAL: bool = key(False, "Validate on every second instead of every fourth")
    LABEL_MAP_FILE: str = key(
        "ava_action_list_v2.2_for_activitynet_2019.pbtxt",
        "Names of the scored classes; empty: those found in the box lists",
    )
    EXCLUSION_FILE: str = key("ava_val_excluded_timestamps_v2.2.csv", "Seconds that are not scored; empty: none")
    GROUNDTRUTH_FILE: str = key("ava_val_v2.2.csv", "Annotated boxes of the test; empty: nothing is scored")
    IMG_PROC_BACKEND: str = key(
        "cv2",
        "How PySlowFast draws the short side of training frames: cv2 uniformly in its inverse, pytorch uniformly unless "
        "DATA.INV_UNIFORM_SAMPLE. Frames are resized in one way here",
        choices=("cv2", "pytorch"),
    )


@dataclass(frozen=True)
class Tensorboard:
    """TensorBoard logs."""

    ENABLE: bool = key(False, "Write TensorBoard logs")
    LOG_DIR: str = key("", "Folder of the logs inside OUTPUT_DIR; empty: runs- and the data set")
    CLASS_NAMES_PATH: str = key("", "JSON file of class names")


@dataclass(frozen=True)
class Config:
    """A whole job. load_config makes one from a YAML file; it never changes afterwards."""

    TASK: str = key("", "Name put before checkpoint files, as in ssl_eval_checkpoint_epoch_00001.pyth")
    NUM_GPUS: int = key(1, "GPUs per machine; 0: the CPU", at_least=0)
    NUM_PROCESSES: int = key(
        1, "Processes per machine where NUM_GPUS is 0; under torchrun its own numbers count (ours)", at_least=1
    )
    NUM_SHARDS: int = key(1, "Machines; under torchrun its own numbers count", at_least=1)
    SHARD_ID: int = key(0, "Number of this machine, from 0", at_least=0)
    OUTPUT_DIR: str = key(".", "Folder of checkpoints, logs and results")
    RNG_SEED: int = key(1, "Seed of every random draw", at_least=0)
    LOG_PERIOD: int = key(10, "Steps between log lines", at_least=1)
    DIST_BACKEND: str = key("nccl", "torch.distributed backend of GPUs; the CPU's is gloo", choices=("nccl", "gloo"))
    TRAIN: Train = Train()
    TEST: Test = Test()
    AUG: Aug = Aug()
    MIXUP: Mixup = Mixup()
    MODEL: Model = Model()
    MVIT: Mvit = Mvit()
    DATA: Data = Data()
    SOLVER: Solver = Solver()
    DATA_LOADER: DataLoader = DataLoader()
    DISTRIBUTED: Distributed = Distributed()
    DETECTION: Detection = Detection()
    AVA: Ava = Ava()
    COCO: Coco = Coco()
    RCNN: Rcnn = Rcnn()
    TENSORBOARD: Tensorboard = Tensorboard()


def all_keys() -> dict[str, Key]:
    """Every key of Config by its dotted name, in order."""
    return keys_of(Config)
