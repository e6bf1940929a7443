"""Small real runs and predictions that the tests of the pages share."""

import shutil
from pathlib import Path

import predict
import pytest
import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import dump_config, load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.toy import CLASSES
from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """Two epochs on 24 videos, and a test of 10 in 8 classes; not to be changed."""
    from tests.commands import run_here, small_config

    folder = tmp_path_factory.mktemp("report")
    assert run_here(small_config(folder, toy_data), "LOG_PERIOD", "1") == 0
    return folder / "run"


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of its files without the checkpoints, to be changed."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy, ignore=shutil.ignore_patterns("checkpoints"))
    return copy


@pytest.fixture(scope="session")
def ava_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of boxes by fresh weights after one step; not to be changed."""
    from tests.commands import run_here

    root = tmp_path_factory.mktemp("ava")
    make_toy_ava(root / "data", ToyAva(2, 2, num_seconds=3))
    config = root / "ava.yaml"
    config.write_text(f"""_BASE_: {ROOT}/configs/Toy/MVITV2_TOY_AVA.yaml
AVA: {{FRAME_DIR: {root}/data/videos, ANNOTATION_DIR: {root}/data/annotations}}
MVIT: {{EMBED_DIM: 8}}
SOLVER: {{MAX_EPOCH: 1}}
DATA_LOADER: {{NUM_WORKERS: 0}}
OUTPUT_DIR: {root}/run
""")
    assert run_here(config) == 0
    return root / "run"


EVIL_VIDEO = "a <b>&'q' #1?.mp4"


def scattered(config: Config, seed: int, noise: float = 0.1) -> dict[str, torch.Tensor]:
    """Weights of the config's model whose scores differ from video to video."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = build_model(config).state_dict()
        return {name: tensor + torch.randn(tensor.shape) * noise for name, tensor in state.items()}


@pytest.fixture(scope="session")
def predicted_clips(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """Three videos by windows, drawn, one of them with a name that is nobody's friend, and one file that is no video."""
    from tests.commands import small_config

    folder = tmp_path_factory.mktemp("predicted")
    config = load_config(small_config(folder, toy_data), ["NUM_GPUS", "0"])
    content = {"model_state": scattered(config, 0), "cfg": dump_config(config)}
    torch.save({**content, "label_names": sorted(CLASSES)}, folder / "weights.pyth")
    videos = folder / "films"
    videos.mkdir()
    for number, name in enumerate((EVIL_VIDEO, "b.mp4", "c.mp4")):
        shutil.copy(toy_data / "videos" / "test" / f"{number:05d}.mp4", videos / name)
    (videos / "d.mp4").write_bytes(b"no video")
    words = ["--weights", str(folder / "weights.pyth"), "--window", "0.5", "--stride", "0.2", "--draw"]
    assert predict.main([str(videos), *words, "--output", str(folder / "out")]) == 2  # one cannot be read
    return folder / "out"


@pytest.fixture(scope="session")
def predicted_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of three key frames each, drawn."""
    root = tmp_path_factory.mktemp("predicted_people")
    make_toy_ava(root / "data", ToyAva(1, 2, num_seconds=3), processes=1)
    recipe = ROOT / "configs/Toy/MVITV2_TOY_AVA.yaml"
    keys = ["NUM_GPUS", "0", "MVIT.EMBED_DIM", "8", "DATA_LOADER.NUM_WORKERS", "0"]
    config = load_config(recipe, keys)
    names = [f"action_{number}" for number in range(1, config.MODEL.NUM_CLASSES + 1)]
    state = scattered(config, 1)
    torch.save({"model_state": state, "label_names": names}, root / "weights.pyth")
    videos = sorted(map(str, (root / "data" / "videos").glob("val_*.mp4")))
    words = ["--cfg", str(recipe), "--weights", str(root / "weights.pyth"), "--draw", "--output", str(root / "out")]
    boxes = root / "data" / "annotations" / "ava_val_predicted_boxes.csv"
    assert predict.main([*videos, *words, "--boxes", str(boxes), *keys]) == 0
    return root / "out"


@pytest.fixture(scope="session")
def predicted_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images with objects, drawn; every object counts as sure."""
    from tests.build.coco_config import coco_config, small_coco

    root = tmp_path_factory.mktemp("predicted_objects")
    config = coco_config(root, root)
    content = {"model_state": scattered(config, 3, 0.0), "cfg": dump_config(config)}
    torch.save({**content, "label_names": ["cup", "<dish>"]}, root / "weights.pyth")
    images = small_coco(root / "data") / "images"
    words = ["--weights", str(root / "weights.pyth"), "--output", str(root / "out"), "--min-score", "0.2"]
    assert predict.main([str(images), *words]) == 0
    return root / "out"
