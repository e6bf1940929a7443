"""ImageNet through run_net.py on real JPEG files: training, tests, other sizes, the joint set, and image weights in video."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_net
import torch
from PIL import Image

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.images import ImageView
from slowfast_mvit.data.toy_images import CLASSES, ToyImageSet, make_toy_images
from slowfast_mvit.data.toy_things import ToyThings, make_toy_things

ROOT = Path(__file__).parents[2]
RECIPE, VIDEO_RECIPE = (ROOT / "configs" / "Toy" / f"MVITV2_TOY_{name}.yaml" for name in ("IMAGENET", "8x4_from_image"))
SMALL = ("MVIT.EMBED_DIM", "8", "SOLVER.MAX_EPOCH", "1", "DATA_LOADER.NUM_WORKERS", "0", "TRAIN.BATCH_SIZE", "10")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training and 10 validation images of ten classes."""
    return make_toy_images(tmp_path_factory.mktemp("images"), ToyImageSet(20, 10), processes=1)


@pytest.fixture(scope="session")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on them."""
    out = tmp_path_factory.mktemp("trained")
    assert run(out, images) == 0
    return out


def run(out: Path, data: Path, *overrides: str, recipe: Path = RECIPE) -> int:
    argv = ["--cfg", str(recipe), "DATA.PATH_TO_DATA_DIR", str(data), "OUTPUT_DIR", str(out), *SMALL, *overrides]
    return run_net.main(argv)


def checkpoint(out: Path) -> str:
    return str(out / "checkpoints" / "checkpoint_epoch_00001.pyth")


def test_training_and_test(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    # The recipe says nothing of views, and PySlowFast's defaults are 10 x 3: an image has one.
    assert (metrics["num_videos"], metrics["num_views"]) == (10, 1)
    assert metrics["protocol"] == "centre crop 64 of short side 73"
    clips = pd.read_csv(trained / "predictions" / "clips.csv")
    assert clips["video"].tolist() == [f"{name}/{i:05d}.JPEG" for i, name in enumerate(CLASSES)]
    assert clips["label_name"].tolist() == list(CLASSES) and clips["label"].tolist() == list(range(10))
    assert (clips[["clip_index", "crop_index", "start_sec", "end_sec"]] == 0).all(axis=None)
    assert json.loads((trained / "labels.json").read_text()) == {name: i for i, name in enumerate(CLASSES)}
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["kind"] == "train"] == [2]
    assert [line["epoch"] for line in log if line["kind"] == "val"] == [1]


@pytest.mark.parametrize("ratio", [0.875, 0.0, 1.0])
def test_scores_are_those_of_the_model_on_the_view(images: Path, trained: Path, tmp_path: Path, ratio: float) -> None:
    given = (
        "TRAIN.ENABLE",
        "False",
        "TEST.CHECKPOINT_FILE_PATH",
        checkpoint(trained),
        "DATA.IN_VAL_CROP_RATIO",
        str(ratio),
    )
    assert run(tmp_path, images, *given) == 0
    config = load_config(str(RECIPE), ["MVIT.EMBED_DIM", "8"])
    model = build_model(config).eval()
    model.load_state_dict(torch.load(checkpoint(trained), weights_only=True)["model_state"])
    videos = pd.read_csv(tmp_path / "predictions" / "videos.csv")
    for row in videos.itertuples():
        with Image.open(images / "val" / str(row.video)) as file:
            pixels = np.asarray(ImageView(64, ratio)(file.convert("RGB")))
        image = (torch.from_numpy(pixels.copy()) / 255 - torch.tensor(config.DATA.MEAN)) / torch.tensor(config.DATA.STD)
        with torch.inference_mode():
            scores = model(image.permute(2, 0, 1)[None])[0].softmax(0)
        assert row.top1 == scores.argmax() and row.top1_score == pytest.approx(float(scores.max()), rel=1e-3)


def test_fine_tuning_at_a_larger_size(images: Path, trained: Path, tmp_path: Path, capsys) -> None:
    """As 384 from 224: the position tables are resized, everything else arrives."""
    larger = ("DATA.TRAIN_CROP_SIZE", "96", "DATA.TEST_CROP_SIZE", "96", "DATA.IN_VAL_CROP_RATIO", "0")
    assert (
        run(tmp_path, images, *larger, "TRAIN.CHECKPOINT_FILE_PATH", checkpoint(trained), "SOLVER.BASE_LR", "1e-5") == 0
    )
    said = capsys.readouterr().err
    assert "starting from the weights of" in said and "resized" in said
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"] == "whole image resized to 96"
    before, after = (torch.load(checkpoint(out), weights_only=True)["model_state"] for out in (trained, tmp_path))
    name = "blocks.0.attn.rel_pos_h"
    assert before[name].shape[0] == 15 and after[name].shape[0] == 23  # 2 * 8 - 1 and 2 * 12 - 1 places
    assert torch.allclose(before["patch_embed.proj.weight"], after["patch_embed.proj.weight"], atol=1e-3)


def test_mixup_erasing_and_randaugment_on_images(images: Path, tmp_path: Path) -> None:
    recipe = (
        "AUG.ENABLE",
        "True",
        "AUG.AA_TYPE",
        "rand-m9-n6-mstd0.5-inc1",
        "AUG.NUM_SAMPLE",
        "2",
        "AUG.RE_PROB",
        "1.0",
    )
    mixing = ("MIXUP.ENABLE", "True", "MODEL.LOSS_FUNC", "soft_cross_entropy", "TEST.ENABLE", "False")
    assert run(tmp_path, images, *recipe, *mixing) == 0
    loss = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["loss"]
    assert 1.5 < loss < 4


def test_unreadable_images(images: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_toy_images(tmp_path / "data", ToyImageSet(20, 10), processes=1)
    broken = data / "val" / CLASSES[3] / "00003.JPEG"
    broken.write_bytes(broken.read_bytes()[:400])
    given = ("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", checkpoint(trained))
    assert run(tmp_path / "out", data, *given) == 2
    assert "1 of 10 test videos could not be read" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "out" / "predictions" / "unreadable.csv")
    assert table["video"].tolist() == [f"{CLASSES[3]}/00003.JPEG"] and table["backend"].tolist() == ["PIL"]
    assert len(pd.read_csv(tmp_path / "out" / "predictions" / "videos.csv")) == 9
    bad = data / "train" / CLASSES[0] / "00000.JPEG"
    bad.write_bytes(b"no image")
    assert run(tmp_path / "out2", data, "TEST.ENABLE", "False", "DATA.MAX_BAD_VIDEOS", "0") == 2
    assert (
        f"cannot read {bad} with PIL: it is no image of a kind that PIL knows; mend the file" in capsys.readouterr().err
    )


# The joint set of ImageNet-21K and ImageNet-1K.


@pytest.fixture(scope="session")
def joint(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The striped classes as ImageNet-1K, the checked ones and one striped class as ImageNet-21K."""
    root = tmp_path_factory.mktemp("joint")
    for name in CLASSES:
        for split in ("train", "val"):
            if name.startswith("striped"):
                _link(images / split / name, root / "in1k" / split / name)
            if name.startswith("checked") or name == "striped_ring":
                _link(images / split / name, root / "in21k" / split / name)
    return root / "in21k", root / "in1k"


def _link(folder: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(folder)


def test_the_joint_set_is_validated_on_the_first_outputs(joint: tuple[Path, Path], tmp_path: Path) -> None:
    in21k, in1k = joint
    assert run(tmp_path, in21k, "DATA.IN22k_VAL_IN1K", str(in1k), "DATA.IN22K_TRAINVAL", "True") == 0
    first = sorted(name for name in CLASSES if name.startswith("striped"))
    others = sorted(name for name in CLASSES if name.startswith("checked"))
    assert json.loads((tmp_path / "labels.json").read_text()) == {name: i for i, name in enumerate(first + others)}
    clips = pd.read_csv(tmp_path / "predictions" / "clips.csv")
    assert clips["label"].tolist() == list(range(5)) and clips["label_name"].tolist() == first
    scores = clips[[f"top{k}_score" for k in range(1, 6)]].to_numpy()
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-4)  # over ImageNet-1K's outputs alone
    assert sorted(clips.loc[0, [f"top{k}" for k in range(1, 6)]]) == list(range(5))


def test_a_joint_run_goes_on_and_its_weights_serve_1k(joint: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    in21k, in1k = joint
    given = ("DATA.IN22k_VAL_IN1K", str(in1k), "TEST.ENABLE", "False")
    assert run(tmp_path / "joint", in21k, *given) == 0
    assert run(tmp_path / "joint", in21k, *given, "SOLVER.MAX_EPOCH", "2") == 0
    assert "going on after epoch 1" in capsys.readouterr().err
    fine = ("MODEL.NUM_CLASSES", "5", "TRAIN.CHECKPOINT_FILE_PATH", checkpoint(tmp_path / "joint"))
    assert run(tmp_path / "fine", in1k, *fine) == 0  # a head of its own


# Image weights in a video model.


def test_inflation_end_to_end(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    things = make_toy_things(tmp_path / "things", ToyThings(10, 10, 10), processes=1)
    given = ("TRAIN.CHECKPOINT_FILE_PATH", checkpoint(trained))
    still = (
        "SOLVER.BASE_LR",
        "0",
        "SOLVER.WARMUP_START_LR",
        "0",
        "SOLVER.COSINE_END_LR",
        "0",
        "SOLVER.WEIGHT_DECAY",
        "0",
    )
    assert run(tmp_path / "out", things, *given, *still, recipe=VIDEO_RECIPE) == 0
    assert "inflated" in capsys.readouterr().err
    image, video = (
        torch.load(checkpoint(out), weights_only=True)["model_state"] for out in (trained, tmp_path / "out")
    )
    kernel = video["patch_embed.proj.weight"]
    assert torch.equal(kernel[:, :, 1], image["patch_embed.proj.weight"]) and not kernel[:, :, [0, 2]].any()
    assert not video["blocks.0.attn.rel_pos_t"].any()
    assert torch.equal(video["blocks.2.mlp.fc1.weight"], image["blocks.2.mlp.fc1.weight"])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_views"] == 3


# Mistakes, and toy runs.


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("TRAIN.DATASET", "kinetics"), "MVIT.PATCH_2D: kinetics has videos, and a stem of 2 numbers"),
        (("DATA.IN22K_TRAINVAL", "True"), "DATA.IN22K_TRAINVAL: no images are left to validate on"),
        (("TEST.NUM_TEMPORAL_CLIPS", "[1, 5]"), "TEST.NUM_TEMPORAL_CLIPS: an image has no clips"),
        (("MODEL.NUM_CLASSES", "1000"), "holds folders of 10 classes, and MODEL.NUM_CLASSES is 1000: set it to 10"),
        (("DATA.PATH_TO_DATA_DIR", ""), "DATA.PATH_TO_DATA_DIR is not set: give the folder that holds train/<class>/"),
    ],
)
def test_what_is_refused(
    images: Path, tmp_path: Path, overrides, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "out", images, *overrides) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out" / "checkpoints").exists()


def test_images_in_a_model_for_video(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ("TRAIN.DATASET", "imagenet", "TEST.DATASET", "imagenet", "TRAIN.CHECKPOINT_FILE_PATH", "")
    assert run(tmp_path, images, *sets, recipe=VIDEO_RECIPE) == 2
    assert "MVIT.PATCH_2D: imagenet has images; set it to True" in capsys.readouterr().err
    assert run(tmp_path, images, "DATA.IN22k_VAL_IN1K", "/somewhere", recipe=VIDEO_RECIPE) == 2
    assert "DATA.IN22k_VAL_IN1K: it is for imagenet, and not for kinetics" in capsys.readouterr().err


def test_a_toy_run_of_an_image_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = (
        "--toy",
        "DATA.PATH_TO_DATA_DIR",
        "/nowhere",
        "DATA.IN22k_VAL_IN1K",
        "/nowhere",
        "OUTPUT_DIR",
        str(tmp_path),
    )
    assert run_net.main(["--cfg", str(RECIPE), *given, "MODEL.NUM_CLASSES", "19", "MVIT.EMBED_DIM", "8"]) == 0
    assert "means nothing" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "toy-MVITV2_TOY_IMAGENET" / "metrics.json").read_text())
    assert metrics["num_videos"] == 4
