"""Rules about MViT's keys; they say nothing where MODEL.ARCH is another network than it, or a detector on it."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import DETECTOR_ARCHS

Rule = Callable[[Config], Iterator[str]]


def num_axes(config: Config) -> int:
    """3 for video, 2 for images: as many as the stem's kernel has numbers."""
    return len(config.MVIT.PATCH_KERNEL)


def _is_mvit(config: Config) -> bool:
    return config.MODEL.ARCH in ("mvit", *DETECTOR_ARCHS)


def _one_crop_size(config: Config) -> Iterator[str]:
    train, test = config.DATA.TRAIN_CROP_SIZE, config.DATA.TEST_CROP_SIZE
    if config.MODEL.ARCH == "mvit" and train != test:
        yield (
            f"DATA.TEST_CROP_SIZE: {test} differs from DATA.TRAIN_CROP_SIZE {train}, and MViT's position tables have "
            f"one size; set both to {train} or both to {test}"
        )


def _stem_axes(config: Config) -> Iterator[str]:
    axes = 2 if config.MVIT.PATCH_2D else 3
    lengths = {
        "MVIT.PATCH_KERNEL": len(config.MVIT.PATCH_KERNEL),
        "MVIT.PATCH_STRIDE": len(config.MVIT.PATCH_STRIDE),
        "MVIT.PATCH_PADDING": len(config.MVIT.PATCH_PADDING),
    }
    if not _is_mvit(config) or set(lengths.values()) in ({axes}, {2}):
        return
    what = "2 numbers (height, width) with MVIT.PATCH_2D True" if axes == 2 else "3 numbers (time, height, width)"
    for name, length in lengths.items():
        if length != axes:
            yield f"{name}: {length} numbers; it takes {what}"


def _stem_divides(config: Config) -> Iterator[str]:
    stride, crop, frames = config.MVIT.PATCH_STRIDE, config.DATA.TRAIN_CROP_SIZE, config.DATA.NUM_FRAMES
    if not _is_mvit(config) or len(stride) not in (2, 3):
        return
    if len(stride) == 3 and frames % stride[0]:
        yield f"DATA.NUM_FRAMES: {frames} is not a multiple of the stem's time stride, MVIT.PATCH_STRIDE[0] {stride[0]}"
    for side in sorted(set(stride[-2:])):
        if crop % side:
            yield f"DATA.TRAIN_CROP_SIZE: {crop} is not a multiple of the stem's stride in MVIT.PATCH_STRIDE, {side}"


def _heads(config: Config) -> Iterator[str]:
    dim, heads = config.MVIT.EMBED_DIM, config.MVIT.NUM_HEADS
    if _is_mvit(config) and dim % heads:
        yield f"MVIT.EMBED_DIM: {dim} is not a multiple of MVIT.NUM_HEADS {heads}"


def _block_lists(config: Config) -> Iterator[str]:
    if not _is_mvit(config):
        return
    lists = {
        "MVIT.DIM_MUL": config.MVIT.DIM_MUL,
        "MVIT.HEAD_MUL": config.MVIT.HEAD_MUL,
        "MVIT.POOL_Q_STRIDE": config.MVIT.POOL_Q_STRIDE,
        "MVIT.POOL_KV_STRIDE": config.MVIT.POOL_KV_STRIDE,
    }
    depth = config.MVIT.DEPTH
    for name, entries in lists.items():
        yield from _block_list(name, entries, depth)


def _block_list(name: str, entries: tuple[tuple[float, ...], ...], depth: int) -> Iterator[str]:
    """Problems of a list of [block, number ...]: the blocks exist and come once, the numbers are above 0."""
    blocks = [entry[0] for entry in entries if entry]
    for block in sorted({block for block in blocks if not 0 <= block < depth}):
        yield f"{name}: there is no block {block}; MVIT.DEPTH {depth} has blocks 0 to {depth - 1}"
    for block in sorted({block for block in blocks if blocks.count(block) > 1}):
        yield f"{name}: block {block} comes more than once"
    for entry in entries:
        if any(number <= 0 for number in entry[1:]):
            yield f"{name}: {list(entry)} holds a number that is not above 0"


def _pool_axes(config: Config) -> Iterator[str]:
    if not _is_mvit(config) or num_axes(config) not in (2, 3):
        return
    allowed = (3,) if num_axes(config) == 3 else (2, 3)
    for name, entries in {
        "MVIT.POOL_Q_STRIDE": config.MVIT.POOL_Q_STRIDE,
        "MVIT.POOL_KV_STRIDE": config.MVIT.POOL_KV_STRIDE,
    }.items():
        wrong = next((entry for entry in entries if len(entry) - 1 not in allowed), None)
        if wrong is not None:
            yield f"{name}: {list(wrong)} must be [block, {_AXES[allowed]}]{_image_hint(len(wrong) - 1)}"
    for name, numbers in {
        "MVIT.POOL_KV_STRIDE_ADAPTIVE": config.MVIT.POOL_KV_STRIDE_ADAPTIVE,
        "MVIT.POOL_KVQ_KERNEL": config.MVIT.POOL_KVQ_KERNEL,
    }.items():
        if numbers is not None and len(numbers) not in allowed:
            yield f"{name}: {list(numbers)} must be [{_AXES[allowed]}]{_image_hint(len(numbers))}"


_AXES = {(3,): "time, height, width", (2, 3): "height, width"}


def _image_hint(num_numbers: int) -> str:
    """What to do about a list for images in a model for video: most often a file of the mvit repository."""
    if num_numbers != 2:
        return ""
    return "; for images set MVIT.PATCH_2D, PATCH_KERNEL, PATCH_STRIDE and PATCH_PADDING (mvit's files leave them out)"


def _image_time(config: Config) -> Iterator[str]:
    if not _is_mvit(config) or num_axes(config) != 2:
        return
    if config.MVIT.REL_POS_TEMPORAL:
        yield "MVIT.REL_POS_TEMPORAL: images have no time axis; set it to False"
    time_numbers = {
        "MVIT.POOL_Q_STRIDE": [entry[1] for entry in config.MVIT.POOL_Q_STRIDE if len(entry) == 4],
        "MVIT.POOL_KV_STRIDE": [entry[1] for entry in config.MVIT.POOL_KV_STRIDE if len(entry) == 4],
        "MVIT.POOL_KV_STRIDE_ADAPTIVE": (config.MVIT.POOL_KV_STRIDE_ADAPTIVE or ())[:-2],
        "MVIT.POOL_KVQ_KERNEL": (config.MVIT.POOL_KVQ_KERNEL or ())[:-2],
    }
    for name, numbers in time_numbers.items():
        if any(number != 1 for number in numbers):
            yield f"{name}: images have no time axis; the time number must be 1 or left out"


# Each rule with the keys that it reads.
MVIT_RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _one_crop_size: (
            "MODEL.ARCH",
            "DATA.TRAIN_CROP_SIZE",
            "DATA.TEST_CROP_SIZE",
        ),
        _stem_axes: (
            "MODEL.ARCH",
            "MVIT.PATCH_2D",
            "MVIT.PATCH_KERNEL",
            "MVIT.PATCH_STRIDE",
            "MVIT.PATCH_PADDING",
        ),
        _stem_divides: (
            "MODEL.ARCH",
            "MVIT.PATCH_STRIDE",
            "DATA.NUM_FRAMES",
            "DATA.TRAIN_CROP_SIZE",
        ),
        _heads: (
            "MODEL.ARCH",
            "MVIT.EMBED_DIM",
            "MVIT.NUM_HEADS",
        ),
        _block_lists: (
            "MODEL.ARCH",
            "MVIT.DEPTH",
            "MVIT.DIM_MUL",
            "MVIT.HEAD_MUL",
            "MVIT.POOL_Q_STRIDE",
            "MVIT.POOL_KV_STRIDE",
        ),
        _pool_axes: (
            "MODEL.ARCH",
            "MVIT.PATCH_KERNEL",
            "MVIT.POOL_Q_STRIDE",
            "MVIT.POOL_KV_STRIDE",
            "MVIT.POOL_KV_STRIDE_ADAPTIVE",
            "MVIT.POOL_KVQ_KERNEL",
        ),
        _image_time: (
            "MODEL.ARCH",
            "MVIT.PATCH_KERNEL",
            "MVIT.POOL_Q_STRIDE",
            "MVIT.POOL_KV_STRIDE",
            "MVIT.POOL_KV_STRIDE_ADAPTIVE",
            "MVIT.POOL_KVQ_KERNEL",
            "MVIT.REL_POS_TEMPORAL",
        ),
    }
)
