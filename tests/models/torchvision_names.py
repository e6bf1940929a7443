"""Names of torchvision's mvit_v2_s state dict as ours, for the parity test."""

import re

from torch import Tensor

_FIXED = {
    "conv_proj.weight": "patch_embed.proj.weight",
    "conv_proj.bias": "patch_embed.proj.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "head.1.weight": "head.projection.weight",
    "head.1.bias": "head.projection.bias",
}
_INSIDE = (
    (r"attn\.project\.0\.", "attn.proj."),
    (r"attn\.pool_([qkv])\.pool\.", r"attn.pool_\1."),
    (r"attn\.pool_([qkv])\.norm_act\.0\.", r"attn.norm_\1."),
    (r"mlp\.0\.", "mlp.fc1."),
    (r"mlp\.3\.", "mlp.fc2."),
    (r"\.project\.", ".proj."),
)


def from_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of torchvision's ``mvit_v2_s`` under the official names."""
    renamed = {}
    for name, tensor in state.items():
        if name == "pos_encoding.class_token":
            renamed["cls_token"] = tensor.reshape(1, 1, -1)
            continue
        if name in _FIXED:
            renamed[_FIXED[name]] = tensor
            continue
        for pattern, replacement in _INSIDE:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
