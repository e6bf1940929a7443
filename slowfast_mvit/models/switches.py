"""The ablations of the paper as switches on an architecture (Tables 4, 6, 7, A.4, A.6 and A.7)."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.layout import Architecture, Axes
from slowfast_mvit.models.variants import strided_only

# attention -> windows. With "full", keys and values are not pooled either.
ATTENTIONS: Mapping[str, str] = MappingProxyType(
    {"pooling": "none", "window": "fixed", "shifted_window": "shifted", "hybrid_window": "hybrid", "full": "none"}
)
# positions -> absolute ones, relative ones in space, in time, and the axes that share a table.
POSITIONS: Mapping[str, tuple[bool, bool, bool, str]] = MappingProxyType(
    {
        "none": (False, False, False, "none"),
        "absolute": (True, False, False, "none"),
        "relative_time": (False, False, True, "none"),
        "relative_space": (False, True, False, "none"),
        "decomposed": (False, True, True, "none"),
        "absolute_and_decomposed": (True, True, True, "none"),
        "joint_space_plus_time": (False, True, True, "space"),
        "joint_spacetime": (False, True, True, "spacetime"),
    }
)
TERMS = ("q", "k", "qk", "v", "qv", "qkv")
POOL_MODES = ("conv", "avg", "max")
SWITCHES: Mapping[str, object] = MappingProxyType(
    {
        "attention": tuple(ATTENTIONS),
        "window_sides": "a side in tokens, or one per stage",
        "positions": tuple(POSITIONS),
        "rel_pos_terms": TERMS,
        "residual_pooling": bool,
        "full_q_pooling": bool,
        "pool_mode": POOL_MODES,
        "expand_in_attention": bool,
        "cls_token": bool,
        "mean_pooling": bool,
        "kv_stride": "a stride from 1 on",
        "pool_norm_eps": "a number above 0",
    }
)
# Half of each stage's grid at 224 pixels: those of detection would cover it. Video's key stride of 8 does not divide 28.
_SIDES_OF_IMAGES, _SIDES_OF_VIDEO, _SIDE_IN_VIT = (28, 14, 7, 7), (56, 28, 14, 7), 7
_VIT_KV_STRIDE = 2  # paper, Table 4


def apply_switches(arch: Architecture, **switches: Any) -> Architecture:
    """The architecture with some of the paper's alternatives.

    Args:
        arch: where to start.
        **switches: ``attention`` (``pooling``, ``window``, ``shifted_window``, ``hybrid_window`` or ``full``; windows keep the
            pooling of keys and values that the model has, ``full`` has none), ``window_sides`` (tokens; by default half of each
            stage at 224 pixels, or all of it where the key stride does not divide the half), ``positions`` (a key of
            ``POSITIONS``), ``rel_pos_terms`` (``q``, ``k``, ``qk``, ``v``, ``qv`` or ``qkv``), ``residual_pooling``,
            ``full_q_pooling`` (a pool of stride 1 for the queries of every block), ``pool_mode`` (``conv``, ``avg``, ``max``),
            ``expand_in_attention`` (or in the MLP of the block before), ``cls_token``, ``mean_pooling``, ``kv_stride`` (along
            height and width, in the first stage; it halves with each), ``pool_norm_eps`` (1e-5 for PyTorchVideo's MViTv1).

    Raises:
        UserError: a switch or a value that does not exist, or that does not go with this model.
    """
    for name, value in switches.items():
        _check(name, value)
    changes = {
        name: switches[name]
        for name in (
            "rel_pos_terms",
            "pool_norm_eps",
            "residual_pooling",
            "pool_mode",
            "expand_in_attention",
            "cls_token",
            "mean_pooling",
        )
        if name in switches
    }
    arch = replace(arch, **changes)
    if "positions" in switches:
        arch = _with_positions(arch, switches["positions"])
    if arch.rel_pos_terms != "q" and not (arch.rel_pos_space or arch.rel_pos_time):
        raise UserError(
            f"rel_pos_terms (MVIT.REL_POS_TERMS) is {arch.rel_pos_terms!r}, but this model has no relative positions: take "
            "positions='decomposed' (MVIT.POSITIONS), or leave it out"
        )
    if "full_q_pooling" in switches:
        arch = replace(arch, pool_q_stride=_query_pools(arch, every_block=switches["full_q_pooling"]))
    if "attention" in switches or "kv_stride" in switches:
        arch = _with_key_stride(arch, switches.get("attention"), switches.get("kv_stride"))
    if "attention" in switches:
        windows = ATTENTIONS[switches["attention"]]
        sides = switches.get("window_sides", _default_sides(arch))
        sides = (sides,) if isinstance(sides, int) else tuple(sides)
        arch = replace(arch, windows=windows, window_sides=() if windows == "none" else sides)
    elif "window_sides" in switches:
        raise UserError("window_sides needs attention=window, shifted_window or hybrid_window (MVIT.ATTENTION)")
    return arch


def _default_sides(arch: Architecture) -> int | Axes:
    if not strided_only(arch.pool_q_stride):
        return _SIDE_IN_VIT
    first_stride = 1 if arch.pool_kv_stride is None else arch.pool_kv_stride[-1]
    return _SIDES_OF_IMAGES if _SIDES_OF_IMAGES[0] % first_stride == 0 else _SIDES_OF_VIDEO


def _check(name: str, value: Any) -> None:
    if name not in SWITCHES:
        raise UserError(f"there is no switch {name!r}; {closest(name, SWITCHES)}")
    allowed = SWITCHES[name]
    if allowed is bool and not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; it must be True or False")
    if isinstance(allowed, tuple) and value not in allowed:
        raise UserError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    if name == "kv_stride" and not (isinstance(value, int) and value >= 1):
        raise UserError(f"kv_stride is {value!r}; it must be {allowed}")
    if name == "pool_norm_eps" and not (isinstance(value, float) and value > 0):
        raise UserError(f"pool_norm_eps is {value!r}; it must be {allowed}")
    if name == "window_sides":
        sides = (value,) if isinstance(value, int) else value
        if not isinstance(sides, tuple | list) or not sides or any(type(s) is not int or s < 1 for s in sides):
            raise UserError(f"window_sides is {value!r}; it must be {allowed}")


def _with_positions(arch: Architecture, positions: str) -> Architecture:
    absolute, space, time, joint = POSITIONS[positions]
    video = len(arch.input_size) == 3
    if not video and (positions == "relative_time" or joint == "spacetime"):
        raise UserError(
            f"positions is {positions!r}, but images have no time axis; for a joint table use joint_space_plus_time"
        )
    kept = "separable" if arch.abs_pos == "none" else arch.abs_pos
    return replace(
        arch,
        abs_pos=kept if absolute else "none",
        rel_pos_space=space,
        rel_pos_time=time and video,
        rel_pos_joint=joint,
    )


def _query_pools(arch: Architecture, *, every_block: bool) -> tuple[tuple[int, Axes], ...]:
    strided = strided_only(arch.pool_q_stride)
    if not every_block:
        return strided
    ones = (1,) * len(arch.input_size)
    return tuple((block, dict(strided).get(block, ones)) for block in range(arch.depth))


def _with_key_stride(arch: Architecture, attention: str | None, kv_stride: int | None) -> Architecture:
    if attention == "full":
        if kv_stride is not None:
            raise UserError("attention 'full' does not pool keys: leave kv_stride out, or take attention 'pooling'")
        return replace(arch, pool_kv_stride=None, pool_kv_strides=())
    unpooled = arch.pool_kv_stride is None and not arch.pool_kv_strides
    if kv_stride is None and attention == "pooling" and unpooled:
        kv_stride = _VIT_KV_STRIDE
    if kv_stride is None:
        return arch
    time = (1,) * (len(arch.input_size) - 2)
    kernel = arch.pool_kernel or (*(3 for _ in time), 3, 3)
    return replace(arch, pool_kv_stride=(*time, kv_stride, kv_stride), pool_kv_strides=(), pool_kernel=kernel)
