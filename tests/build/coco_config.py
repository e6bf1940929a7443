"""A detector of some ten thousand parameters by config, and six images for it."""

from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.config.schema import Config
from tests.data.coco_files import annotation, image, write_coco

CONFIG = """
TRAIN: {{ENABLE: False, DATASET: coco}}
TEST: {{ENABLE: True, DATASET: coco, BATCH_SIZE: 4}}
DATA: {{PATH_TO_DATA_DIR: {data}, TRAIN_CROP_SIZE: 64, TEST_CROP_SIZE: 64}}
COCO: {{VAL_IMAGES: images, VAL_ANNOTATIONS: instances.json, TEST_SHORT_SIDES: [64], TEST_MAX_SIDE: 128}}
MODEL: {{ARCH: mask_rcnn, NUM_CLASSES: 2, PRECISION: float32}}
MVIT:
  PATCH_2D: True
  PATCH_KERNEL: [7, 7]
  PATCH_STRIDE: [4, 4]
  PATCH_PADDING: [3, 3]
  EMBED_DIM: 8
  NUM_HEADS: 1
  MLP_RATIO: 2.0
  DEPTH: 4
  DIM_MUL: [[1, 2.0], [2, 2.0], [3, 2.0]]
  HEAD_MUL: [[1, 2.0], [2, 2.0], [3, 2.0]]
  DIM_MUL_IN_ATT: True
  POOL_KVQ_KERNEL: [3, 3]
  POOL_Q_STRIDE: [[1, 2, 2], [2, 2, 2], [3, 2, 2]]
  POOL_KV_STRIDE_ADAPTIVE: [4, 4]
  CLS_EMBED_ON: False
  USE_ABS_POS: False
  REL_POS_SPATIAL: True
  RESIDUAL_POOLING: True
  ATTENTION: hybrid_window
  DROPPATH_RATE: 0.0
RCNN: {{CONV_DIM: 8, FC_DIM: 16, SCORE_THRESH: 0.0, PROPOSALS: 40, MAX_DETECTIONS: 20}}
DATA_LOADER: {{NUM_WORKERS: 0}}
NUM_GPUS: 0
OUTPUT_DIR: {output}
"""


def small_coco(root: Path, *, annotated: bool = True) -> Path:
    """Six images of two sizes with an object each, whose ids do not count from 0."""
    root.mkdir()
    images = [image(30 + i, *((60, 40) if i % 2 else (40, 60))) for i in range(6)]
    objects = [annotation(i + 1, 30 + i, [5, 6, 20, 15], category_id=3 if i % 2 else 7) for i in range(6)]
    write_coco(root, images, objects if annotated else None)
    return root


def coco_config(data: Path, output: Path, overrides: Sequence[str] = ()) -> Config:
    """The detector on a set of :func:`small_coco`."""
    return load_config_text(CONFIG.format(data=data, output=output), "the small detector", overrides)
