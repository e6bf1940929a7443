"""RandAugment for clips (arXiv:1909.13719), the "increasing" policy of PySlowFast and timm, and colour jitter.

There is one draw for all frames of a clip.

Letters: T frames, H, W height and width in pixels, P = T * 3 colour planes.

``RandAugment.draw`` chooses the operations; ``RandAugment.apply`` is a pure function of frames and operations. The
results are those of PIL, which the official recipes go through frame by frame. Three kinds of operation:

* a table of 256 values per colour plane (autocontrast, solarize, solarize-add, contrast, brightness); inversion,
  posterisation and equalisation are torchvision's, whose results are PIL's. torchvision's autocontrast and adjust_*
  functions round differently, and its solarize refuses the threshold 256, so these are our own;
* colour and sharpness, blends of the frame with a derived frame;
* affine warps. PIL's affine bicubic is Keys' cubic with a = -1 (only its resize uses -0.5), grid_sample's has
  a = -0.75, and torchvision refuses bicubic for tensors; so the four or sixteen neighbours are weighted here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag
from torchvision.transforms.v2 import functional as torchvision_ops

from slowfast_mvit.errors import UserError

MAX_MAGNITUDE = 10.0
SIGNED_OPS = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
BLENDED_OPS = ("Color", "Contrast", "Brightness", "Sharpness")
_JITTERED = ("Brightness", "Contrast", "Color")
OP_NAMES = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", *BLENDED_OPS, *SIGNED_OPS)


@dataclass(frozen=True)
class RandAugmentPolicy:
    """What is drawn: ``num_ops`` operations with replacement, of N(magnitude, std), each kept with ``prob``."""

    magnitude: int = 10
    num_ops: int = 2
    magnitude_std: float = 0.0
    increasing: bool = False
    prob: float = 0.5


@dataclass(frozen=True)
class Op:
    """One operation and its own argument.

    ``amount`` is in degrees (Rotate), bits kept (Posterize), grey levels (Solarize: threshold, SolarizeAdd: what is
    added), blend factor (Color, Contrast, Brightness, Sharpness; 1 changes nothing), slope (ShearX, ShearY) or a part
    of the width or height (TranslateXRel, TranslateYRel); 0 and unused for AutoContrast, Equalize and Invert.
    """

    name: str
    amount: float = 0.0


def parse_rand_augment(text: str) -> RandAugmentPolicy:
    """Policy of a string such as ``rand-m7-n4-mstd0.5-inc1``.

    m: magnitude 0..10 (10 without it), n: number of operations (2 without it), mstd: standard deviation of the
    magnitude (0 without it), inc: operations that grow with the magnitude (off without it). As in PySlowFast, any
    number after inc switches them on, ``inc0`` too.
    """
    head, *parts = text.split("-")
    if head != "rand":
        raise UserError(f"RandAugment policy {text!r} must begin with 'rand', not {head!r}")
    fields: dict[str, str] = {}
    for part in parts:
        match = re.fullmatch(r"(mstd|inc|m|n)(\d+(?:\.\d+)?)", part)
        if match is None or ("." in match[2] and match[1] != "mstd"):
            raise UserError(
                f"RandAugment policy {text!r}: {part!r} is not m, n or inc and a whole number, nor mstd and a number"
            )
        if match[1] in fields:
            raise UserError(f"RandAugment policy {text!r}: {part!r} says {match[1]!r} for a second time")
        fields[match[1]] = match[2]
    magnitude, num_ops = int(fields.get("m", 10)), int(fields.get("n", 2))
    if magnitude > MAX_MAGNITUDE:
        raise UserError(f"RandAugment policy {text!r}: 'm{magnitude}' is beyond the largest magnitude, 10")
    if num_ops < 1:
        raise UserError(f"RandAugment policy {text!r}: 'n{num_ops}' asks for no operation; n is at least 1")
    return RandAugmentPolicy(magnitude, num_ops, float(fields.get("mstd", 0)), "inc" in fields)


def make_op(name: str, magnitude: float, sign: int = 1, increasing: bool = True) -> Op:
    """The operation that a magnitude 0..10 stands for; ``sign`` (1 or -1) is for those that go both ways."""
    part = magnitude / MAX_MAGNITUDE
    if name == "Rotate":
        return Op(name, sign * 30 * part)
    if name in ("ShearX", "ShearY"):
        return Op(name, sign * 0.3 * part)
    if name in ("TranslateXRel", "TranslateYRel"):
        return Op(name, sign * 0.45 * part)
    if name in BLENDED_OPS:
        return Op(name, 1 + sign * 0.9 * part if increasing else 0.1 + 1.8 * part)
    if name == "Posterize":
        return Op(name, 4 - int(4 * part) if increasing else int(4 * part))
    if name == "Solarize":
        return Op(name, 256 - int(256 * part) if increasing else int(256 * part))
    if name == "SolarizeAdd":
        return Op(name, int(110 * part))
    if name in OP_NAMES:
        return Op(name)
    raise ValueError(f"{name!r} is not an operation of RandAugment; there are {', '.join(OP_NAMES)}")


class Augmentation(Protocol):
    """Operations on whole frames, drawn once for a clip."""

    def draw(self, rng: np.random.Generator) -> tuple[Op, ...]:
        """The operations for one clip, in order."""

    def apply(self, frames: Tensor, ops: tuple[Op, ...]) -> Tensor:
        """uint8 [T, 3, H, W] -> uint8 [T, 3, H, W], the operations one after the other, on all frames alike."""


class RandAugment:
    """Draws operations for a clip, and applies them to all of its frames alike.

    ``fill`` (RGB, 0..255) stands where a warp reaches beyond the frame: mid-grey for video, the dataset's mean colour
    for images. ``interpolation`` of the warps: bicubic or bilinear.
    """

    def __init__(
        self,
        policy: RandAugmentPolicy,
        fill: tuple[int, int, int] = (128, 128, 128),
        interpolation: str = "bicubic",
    ) -> None:
        if interpolation not in ("bicubic", "bilinear"):
            raise UserError(f"interpolation is {interpolation!r}; it must be bicubic or bilinear")
        if len(fill) != 3 or not all(0 <= value <= 255 for value in fill):
            raise ValueError(f"fill is {fill!r}; it must be three levels in 0..255")
        self.policy = policy
        self.fill = fill
        self.interpolation = interpolation

    def draw(self, rng: np.random.Generator) -> tuple[Op, ...]:
        """The operations for one clip, in order: at most ``num_ops``; always takes as many numbers from ``rng``."""
        num = self.policy.num_ops
        names = rng.integers(len(OP_NAMES), size=num)
        kept = rng.random(num) < self.policy.prob
        magnitudes = rng.normal(self.policy.magnitude, self.policy.magnitude_std, num).clip(0, MAX_MAGNITUDE)
        signs = 1 - 2 * rng.integers(2, size=num)
        return tuple(
            make_op(OP_NAMES[names[i]], float(magnitudes[i]), int(signs[i]), self.policy.increasing)
            for i in range(num)
            if kept[i]
        )

    def apply(self, frames: Tensor, ops: tuple[Op, ...]) -> Tensor:
        """uint8 [T, 3, H, W] -> uint8 [T, 3, H, W], the operations one after the other."""
        return apply_ops(frames, ops, self.fill, self.interpolation)


class ColorJitter:
    """Brightness, contrast and saturation by factors uniform in 1 +- ``strength``, at least 0, in a random order.

    PySlowFast's augmentation of images where there is no RandAugment, on PIL images through torchvision; for clips, which it
    leaves alone then, one draw for all frames.
    """

    def __init__(self, strength: float) -> None:
        if strength < 0:
            raise ValueError(f"the strength of colour jitter is {strength}; it must not be negative")
        self.strength = strength

    def draw(self, rng: np.random.Generator) -> tuple[Op, ...]:
        """The three operations for one clip, in order."""
        order = rng.permutation(len(_JITTERED))
        factors = rng.uniform(max(0.0, 1 - self.strength), 1 + self.strength, len(_JITTERED))
        return tuple(Op(_JITTERED[i], float(factors[i])) for i in order)

    def apply(self, frames: Tensor, ops: tuple[Op, ...]) -> Tensor:
        """uint8 [T, 3, H, W] -> uint8 [T, 3, H, W], the operations one after the other."""
        return apply_ops(frames, ops)


def apply_ops(
    frames: Tensor,
    ops: tuple[Op, ...],
    fill: tuple[int, int, int] = (128, 128, 128),
    interpolation: str = "bicubic",
) -> Tensor:
    """uint8 [T, 3, H, W] -> uint8 [T, 3, H, W]; ``fill`` and ``interpolation`` are those of the warps."""
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
        raise ValueError(f"frames are {frames.dtype} {list(frames.shape)}; augmentation takes uint8 [T, 3, H, W]")
    if ops:
        frames = frames.contiguous()  # decoded frames lie [T, H, W, 3] in memory; planes are faster below
    for op in ops:
        if op.name in _MATRICES:
            matrix = _MATRICES[op.name](op.amount, frames.shape[2], frames.shape[3])
            frames = warp(frames, matrix, fill, interpolation)
        else:
            frames = _COLOUR_OPS[op.name](frames, op.amount)
    return frames


# Colour operations: uint8 [T, 3, H, W] and the op's amount -> uint8 [T, 3, H, W].


def _lookup(frames: Tensor, tables: Tensor) -> Tensor:
    """Every level replaced by its entry in the plane's table; ``tables`` uint8, in a shape that fits [T, 3, 256]."""
    planes = frames.reshape(-1, frames.shape[2] * frames.shape[3])  # [P, H*W]
    out = torch.empty_like(planes)
    for plane, table, target in zip(planes, tables.expand(*frames.shape[:2], 256).reshape(-1, 256), out, strict=True):
        torch.index_select(table, 0, plane.int(), out=target)  # plane by plane: it stays in the processor's cache
    return out.view_as(frames)


def _blend(base: Tensor, image: Tensor, factor: float) -> Tensor:
    """PIL's blend of two float32 tensors as uint8: base + factor * (image - base), clipped, cut to an integer."""
    return (image - base).mul_(factor).add_(base).clamp_(0, 255).to(torch.uint8)


def _grey(frames: Tensor) -> Tensor:
    """PIL's luma [T, H, W], whole numbers as float32: 16-bit weights, rounded; sums stay below 2**24, so exact."""
    luma = frames[:, 0].float().mul_(19595).add_(32768)
    luma.add_(frames[:, 1].float().mul_(38470)).add_(frames[:, 2].float().mul_(7471))
    return luma.mul_(2.0**-16).floor_()


def _levels() -> Tensor:
    return torch.arange(256, dtype=torch.float32)


def _autocontrast(frames: Tensor, _: float) -> Tensor:
    low = frames.amin(dim=(2, 3)).double()[..., None]  # [T, 3, 1]
    high = frames.amax(dim=(2, 3)).double()[..., None]
    scale = torch.full_like(low, 255) / (high - low)  # infinite for a plane of one level, which stays as it is
    stretched = _levels() * scale + -low * scale
    tables = torch.where(high > low, stretched, _levels().double())
    return _lookup(frames, tables.clamp_(0, 255).to(torch.uint8))


def _solarize(frames: Tensor, threshold: float) -> Tensor:
    levels = _levels()
    return _lookup(frames, torch.where(levels < threshold, levels, 255 - levels).to(torch.uint8))


def _solarize_add(frames: Tensor, added: float) -> Tensor:
    levels = _levels()
    return _lookup(frames, torch.where(levels < 128, (levels + added).clamp(max=255), levels).to(torch.uint8))


def _brightness(frames: Tensor, factor: float) -> Tensor:
    return _lookup(frames, _blend(torch.zeros(256), _levels(), factor))


def _contrast(frames: Tensor, factor: float) -> Tensor:
    mean = (_grey(frames).mean(dim=(1, 2), dtype=torch.float64) + 0.5).floor().float()
    return _lookup(frames, _blend(mean[:, None, None], _levels(), factor))


def _color(frames: Tensor, factor: float) -> Tensor:
    return _blend(_grey(frames)[:, None], frames.float(), factor)


def _sharpness(frames: Tensor, factor: float) -> Tensor:
    """Blend with PIL's SMOOTH: the mean of 3 x 3 pixels with the centre counted 5 times, rounded; the border stays."""
    out = frames.clone()
    if min(frames.shape[2:]) < 3:
        return out
    for frame, target in zip(frames, out, strict=True):  # frame by frame: it stays in the processor's cache
        image = frame.float()
        centre = image[:, 1:-1, 1:-1]
        rows = image[:, :-2] + image[:, 1:-1] + image[:, 2:]
        smooth = centre.mul(4).add_(rows[:, :, :-2]).add_(rows[:, :, 1:-1]).add_(rows[:, :, 2:])
        smooth = smooth.mul_(1 / 13).add_(0.5).floor_()  # a whole number over 13 is never half-way
        target[:, 1:-1, 1:-1] = _blend(smooth, centre, factor)
    return out


_COLOUR_OPS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "AutoContrast": _autocontrast,
    "Equalize": lambda frames, _: torchvision_ops.equalize(frames),
    "Invert": lambda frames, _: torchvision_ops.invert(frames),
    "Posterize": lambda frames, bits: torchvision_ops.posterize(frames, int(bits)),
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
}

# Warps: (a, b, c, d, e, f) sends the centre (x, y) of a result pixel to (ax + by + c, dx + ey + f) in the source. Pixel
# centres lie at half-integers, as in PIL.

Matrix = tuple[float, float, float, float, float, float]


def _rotation(degrees: float, height: int, width: int) -> Matrix:
    """Counter-clockwise about the centre of the frame."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


_MATRICES: dict[str, Callable[[float, int, int], Matrix]] = {
    "Rotate": _rotation,
    "ShearX": lambda slope, height, width: (1, slope, 0, 0, 1, 0),
    "ShearY": lambda slope, height, width: (1, 0, 0, slope, 1, 0),
    "TranslateXRel": lambda part, height, width: (1, 0, part * width, 0, 1, 0),
    "TranslateYRel": lambda part, height, width: (1, 0, 0, 0, 1, part * height),
}


def _neighbours(position: Tensor, size: int, interpolation: str) -> tuple[Tensor, Tensor]:
    """Indices int32 and weights float32, both [H, W, taps], of the pixels around ``position`` float64 [H, W], one axis.

    Position 0 is the first pixel's centre; beyond the edge the edge's pixel counts again. Whole positions need one tap.
    """
    base = position.floor()
    t = (position - base).float()
    if not t.any():
        first, weights = 0, [torch.ones_like(t)]
    elif interpolation == "bilinear":
        first, weights = 0, [1 - t, t]
    else:
        s = 1 - t
        first, weights = -1, [-t * s * s, 1 + t * t * (t - 2), 1 + s * s * (s - 2), -s * t * t]
    offsets = torch.arange(first, first + len(weights), dtype=torch.int32)
    indices = (base.int()[..., None] + offsets).clamp_(0, size - 1)
    return indices, torch.stack(weights, dim=-1)


def warp(frames: Tensor, matrix: Matrix, fill: tuple[int, int, int], interpolation: str) -> Tensor:
    """PIL's ``Image.transform(size, AFFINE, matrix)`` on every frame: uint8 [T, 3, H, W] -> uint8 [T, 3, H, W].

    Pixels whose source lies outside the frame get ``fill``. As in PIL, the weighted sum is cut, not rounded, to an
    integer; 1/1024 is added first, because sums in float32 may fall just below the integer that they stand for.
    """
    T, C, H, W = frames.shape
    a, b, c, d, e, f = matrix
    x = torch.arange(W, dtype=torch.float64) + 0.5
    y = torch.arange(H, dtype=torch.float64)[:, None] + 0.5
    source_x, source_y = a * x + b * y + c, d * x + e * y + f  # [H, W]
    outside = (source_x < 0) | (source_x >= W) | (source_y < 0) | (source_y >= H)
    columns, column_weights = _neighbours(source_x - 0.5, W, interpolation)
    rows, row_weights = _neighbours(source_y - 0.5, H, interpolation)
    indices = (rows[..., :, None] * W + columns[..., None, :]).view(H * W, -1)
    weights = (row_weights[..., :, None] * column_weights[..., None, :]).view(H * W, -1)
    # All frames of a pixel side by side, [H*W, P]; NumPy casts and transposes at once, in a fifth of torch's time.
    pixels = torch.from_numpy(frames.reshape(T * C, H * W).numpy().T.astype(np.float32, order="C"))
    warped = embedding_bag(indices, pixels, mode="sum", per_sample_weights=weights)  # weighted sums of pixels
    levels = warped.add_(2.0**-10).clamp_(0, 255).to(torch.uint8)
    levels[outside.flatten()] = torch.tensor(fill, dtype=torch.uint8).repeat(T)
    return levels.t().reshape(T, C, H, W)
