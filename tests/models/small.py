"""Small architectures that cover the ways a block can be built, with weights of which every one matters."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from slowfast_mvit.models.layout import Architecture

VIDEO = Architecture(
    input_size=(8, 64, 64),
    patch_kernel=(3, 7, 7),
    patch_stride=(2, 4, 4),
    patch_padding=(1, 3, 3),
    embed_dim=8,
    num_heads=1,
    depth=4,
    dim_mul=((1, 2.0), (3, 2.0)),
    head_mul=((1, 2.0), (3, 2.0)),
    pool_q_stride=((0, (1, 1, 1)), (1, (1, 2, 2)), (2, (1, 1, 1)), (3, (1, 2, 2))),
    pool_kv_stride=(1, 4, 4),
    pool_kernel=(3, 3, 3),
)
IMAGE = replace(
    VIDEO,
    input_size=(64, 64),
    patch_kernel=(7, 7),
    patch_stride=(4, 4),
    patch_padding=(3, 3),
    pool_q_stride=((0, (1, 1)), (1, (2, 2)), (2, (1, 1)), (3, (2, 2))),
    pool_kv_stride=(4, 4),
    pool_kernel=(3, 3),
    rel_pos_time=False,
    cls_token=False,
)
CASES = {
    "video": VIDEO,
    "video, no class token": replace(VIDEO, cls_token=False),
    "video, expansion in the MLP": replace(VIDEO, expand_in_attention=False),
    "video, expansion in the MLP, no class token": replace(VIDEO, expand_in_attention=False, cls_token=False),
    "video, no residual pooling": replace(VIDEO, residual_pooling=False),
    "video, positions in space": replace(VIDEO, rel_pos_time=False),
    "video, positions in time": replace(VIDEO, rel_pos_space=False),
    "video, no positions": replace(VIDEO, rel_pos_space=False, rel_pos_time=False),
    "video, mean pooling": replace(VIDEO, mean_pooling=True),
    "video, kernels from strides": replace(VIDEO, pool_kernel=None),
    "video, no key and value pools": replace(VIDEO, pool_kv_stride=None),
    "video, queries pooled in two blocks only": replace(VIDEO, pool_q_stride=((1, (1, 2, 2)), (3, (1, 2, 2)))),
    "video, time pooled too": replace(VIDEO, pool_q_stride=((1, (2, 2, 2)),), pool_kv_stride=(2, 4, 4)),
    "video, no query, key and value bias": replace(VIDEO, qkv_bias=False),
    "video, two heads at first": replace(VIDEO, num_heads=2, embed_dim=12, mlp_ratio=3.0),
    "image": IMAGE,
    "image, class token": replace(IMAGE, cls_token=True),
    "image, expansion in the MLP": replace(IMAGE, expand_in_attention=False),
    "image, no positions": replace(IMAGE, rel_pos_space=False),
    "image, no residual pooling": replace(IMAGE, residual_pooling=False, cls_token=True),
}


def randomize(module: nn.Module, seed: int = 0) -> None:
    """Weights by their fan, tables, norms and biases large: nothing may hide behind a small or neutral value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(draw * 0.3)
            elif "norm" in name:
                parameter.copy_(1 + 0.3 * draw)
            elif "rel_pos" in name or name == "cls_token":
                parameter.copy_(draw * 0.5)
            else:
                parameter.copy_(draw / max(parameter[0].numel(), 1) ** 0.5)


def assert_same_gradients(
    module: nn.Module, actual: Tensor, expected: Tensor, x: Tensor, state: dict[str, Tensor]
) -> None:
    """Gradients of one random projection of both outputs, of the input and of every parameter, agree to 1e-4.

    ``state`` holds the leaves that ``expected`` was computed from.
    """
    weights = torch.randn(actual.shape, generator=torch.Generator().manual_seed(9))
    parameters = dict(module.named_parameters())
    ours = torch.autograd.grad((actual * weights).sum(), [x, *parameters.values()])
    theirs = torch.autograd.grad((expected * weights).sum(), [x, *(state[name] for name in parameters)])
    for name, got, want in zip(["input", *parameters], ours, theirs, strict=True):
        # A key's bias moves all logits of a query alike, so its gradient is zero but for rounding: judge by the size that
        # gradients have in this module.
        scale = max(want.abs().max().item(), 1e-2 * max(grad.abs().max().item() for grad in theirs))
        error = (got - want).abs().max().item() / scale
        assert error < 1e-4, f"gradient of {name}: relative error {error:.1e}"


def leaves(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters as tensors of their own."""
    return {name: parameter.detach().clone().requires_grad_() for name, parameter in module.named_parameters()}
