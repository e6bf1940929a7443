"""Checkpoints are whole or absent, never run code, and say plainly why they do not fit."""

import io
import logging
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from slowfast_mvit.engine import checkpoint
from slowfast_mvit.engine.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_model,
    read_checkpoint,
    read_newest,
    save_checkpoint,
)
from slowfast_mvit.errors import UserError


class Model(nn.Module):
    def __init__(self, width=3, classes=4):
        super().__init__()
        self.body = nn.Linear(2, width)
        self.head = nn.Module()
        self.head.projection = nn.Linear(width, classes)


def content(epoch=0):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": epoch,
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "cfg": "MODEL:\n  ARCH: mvit\n",
        "label_names": ["run", "high jump"],
    }


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    return str(caught.value)


# Writing and finding


def test_round_trip(tmp_path):
    path, saved = checkpoint_path(tmp_path / "new", 4), content(4)
    save_checkpoint(path, saved)
    assert path == tmp_path / "new" / "checkpoint_epoch_00005.pyth" and [path] == list(path.parent.iterdir())
    found = read_checkpoint(path)
    assert list(found) == list(saved)
    assert (found["epoch"], found["cfg"], found["label_names"]) == (4, saved["cfg"], ["run", "high jump"])
    torch.testing.assert_close(found["model_state"], saved["model_state"], rtol=0, atol=0)
    torch.testing.assert_close(found["optimizer_state"]["state"], saved["optimizer_state"]["state"], rtol=0, atol=0)


def test_files_are_listed_by_epoch(tmp_path):
    assert list_checkpoints(tmp_path / "none") == [] == list_checkpoints(tmp_path)
    for epoch in (9, 0, 99, 10):
        checkpoint_path(tmp_path, epoch).touch()
    for other in (".checkpoint_epoch_00200.pyth.tmp", "checkpoint_epoch_00300.pyth.bak", "best.pyth"):
        (tmp_path / other).touch()
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, epoch) for epoch in (0, 9, 10, 99)]


@pytest.mark.parametrize("moment", ["save", "fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_one(tmp_path, monkeypatch, moment):
    path = checkpoint_path(tmp_path, 0)
    save_checkpoint(path, content(0))
    old = path.read_bytes()

    def fail(*args, **kwargs):
        for file in args:
            if hasattr(file, "write"):
                file.write(b"half a file")
        raise OSError("disk full")

    where = {"save": (torch, "save"), "fsync": (checkpoint.os, "fsync"), "replace": (type(path), "replace")}
    monkeypatch.setattr(*where[moment], fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, content(1))
    monkeypatch.undo()
    assert path.read_bytes() == old and list_checkpoints(tmp_path) == [path]
    assert read_newest(tmp_path)[1]["epoch"] == 0
    save_checkpoint(path, content(1))
    assert read_checkpoint(path)["epoch"] == 1 and list(tmp_path.iterdir()) == [path]


def test_the_newest_that_can_be_read(tmp_path, caplog):
    assert read_newest(tmp_path) is None and read_newest(tmp_path / "none") is None
    for epoch in range(4):
        save_checkpoint(checkpoint_path(tmp_path, epoch), content(epoch))
    with caplog.at_level(logging.WARNING):
        path, found = read_newest(tmp_path)
    assert path == checkpoint_path(tmp_path, 3) and found["epoch"] == 3 and not caplog.records
    whole = checkpoint_path(tmp_path, 3).read_bytes()
    checkpoint_path(tmp_path, 3).write_bytes(whole[: len(whole) // 2])
    checkpoint_path(tmp_path, 2).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        path, found = read_newest(tmp_path)
    assert path == checkpoint_path(tmp_path, 1) and found["epoch"] == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    for record, epoch in zip(caplog.records, (3, 2), strict=True):
        assert record.getMessage().startswith(f"{checkpoint_path(tmp_path, epoch)} cannot be loaded as a checkpoint")
        assert record.getMessage().endswith("; trying the checkpoint before it")


def test_none_can_be_read(tmp_path):
    checkpoint_path(tmp_path, 0).write_text("no")
    with pytest.raises(UserError, match=r"none of the 1 checkpoints in .* can be read"):
        read_newest(tmp_path)


def test_a_url_is_no_path(tmp_path):
    assert "looks like a URL" in refusal(tmp_path.__class__("https://example.org/x.pyth"))


# Reading


def test_missing_file(tmp_path):
    assert refusal(tmp_path / "no.pyth") == f"the checkpoint {tmp_path}/no.pyth does not exist"
    assert refusal(tmp_path) == f"the checkpoint {tmp_path} does not exist"


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("new_format", [True, False])
def test_code_is_refused_and_does_not_run(tmp_path, new_format):
    path, mark = tmp_path / "evil.pyth", tmp_path / "it ran"
    torch.save({"model_state": Evil(mark)}, path, _use_new_zipfile_serialization=new_format)
    assert refusal(path).startswith(f"{path} cannot be loaded as a checkpoint, it is damaged or of another kind: ")
    assert not mark.exists()
    path.write_bytes(pickle.dumps(Evil(mark)))
    assert "cannot be loaded" in refusal(path) and not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # so the trap was a real one


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_truncated_files(tmp_path, share, new_format):
    buffer = io.BytesIO()
    torch.save(content(), buffer, _use_new_zipfile_serialization=new_format)
    path = tmp_path / "cut.pyth"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * share)])
    said = refusal(path)
    assert said.startswith(f"{path} cannot be loaded as a checkpoint, it is damaged or of another kind: ")
    assert "\n" not in said and len(said) > len(str(path)) + 75


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40) | st.text(st.characters(max_codepoint=127), max_size=40).map(str.encode))
@example(b"a b c\n1 2 3\n")
@example(b"GXX-")
@example(b"video,label\na.mp4,3\n")
@example(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
@example(b"<!DOCTYPE html><html>404</html>")
@example(b"\x80\x02]q\x00.")
@example(b"PK\x03\x04")
def test_other_files(tmp_path, data):
    path = tmp_path / "other.pyth"
    path.write_bytes(data)
    assert str(path) in refusal(path)


def test_damaged_bytes(tmp_path):
    buffer = io.BytesIO()
    torch.save(content(), buffer)
    rng, path, refused = np.random.default_rng(0), tmp_path / "bad.pyth", 0
    for _ in range(150):
        data = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_checkpoint(path)  # a bit of a weight may change unseen
        except UserError as error:
            refused += str(path) in str(error)
    assert refused > 30


def test_a_damaged_list_of_contents(tmp_path):
    buffer = io.BytesIO()
    torch.save(content(), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    key = re.findall(rb"\d{8,}", data)[-1]  # where the old format lists its tensors, before their bytes
    place = data.rindex(key)
    path = tmp_path / "old.pyth"
    path.write_bytes(data[:place] + b"1" * len(key) + data[place + len(key) :])
    assert "cannot be loaded as a checkpoint" in refusal(path)


def test_an_archive_of_something_else(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "cannot be loaded as a checkpoint" in refusal(path)


def test_other_contents(tmp_path):
    path = tmp_path / "c.pyth"
    torch.save([1, 2], path)
    assert refusal(path) == f"{path} holds a list, not a checkpoint"
    torch.save(torch.zeros(2), path)
    assert refusal(path) == f"{path} holds a Tensor, not a checkpoint"
    torch.save({}, path)
    assert refusal(path) == f"{path} holds no model_state; its keys are "
    torch.save({"state_dict": {}, "epoch": 3}, path)
    assert refusal(path) == f"{path} holds no model_state; its keys are state_dict, epoch"


def test_bare_state_dict(tmp_path):
    path, state = tmp_path / "bare.pth", nn.Linear(2, 3).state_dict()
    torch.save(state, path)
    found = read_checkpoint(path)
    assert list(found) == ["model_state"]
    torch.testing.assert_close(dict(found["model_state"]), dict(state), rtol=0, atol=0)


# Loading


def test_load_by_name_and_shape(tmp_path):
    one, other = Model(), Model()
    load_model(other, one.state_dict(), tmp_path)
    torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=0, atol=0)


def test_weights_of_another_model(tmp_path):
    model, source = Model(), tmp_path / "x.pyth"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = Model(width=5).state_dict()
    state["extra.weight"] = state.pop("head.projection.bias")
    with pytest.raises(UserError) as caught:
        load_model(model, state, source)
    assert str(caught.value) == (
        f"{source} holds the weights of another model: 1 tensors missing, 1 unexpected, 3 of another shape "
        "(body.weight is (5, 2), the model's (3, 2); body.bias is (5,), the model's (3,); "
        "head.projection.weight is (4, 5), the model's (4, 3)). Use the config it was trained with"
    )
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_missing_and_unexpected_names(tmp_path):
    state = Model().state_dict()
    state["module.body.weight"] = state.pop("body.weight")
    with pytest.raises(UserError) as caught:
        load_model(Model(), state, tmp_path)
    assert re.search(
        r"1 tensors missing, 1 unexpected, 0 of another shape "
        r"\(body\.weight is missing; module\.body\.weight is not in the model\)\. Use",
        str(caught.value),
    )


def test_new_head(tmp_path, caplog):
    published, model = Model(classes=9), Model(classes=4)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        load_model(model, published.state_dict(), tmp_path / "k400.pyth", new_head=True)
    assert torch.equal(model.body.weight, published.body.weight) and torch.equal(model.body.bias, published.body.bias)
    for name in ("head.projection.weight", "head.projection.bias"):
        assert torch.equal(model.state_dict()[name], fresh[name])
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path}/k400.pyth: the classifier has other classes; "
        "head.projection.weight, head.projection.bias keep fresh weights"
    )
    with pytest.raises(UserError, match="2 of another shape"):
        load_model(model, published.state_dict(), tmp_path)


def test_new_head_with_the_same_classes_is_the_old_one(tmp_path, caplog):
    published, model = Model(), Model()
    with caplog.at_level(logging.INFO):
        load_model(model, published.state_dict(), tmp_path, new_head=True)
    torch.testing.assert_close(model.state_dict(), published.state_dict(), rtol=0, atol=0)
    assert not caplog.records


def test_new_head_forgives_no_other_difference(tmp_path):
    with pytest.raises(UserError, match=r"2 of another shape \(body\.weight is \(5, 2\)"):
        load_model(Model(), Model(width=5, classes=9).state_dict(), tmp_path, new_head=True)
