"""torch.hub on this checkout: every model is an entry point that builds what create_model builds."""

import re
from pathlib import Path

import pytest
import torch

from slowfast_mvit import create_model, list_models
from slowfast_mvit.errors import UserError

ROOT = Path(__file__).parents[1]


def load(name: str, **arguments: object) -> torch.nn.Module:
    return torch.hub.load(str(ROOT), name, source="local", **arguments)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository that torch.hub has in its cache already: this checkout."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "somebody_mvit_main").symlink_to(ROOT, target_is_directory=True)
    return "somebody/mvit:main"


def test_the_list_is_that_of_the_models(hub: str) -> None:
    assert torch.hub.list(hub, skip_validation=True, trust_repo=True) == list_models()


def test_help(hub: str) -> None:
    said = torch.hub.help(hub, "mvitv2_t", skip_validation=True, trust_repo=True)
    assert 'slowfast_mvit.create_model("mvitv2_t", pretrained=..., ...)' in said and "num_classes" in said


def test_models_are_those_of_create_model(tmp_path: Path) -> None:
    torch.manual_seed(3)
    direct = create_model("mvitv2_s_16x4", num_classes=5).state_dict()
    torch.manual_seed(3)
    loaded = load("mvitv2_s_16x4", num_classes=5)
    assert loaded.state_dict().keys() == direct.keys()
    assert all(torch.equal(direct[key], tensor) for key, tensor in loaded.state_dict().items())
    with torch.device("meta"):
        assert load("mvitv2_t", cls_token=True).cls_token.shape == (1, 1, 96)
        assert load("x3d_xs", pretrained=False, num_classes=7)(torch.empty(1, 3, 4, 64, 64)).shape == (1, 7)


def test_pretrained(tmp_path: Path) -> None:
    state = create_model("x3d_xs", num_classes=6).state_dict()
    torch.save({"model_state": state}, tmp_path / "x3d.pyth")
    loaded = load("x3d_xs", pretrained=str(tmp_path / "x3d.pyth")).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())
    with pytest.raises(UserError, match="x3d_xs has no published weights 'ssv2'"):
        load("x3d_xs", pretrained="ssv2")


def test_what_it_depends_on_is_what_the_package_installs() -> None:
    import hubconf

    required = re.findall(r'^ +"([\w.-]+)', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert "torch" in hubconf.dependencies and set(hubconf.dependencies) <= set(required)
