"""Every publisher's names for the tensors of an MViT, both ways.

A format is a list of pairs of templates, ours (PySlowFast's and mvit's) and the publisher's; one list serves both ways, and
names that no template knows stay as they are. What is more than a name stands beside it: torchvision's positions have no
batch axis, timm counts blocks within stages, PyTorchVideo keeps queries, keys and values apart.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

from slowfast_mvit.errors import UserError

State = dict[str, Tensor]
OWN_NAMES = "the model's own"  # where no publisher's format fits

# What the braces of a template stand for.
_PLACES = {
    "i": r"\d+",
    "x": r"[qkv]",
    "p": r"weight|bias",
    "pos": r"pos_embed(?:_spatial|_temporal|_class)?",
    "body": r"(?:patch_embed|cls_token|pos_embed|blocks|scale\d_norm|norm|head)(?:[._].+)?",
}


@dataclass(frozen=True)
class Format:
    """A publisher's names.

    Attributes:
        marks: pattern of a name that only this format has; formats are asked in the order of :data:`FORMATS`.
        names: pairs of templates, the official one first. The first that fits is taken.
        read, write: what else is done, on official names; ``read`` after renaming, ``write`` before it.
    """

    marks: str
    names: tuple[tuple[str, str], ...] = ()
    read: Callable[[State], State] = dict
    write: Callable[[State], State] = dict


def detect_format(names: Collection[str]) -> str:
    """The format that a state dict's names belong to, a key of :data:`FORMATS`.

    Raises:
        UserError: none, or the reversible MViT's, which this package does not build.
    """
    found = find_format(names)
    if found is None:
        raise UserError(
            f"the names of the tensors are those of no known publisher, for example {', '.join(sorted(names)[:3])}; "
            f"known are {', '.join(FORMATS)}{_hint_at_baselines(names)}"
        )
    return found


def _hint_at_baselines(names: Collection[str]) -> str:
    """PyTorchVideo's networks other than MViT consist of blocks and nothing else."""
    if not all(name.startswith("blocks.") for name in names):
        return ""
    return "; if they are those of a PyTorchVideo network, name that as the model (--model x3d_m, MODEL.ARCH x3d_m)"


def find_format(names: Collection[str]) -> str | None:
    """As :func:`detect_format`, but None where no format fits."""
    if any(name.startswith("rev_backbone.") for name in names):
        raise UserError("these are the weights of a reversible MViT, which this package does not build")
    for label, form in FORMATS.items():
        marks = re.compile(form.marks)
        if any(marks.fullmatch(name) for name in names):
            return label
    return None


def known_format(state: Mapping[str, Tensor]) -> tuple[State, str | None]:
    """The state dict, freed of a network around it (:func:`without_wrapper`), and its format; None where none fits."""
    form = find_format(state)
    if form is None and (inner := without_wrapper(state)) is not None:
        return inner, find_format(inner)
    return dict(state), form


def pool_norm_eps(names: Collection[str], publisher: str | None) -> float:
    """Epsilon of the norms after pools in the publisher's networks, which no file holds: 1e-5 in PyTorchVideo's MViTv1.

    That has no relative positions, so weights with these are ours under its names.
    """
    is_version_1 = not any(".rel_pos_" in name for name in names)
    return 1e-5 if publisher == "pytorchvideo" and is_version_1 else 1e-6


def to_official(state: Mapping[str, Tensor], form: str) -> State:
    """A publisher's state dict under the official names; shapes of pools, stem and tables stay."""
    pairs = _to_official(form)
    if form == "timm":
        state = _flat_blocks(state)
    return FORMATS[form].read({_rename(name, pairs): tensor for name, tensor in state.items()})


def from_official(state: Mapping[str, Tensor], form: str) -> State:
    """A state dict of official names under a publisher's: the reverse of :func:`to_official`, bitwise.

    Stages, which timm counts, begin where the width changes. PyTorchVideo's names are those of its release 0.1.5, detectron2's
    those of a backbone inside a detector.
    """
    renamed = {_rename(name, FORMATS[form].names): t for name, t in FORMATS[form].write(dict(state)).items()}
    return _staged_blocks(renamed) if form == "timm" else renamed


def official_name(name: str, form: str) -> str:
    """The official name of one tensor of a format, block numbers of timm's stages aside."""
    return _rename(name, _to_official(form))


def without_wrapper(state: Mapping[str, Tensor]) -> State | None:
    """The state dict without the name under which some training code held the whole network, if there is one.

    Such as ``backbone.`` (PySlowFast's contrastive models), ``encoder.`` or ``model.`` (Lightning modules); names outside of it
    stay. None if without it the names are still of no known format.
    """
    for wrapper in ("backbone.", "encoder.", "model."):
        stripped = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
        if len(stripped) == len(state) and find_format(stripped) is not None:
            return stripped
    return None


def _to_official(form: str) -> tuple[tuple[str, str], ...]:
    return tuple((theirs, ours) for ours, theirs in FORMATS[form].names)


def _rename(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for source, target in pairs:
        match = _pattern(source).fullmatch(name)
        if match:
            return target.format(**match.groupdict())
    return name


@lru_cache(maxsize=256)
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile(
        "".join(f"(?P<{part}>{_PLACES[part]})" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    )


# torchvision: positions and the class token without a batch axis


def _with_batch(state: State) -> State:
    return {
        name: t.reshape(1, -1, t.shape[-1]) if _is_position(name) and t.dim() in (1, 2) else t
        for name, t in state.items()
    }


def _without_batch(state: State) -> State:
    return {
        name: (t.flatten() if name in ("cls_token", "pos_embed_class") else t[0])
        if _is_position(name) and t.dim()
        else t
        for name, t in state.items()
    }


def _is_position(name: str) -> bool:
    return name == "cls_token" or name.startswith("pos_embed")


# timm: blocks numbered within their stage


def _flat_blocks(state: Mapping[str, Tensor]) -> State:
    """``stages.s.blocks.j`` as ``blocks.i``, counting the blocks of the stages before."""
    staged = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.")
    places = {(int(match[1]), int(match[2])) for match in map(staged.match, state) if match}
    numbers = {place: number for number, place in enumerate(sorted(places))}
    return {staged.sub(lambda m: f"blocks.{numbers[int(m[1]), int(m[2])]}.", name): t for name, t in state.items()}


def _staged_blocks(state: Mapping[str, Tensor]) -> State:
    """The reverse of :func:`_flat_blocks`, on names that are timm's already but for the numbers.

    A stage begins with a block that widens in its attention, or after one that widens in its MLP.
    """
    flat = re.compile(r"blocks\.(\d+)\.(.*)")
    blocks = {int(match[1]) for match in map(flat.match, state) if match}
    starts = [
        any(f"blocks.{block}.shortcut_proj_attn.{p}" in state for p in ("weight", "bias"))
        or any(f"blocks.{block - 1}.shortcut_proj_mlp.{p}" in state for p in ("weight", "bias"))
        for block in range(max(blocks, default=-1) + 1)
    ]
    stages = list(accumulate(map(int, starts)))

    def staged(match: re.Match[str]) -> str:
        stage = stages[int(match[1])]
        return f"stages.{stage}.blocks.{int(match[1]) - stages.index(stage)}.{match[2]}"

    return {flat.sub(staged, name) if flat.match(name) else name: t for name, t in state.items()}


def _name_shortcuts(state: State) -> State:
    """``proj`` as ``shortcut_proj_attn`` or ``shortcut_proj_mlp``, as the width changes in the one or the other."""
    renamed = {}
    for name, tensor in state.items():
        block = re.fullmatch(r"(blocks\.\d+)\.proj\.(weight|bias)", name)
        if block:
            key = f"{block[1]}.attn.proj.weight"
            if key not in state:
                raise UserError(
                    f"there is no {key}, without which {name} has no name in timm: the state dict is incomplete"
                )
            name = (
                f"{block[1]}.shortcut_proj_{'attn' if state[key].shape[:1] == tensor.shape[:1] else 'mlp'}.{block[2]}"
            )
        renamed[name] = tensor
    return renamed


def _join_shortcuts(state: State) -> State:
    return {re.sub(r"\.shortcut_proj_(attn|mlp)\.", ".proj.", name): tensor for name, tensor in state.items()}


# PyTorchVideo, and PySlowFast with SEPARATE_QKV: three projections instead of one; pools and their norms under two names


def _join_projections(state: State) -> State:
    joined = {}
    for name, tensor in _drop_twins(state).items():
        apart = re.fullmatch(r"(blocks\.\d+\.attn)\.([qkv])\.(weight|bias)", name)
        parts = [f"{apart[1]}.{x}.{apart[3]}" for x in "qkv"] if apart else []
        if apart is None or len({state[part].shape[1:] if part in state else None for part in parts}) > 1:
            joined[name] = tensor
        elif not tensor.dim():
            raise UserError(f"{name} is a single number, where the rows of a projection should be")
        elif apart[2] == "q":
            joined[f"{apart[1]}.qkv.{apart[3]}"] = torch.cat([state[part] for part in parts])
    return joined


def _split_projections(state: State) -> State:
    split: State = {}
    for name, tensor in state.items():
        joined = re.fullmatch(r"(blocks\.\d+\.attn)\.qkv\.(weight|bias)", name)
        if joined:
            if not tensor.dim() or len(tensor) % 3:
                raise UserError(
                    f"{name} is {tuple(tensor.shape)}: its rows are no queries, keys and values of equal number"
                )
            split |= {f"{joined[1]}.{x}.{joined[2]}": t for x, t in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            split[name] = tensor
    return split


def _drop_twins(state: State) -> State:
    """Without the second names of pools and norms (PyTorchVideo after 0.1.5), where both hold the same."""
    kept = {}
    for name, tensor in state.items():
        twin = re.sub(r"\._attention_pool_([qkv])\.pool\.", r".pool_\1.", name)
        twin = re.sub(r"\._attention_pool_([qkv])\.norm\.", r".norm_\1.", twin)
        if twin == name or twin not in state:
            kept[twin] = tensor
        elif not torch.equal(state[twin], tensor):
            kept[name] = tensor
    return kept


# The order is that of asking: the official marks would fit timm's and detectron2's names too.
FORMATS: Mapping[str, Format] = {
    "torchvision": Format(
        marks=r"blocks\.\d+\.attn\.project\.0\.weight",
        names=(
            ("patch_embed.proj.{p}", "conv_proj.{p}"),
            ("cls_token", "pos_encoding.class_token"),
            ("pos_embed_spatial", "pos_encoding.spatial_pos"),
            ("pos_embed_temporal", "pos_encoding.temporal_pos"),
            ("pos_embed_class", "pos_encoding.class_pos"),
            ("blocks.{i}.attn.proj.{p}", "blocks.{i}.attn.project.0.{p}"),
            ("blocks.{i}.attn.pool_{x}.{p}", "blocks.{i}.attn.pool_{x}.pool.{p}"),
            ("blocks.{i}.attn.norm_{x}.{p}", "blocks.{i}.attn.pool_{x}.norm_act.0.{p}"),
            ("blocks.{i}.mlp.fc1.{p}", "blocks.{i}.mlp.0.{p}"),
            ("blocks.{i}.mlp.fc2.{p}", "blocks.{i}.mlp.3.{p}"),
            ("blocks.{i}.proj.{p}", "blocks.{i}.project.{p}"),
            ("head.projection.{p}", "head.1.{p}"),
        ),
        read=_with_batch,
        write=_without_batch,
    ),
    "timm": Format(
        marks=r"stages\.\d+\.blocks\.\d+\.attn\.qkv\.weight",
        names=(("head.projection.{p}", "head.fc.{p}"),),
        read=_join_shortcuts,
        write=_name_shortcuts,
    ),
    "detectron2": Format(
        marks=r"(backbone\.bottom_up\.)(blocks\.\d+\.attn|patch_embed)\..+|scale\d_norm\.weight",
        names=(
            ("{body}", "backbone.bottom_up.{body}"),
            *(
                (f"backbone.fpn.{ours}.{level}.0.{{p}}", f"backbone.fpn_{theirs}{level + 2}.{{p}}")
                for level in range(4)
                for ours, theirs in (("inner_blocks", "lateral"), ("layer_blocks", "output"))
            ),
        ),
    ),
    "mmaction2": Format(
        marks=r"backbone\.patch_embed\.projection\.weight",
        names=(
            ("patch_embed.proj.{p}", "backbone.patch_embed.projection.{p}"),
            ("norm.{p}", "backbone.norm3.{p}"),
            ("head.projection.{p}", "cls_head.fc_cls.{p}"),
            ("{body}", "backbone.{body}"),
        ),
    ),
    "pytorchvideo": Format(
        marks=r"patch_embed\.patch_model\.weight|cls_positional_encoding\..+",
        names=(
            ("patch_embed.proj.{p}", "patch_embed.patch_model.{p}"),
            ("cls_token", "cls_positional_encoding.cls_token"),
            ("{pos}", "cls_positional_encoding.{pos}"),
            ("norm.{p}", "norm_embed.{p}"),
            ("head.projection.{p}", "head.proj.{p}"),
        ),
        read=_join_projections,
        write=_split_projections,
    ),
    "official": Format(marks=r"blocks\.\d+\.attn\.(qkv|q)\.weight", read=_join_projections),
}
