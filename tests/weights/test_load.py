"""Loading: by name and shape, all or nothing, and the report says what came of it."""

import io
import pickle

import pytest
import torch

from slowfast_mvit.build.model import create_model
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import create_baseline
from slowfast_mvit.weights import load
from slowfast_mvit.weights.files import write_safetensors
from slowfast_mvit.weights.formats import FORMATS, from_official
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.report import LoadReport
from tests.weights.loading import HEAD, Model, assert_equal, refusal
from tests.weights.models import copied, small
from tests.weights.server import file_server

# Sources


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_loaded_bitwise(form):
    source = small(2 if form == "timm" else 3, abs_pos="separable")
    model = small(2 if form == "timm" else 3, seed=1, abs_pos="separable")
    report = load_weights(model, from_official(copied(source), form), strict=True)
    assert_equal(model, source.state_dict())
    assert report == LoadReport("the state dict", form, loaded=tuple(model.state_dict()), share=1.0)


@pytest.mark.parametrize("kind", ["pyth", "pth", "pkl", "safetensors"])
def test_every_container_as_a_file(tmp_path, kind):
    source, model, path = small(), small(seed=1), tmp_path / f"weights.{kind}"
    state = copied(source)
    if kind == "pyth":
        torch.save({"epoch": 1, "model_state": state, "optimizer_state": {}, "cfg": "A: 1\n"}, path)
    elif kind == "pth":
        theirs = {"state_dict": from_official(state, "mmaction2"), "meta": {"mmengine_version": "0.9"}}
        torch.save(theirs, path)
    elif kind == "pkl":
        theirs = {name: tensor.numpy() for name, tensor in from_official(state, "detectron2").items()}
        path.write_bytes(pickle.dumps({"model": theirs, "__author__": "someone"}))
    else:
        write_safetensors(path, {f"module.{name}": tensor for name, tensor in state.items()}, {})
    report = load_weights(model, path if kind != "pth" else str(path))
    assert_equal(model, state)
    assert report.source == str(path) and report.share == 1 and report.is_complete


def test_a_url(tmp_path, monkeypatch):
    path, asked = tmp_path / "x.pth", []
    torch.save(copied(small()), path)

    def fetch(url):
        asked.append(url)
        return path

    monkeypatch.setattr(load, "fetch", fetch)
    model, url = small(seed=1), "https://example.org/weights/x.pth"
    assert load_weights(model, url).source == url and asked == [url]
    assert_equal(model, small().state_dict())
    assert set(read_source(url)) == set(model.state_dict())


def test_a_damaged_download_is_fetched_again(tmp_path, monkeypatch):
    """The server gives half of a file, which no hash betrays, and the whole of it when asked again."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SLOWFAST_MVIT_CACHE", str(tmp_path))
    buffer = io.BytesIO()
    torch.save(copied(small()), buffer)
    whole = buffer.getvalue()
    with file_server() as server:
        url = f"{server.url}/x.pth"
        server.files["/x.pth"] = whole[: len(whole) // 2]
        said = refusal(small(seed=1), url)
        assert "is cut short" in said and said.endswith(
            f"(what came from {url}; it is deleted, and fetched again at the next use)"
        )
        assert not [path for path in tmp_path.rglob("x.pth*") if path.suffix != ".lock"]
        server.files["/x.pth"] = whole
        model = small(seed=1)
        load_weights(model, url)
        assert_equal(model, small().state_dict())
        load_weights(model, url)
        assert server.asked == ["/x.pth"] * 2


def test_a_damaged_file_of_the_users_own_is_kept(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"PK\x03\x04")
    assert "is cut short" in refusal(small(), path) and path.exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("k400", "there is no file k400: as the tag of published weights, create_model(pretrained=...) takes it"),
        (
            "s3://bucket/b.pth",
            "s3://bucket/b.pth cannot be fetched, only http and https URLs can: download the file and give its path",
        ),
        ("k40", "the checkpoint k40 does not exist: check its path, which begins in {here}"),
        ("file:///a/b.pth", "file:///a/b.pth is a file's address: give its plain path, without file://"),
    ],
)
def test_what_is_no_file(source, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(small(), source) == said.format(here=tmp_path)


def test_a_file_may_have_the_name_of_a_tag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(copied(small()), "k400")
    assert load_weights(small(seed=1), "k400").share == 1


def test_what_the_caller_calls_it():
    assert load_weights(small(seed=1), copied(small()), name="K400").source == "K400"
    assert refusal(small(), {"epoch": 1}, name="K400") == "K400 holds no model_state; its keys are epoch"
    assert refusal(small(), {"a": torch.ones(1)}, name="K400").startswith(
        "K400: the names of the tensors are those of no known"
    )


def test_a_network_inside_another_one():
    source, model = small(), small(seed=1)
    state = {f"backbone.{name}": tensor for name, tensor in copied(source).items()} | {
        "predictor.0.weight": torch.ones(2)
    }
    report = load_weights(model, state)
    assert_equal(model, source.state_dict())
    assert report.unexpected == ("predictor.0.weight",)


def test_a_baseline_loads_by_its_own_names():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source, model = create_baseline("x3d_xs", num_classes=4), create_baseline("x3d_xs", num_classes=4)
    state = {name: tensor for name, tensor in copied(source).items() if not name.endswith("num_batches_tracked")}
    report = load_weights(model, {"model_state": state}, strict=True)  # old files have no counters
    assert report.format == "the model's own" and report.share == 1
    for name, tensor in state.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    other = create_baseline("x3d_xs", num_classes=7)
    fresh = copied(other)
    report = load_weights(other, {"model_state": state})
    assert report.kept_head == ("blocks.5.proj.weight", "blocks.5.proj.bias") and not report.missing
    assert all(torch.equal(other.state_dict()[name], fresh[name]) for name in report.kept_head)
    assert "has a head of 4 classes, and the model one of 7" in refusal(other, {"model_state": state}, strict=True)
    said = refusal(small(), state)
    assert "the names of the tensors are those of no known publisher" in said
    assert said.endswith(
        "; if they are those of a PyTorchVideo network, name that as the model (--model x3d_m, MODEL.ARCH x3d_m)"
    )


# The head


def test_other_classes_keep_the_heads_values():
    source, model = small(num_classes=9), small(num_classes=5, seed=1)
    fresh = copied(model)
    report = load_weights(model, copied(source))
    assert report.kept_head == HEAD and report.share == 1 and report.is_complete
    assert not set(HEAD) & {*report.loaded, *report.missing, *report.other_shape}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name in HEAD else source.state_dict()[name]), name


def test_the_same_classes_keep_the_head():
    source, model = small(), small(seed=1)
    assert load_weights(model, copied(source)).kept_head == ()
    assert_equal(model, source.state_dict())


@pytest.mark.parametrize("options", [{"strict": True}, {"new_head": False}, {"new_head": False, "min_share": 0}])
def test_a_new_head_can_be_forbidden(options):
    assert refusal(small(num_classes=5), copied(small(num_classes=9)), **options) == (
        "the state dict has a head of 9 classes, and the model one of 5: set num_classes (MODEL.NUM_CLASSES) to 9"
    )
    assert load_weights(small(num_classes=9), copied(small(num_classes=9)), **options).kept_head == ()


def test_a_head_of_other_classes_among_other_faults():
    state = {name: tensor for name, tensor in copied(small(num_classes=9)).items() if "norm" not in name}
    assert "weights of another model" in refusal(small(), state, strict=True)
    assert "has a head of 9 classes" in refusal(small(), state, new_head=False)


def test_a_head_of_other_features_is_no_new_head():
    state = Model(width=5, classes=9).state_dict()
    assert "4 of another shape (body.weight is (5, 2), the model's (3, 2)" in refusal(Model(), state)


def test_a_source_without_a_head():
    source = {name: tensor for name, tensor in copied(small()).items() if name not in HEAD}
    model = small(seed=1)
    report = load_weights(model, source)
    assert report.missing == HEAD and report.share == 1 and not report.is_complete
    assert "2 tensors missing, 0 unexpected, 0 of another shape (head.projection.weight is missing" in refusal(
        small(), source, strict=True
    )


# What does not belong together


def test_weights_of_another_model():
    state = Model(width=5).state_dict()
    state["extra.weight"] = state.pop("head.projection.bias")
    assert refusal(Model(), state, name="x.pyth") == (
        "x.pyth holds the weights of another model: 1 tensors missing, 1 unexpected, 3 of another shape "
        "(body.weight is (5, 2), the model's (3, 2); body.bias is (5,), the model's (3,); "
        "head.projection.weight is (4, 5), the model's (4, 3)), 0% of the backbone's parameters found. "
        "Use the model or config it was trained with"
    )


@pytest.mark.parametrize("kept", [0.85, 0.95])
def test_the_share_that_must_arrive(kept):
    model, state = small(), copied(small(seed=1))
    sizes = {name: tensor.numel() for name, tensor in state.items() if name not in HEAD}
    total, taken = sum(sizes.values()), 0
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if taken + size <= (1 - kept) * total:
            taken += size
            del state[name]
    assert kept <= 1 - taken / total < kept + 0.01
    if kept < 0.9:
        assert "85% of the backbone's parameters found" in refusal(model, state)
    report = load_weights(model, state, min_share=0.8)
    assert report.share == pytest.approx(1 - taken / total) and report.missing
    assert load_weights(small(), {"blocks.0.attn.qkv.weight": torch.zeros(24, 8)}, min_share=0).loaded == (
        "blocks.0.attn.qkv.weight",
    )


def test_one_tensor_of_another_shape_is_another_model():
    """However few its numbers are: 99 % of the others fit."""
    state = copied(small()) | {"blocks.0.mlp.fc1.bias": torch.ones(33)}
    said = refusal(small(), state)
    assert "0 unexpected, 1 of another shape (blocks.0.mlp.fc1.bias is (33,), the model's (32,))" in said
    assert load_weights(small(), state, min_share=0).other_shape == ("blocks.0.mlp.fc1.bias",)


def test_version_1_is_not_version_2():
    state = copied(create_model("mvitv1_b_16x4"))
    with pytest.raises(
        UserError, match="holds the weights of another model: 93 tensors missing, 9 unexpected, 15 of anot"
    ):
        load_weights(create_model("mvitv2_s_16x4"), state)


def test_exactly_the_share_that_must_arrive():
    state = Model(width=3).state_dict()
    del state["body.bias"]  # 3 of 9 numbers
    assert load_weights(Model(), state, min_share=6 / 9).share == 6 / 9
    assert "67% of the backbone's parameters found" in refusal(Model(), state, min_share=0.6667)


def test_a_model_without_numbers():
    with torch.device("meta"):
        model = Model()
    with pytest.raises(
        UserError, match="the model is on the meta device, which holds no numbers: make it on another one"
    ):
        load_weights(model, Model().state_dict())


def test_strictness_knows_every_name():
    state = copied(small()) | {"mask_token": torch.ones(1)}
    assert "0 tensors missing, 1 unexpected, 0 of another shape (mask_token is not in the model)" in refusal(
        small(), state, strict=True
    )
    assert load_weights(small(), state).unexpected == ("mask_token",)


def test_other_kinds_of_numbers():
    state = copied(small())
    state["norm.weight"] = state["norm.weight"].long()
    assert "holds norm.weight as torch.int64, the model as torch.float32" in refusal(small(), state)
    state["norm.weight"] = torch.ones_like(small().norm.weight, dtype=torch.complex64)
    assert "holds norm.weight as torch.complex64" in refusal(small(), state)
    half = {name: tensor.half() for name, tensor in copied(small()).items()}
    model = small(seed=1)
    load_weights(model, half)
    assert_equal(model, {name: tensor.float() for name, tensor in half.items()})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_numbers_that_are_not_finite(number):
    state = copied(small())
    for name in ("norm.weight", "blocks.1.mlp.fc1.bias"):
        state[name] = state[name].double()
        state[name][3] = number  # the last one is finite, but not as the model has it
    said = "x.pth holds numbers in blocks.1.mlp.fc1.bias that are not finite: it is damaged, or its training diverged"
    assert refusal(small(), state, name="x.pth") == said


def test_arguments_of_other_kinds():
    assert refusal(small(), {}) == "the state dict is empty: there are no weights in it"
    assert refusal(small(), True) == "the weights are a bool; they must be a file, a URL or a state dict"
    for share in (90, -0.1, "0.9"):
        assert refusal(small(), copied(small()), min_share=share) == f"min_share is {share!r}; it must be 0 to 1"
    with pytest.raises(UserError, match="takes a model first and its weights second, and not a str"):
        load_weights("mvitv2_s_16x4", copied(small()))


def test_the_model_shares_no_memory_with_the_source():
    source, model = copied(small()), small(seed=1)
    load_weights(model, source)
    source["norm.weight"].zero_()
    assert model.norm.weight.any()


# The report


def test_the_report_is_a_short_table():
    report = LoadReport(
        source="x.pyth",
        format="timm",
        loaded=("a", "b"),
        missing=("c",),
        unexpected=("d", "e", "f", "g"),
        resized=("a",),
        kept_head=HEAD,
        share=0.9876,
    )
    assert str(report).splitlines() == [
        "weights of x.pyth (timm names), 98.8% of the backbone's parameters",
        "  loaded                 2",
        "  resized                1  a",
        "  inflated               0",
        "  kept: other classes    2  head.projection.weight, head.projection.bias",
        "  missing                1  c",
        "  other shape            0",
        "  unexpected             4  d, e, f, ...",
    ]
