"""Damaged files end in a sentence, run nothing, and leave the model as it was."""

import hashlib
import io
import pickle

import numpy as np
import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.formats import from_official
from slowfast_mvit.weights.load import load_weights
from tests.weights.loading import assert_equal, refusal
from tests.weights.models import copied, small

# Two hundred damaged files: a sentence each, or what was in them


def damaged_files():
    """Names and contents: cut, flipped, with wrong names, with code; the latter two in every container."""
    rng = np.random.default_rng(0)
    state = copied(small(embed_dim=4))
    files = {}
    for new_format in (True, False):
        buffer = io.BytesIO()
        torch.save({"model_state": state}, buffer, _use_new_zipfile_serialization=new_format)
        files[f"torch {new_format}"] = buffer.getvalue()
    arrays = {name: tensor.numpy() for name, tensor in from_official(state, "detectron2").items()}
    files["pickle"] = pickle.dumps({"model": arrays}, protocol=4)
    for kind, whole in files.items():
        for share in np.linspace(0, 0.999, 20):
            yield f"{kind} cut at {share:.2f}", whole[: int(share * len(whole))]
        for number in range(30):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 8):
                data[place] = rng.integers(256)
            yield f"{kind} flipped {number}", bytes(data)
    names = list(state)
    for number in range(40):
        wrong = dict(state)
        for place in rng.integers(0, len(names), 90):
            wrong[f"other.{place}"] = wrong.pop(names[place], torch.ones(1))
        buffer = io.BytesIO()
        torch.save(wrong, buffer)
        yield f"wrong names {number}", buffer.getvalue()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def traps(mark):
    for place in ("model_state", "state_dict", "model", "blobs", "cfg"):
        for protocol in (2, 4):
            yield f"trap in {place}, {protocol}", pickle.dumps({place: Trap(mark), "x": 1}, protocol=protocol)
        for new_format in (True, False):
            buffer = io.BytesIO()
            torch.save({place: {"a": Trap(mark)}, "model": {}}, buffer, _use_new_zipfile_serialization=new_format)
            yield f"trap in {place}, {new_format}", buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning", "ignore:invalid escape:DeprecationWarning")
def test_damaged_files_end_in_a_sentence_and_run_nothing(tmp_path):
    mark, path, model = tmp_path / "it ran", tmp_path / "weights", small(embed_dim=4)
    before, loaded, refused = copied(model), [], []
    for title, data in [*damaged_files(), *traps(mark)]:
        path.write_bytes(data)
        try:
            load_weights(model, path)
        except UserError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error), title
            assert_equal(model, before)
            refused.append(title)
        else:
            model.load_state_dict(before)
            loaded.append(title)
    assert len(loaded) + len(refused) == 210 and not mark.exists()
    # Only torch's zip files carry checksums: in the others a changed weight is not seen without a hash.
    assert all(title.startswith(("torch False flipped", "pickle flipped")) for title in loaded), loaded
    assert len(refused) > 150


def test_a_hash_sees_what_nothing_else_does(tmp_path):
    buffer = io.BytesIO()
    torch.save(copied(small()), buffer)
    data = bytearray(buffer.getvalue())
    path = tmp_path / f"mvit-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    load_weights(small(), path)
    data[data.index(small().norm.weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert "is not the file that its name says" in refusal(small(), path)
    plain = tmp_path / "mvit.pth"
    plain.write_bytes(data)
    assert "is not what its checksum says" in refusal(small(), plain)
