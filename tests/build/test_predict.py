"""Predictor from Python: by config, by name, and of a model as built; against a straight computation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import slowfast_mvit
from slowfast_mvit import Predictor, create_model
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.predict_model import model_as_built
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.clips import ClipSampling
from slowfast_mvit.data.video import VideoError, open_video
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.ops.spatial import normalize, resize
from slowfast_mvit.weights.class_names import class_names, published_names
from tests.models.small import IMAGE, VIDEO, randomize

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def small(arch=VIDEO, classes=7):
    model = MViT(arch, classes, dropout_rate=0.5, drop_path_rate=0.3)
    randomize(model)
    return model.eval()


@pytest.fixture
def video(toy_data: Path) -> Path:
    return toy_data / "videos" / "test" / "00000.mp4"


def test_a_model_as_built_by_a_straight_computation(video) -> None:
    """One window over the whole film: its central clip, normalised, short side 73 (64 / 224 * 256), central crop."""
    model = small()
    predictor = Predictor(model, sampling_rate=4, mean=MEAN, std=STD, label_names=[f"n{number}" for number in range(7)])
    model.train()
    table = predictor.predict(str(video), window=100)
    assert model.training  # as it was
    with open_video(video) as reader:
        indices = ClipSampling(8, 4).view_indices(reader.num_frames, reader.fps, 1)[0]
        centred = ClipSampling(8, 4, use_offset=True).view_indices(reader.num_frames, reader.fps, 1)[0]
        assert indices.tolist() == centred.tolist()
        frames = torch.from_numpy(reader.frames_at(indices)).permute(0, 3, 1, 2)
        height, width = reader.height, reader.width
    size = (73, width * 73 // height)
    pixels = resize(normalize(frames, MEAN, STD), *size)
    left = -(-(size[1] - 64) // 2)
    clip = pixels[:, :, 5:69, left : left + 64].movedim(1, 0)[None]
    with torch.no_grad():
        expected = model.eval()(clip).softmax(dim=1)[0]
    scores, classes = expected.topk(5)
    assert len(table) == 1 and table["video"].tolist() == [str(video)]
    for rank in range(5):
        assert table[f"top{rank + 1}"][0] == classes[rank]
        assert table[f"top{rank + 1}_name"][0] == f"n{classes[rank]}"
        assert table[f"top{rank + 1}_score"][0] == pytest.approx(scores[rank].item(), abs=1e-6)


def test_a_config_and_its_model_say_the_same(config_file, video, tmp_path) -> None:
    config = load_config(config_file, ["NUM_GPUS", "0"])
    model = build_model(config)
    randomize(model)
    torch.save({"model_state": model.state_dict()}, tmp_path / "w.pyth")
    by_config = Predictor(config, weights=tmp_path / "w.pyth").predict([video, video.with_name("00001.mp4")])
    assert by_config["clip_index"].tolist() == [0, 1, 2, 0, 1, 2]
    data = config.DATA
    by_model = Predictor(model, sampling_rate=data.SAMPLING_RATE, mean=data.MEAN, std=data.STD)
    by_model.ready = replace(by_model.ready, config=config)
    pd.testing.assert_frame_equal(by_model.predict([video, video.with_name("00001.mp4")]), by_config)
    joined = by_model.predict(video, per_video=True)
    assert joined["num_views"].tolist() == [3]


def test_a_name_with_a_file_of_weights(tmp_path) -> None:
    """A model for images: resized, cropped and normalised as published, on the file's own classes."""
    torch.manual_seed(0)
    model = create_model("mvitv2_t", num_classes=5).eval()
    torch.save({"model_state": model.state_dict(), "label_names": list("abcde")}, tmp_path / "t.pyth")
    picture = np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "p.png")
    table = Predictor("mvitv2_t", weights=tmp_path / "t.pyth").predict(tmp_path / "p.png")
    crop = torch.from_numpy(picture[16:240, 38:262].copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = model(normalize(crop, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))).softmax(dim=1)[0]
    assert table["top1"].tolist() == [int(expected.argmax())]
    assert table["top1_name"].tolist() == ["abcde"[int(expected.argmax())]]
    assert table["top1_score"][0] == pytest.approx(expected.max().item(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mvitv2_s_16x4", (16, 4, 224, 256, 5, 1, "kinetics", 0.45)),
        ("mvitv2_b_32x3", (32, 3, 224, 256, 5, 1, "kinetics", 0.45)),
        ("x3d_s", (13, 6, 160, 183, 10, 3, "kinetics", 0.45)),
    ],
)
def test_how_published_models_are_fed(name, expected) -> None:
    with torch.device("meta"):
        model = create_model(name)
    config = model_as_built(model, name=name if name.startswith("x3d") else None).config
    data, test = config.DATA, config.TEST
    found = (data.NUM_FRAMES, data.SAMPLING_RATE, data.TEST_CROP_SIZE, data.TRAIN_JITTER_SCALES[0])
    found += (test.NUM_ENSEMBLE_VIEWS, test.NUM_SPATIAL_CROPS, test.DATASET, data.MEAN[0])
    assert found == expected
    assert data.USE_OFFSET_SAMPLING


def test_names_of_published_classes() -> None:
    url = "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/mvitv2/pysf_video_models/MViTv2_S_16x4_k400_f302660347.pyth"
    assert published_names(url, 400) == published_names("/mine/" + url.rsplit("/", 1)[1], 400)
    assert published_names(url, 400) == class_names("k400")
    assert published_names("MViTv2_S_in1k.pyth", 1000) == class_names("in1k")
    for source, count in ((url, 8), ("mine.pyth", 400), ("", 400), ("MViTv2_S_16x4_ssv2_f308341823.pyth", 174)):
        assert published_names(source, count) == ()


def test_bad_arguments(config_file, tmp_path, video) -> None:
    config = load_config(config_file, ["NUM_GPUS", "0"])
    for arguments, said in (
        (("mvitv2_x",), "there is no classifier 'mvitv2_x'; did you mean mvitv2_"),
        ((3,), "takes a name, a model or a config, and not a int"),
        ((config,), "there are no weights"),
        ((small(),), "clips of 8 frames: give its sampling_rate"),
        ((torch.nn.Linear(2, 2),), "a Linear does not say how it is fed: give its name"),
        ((create_model("mvitv2_s_16x4", boxes=True, num_classes=3),), "scores people in boxes"),
    ):
        with pytest.raises(UserError, match=said):
            Predictor(*arguments)
    with pytest.raises(UserError, match="sampling_rate is for models"):
        Predictor("mvitv2_t", sampling_rate=3)
    with pytest.raises(UserError, match="a model has its weights"):
        Predictor(small(), weights="a.pyth")
    with pytest.raises(UserError, match="label_names are 2, and the model has 7 outputs"):
        Predictor(small(), sampling_rate=4, label_names="ab")
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    predictor = Predictor(small(), sampling_rate=4)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        predictor.predict(tmp_path / "a.mp4")
    both = predictor.predict([tmp_path / "a.mp4", video])
    assert both["video"].unique().tolist() == [str(video)]
    with pytest.raises(UserError, match="is an image"):
        Image.new("RGB", (80, 80)).save(tmp_path / "a.png")
        predictor.predict(tmp_path / "a.png")
    assert len(Predictor(small(IMAGE)).predict(tmp_path / "a.png")) == 1


def test_it_is_public() -> None:
    assert slowfast_mvit.Predictor is Predictor
