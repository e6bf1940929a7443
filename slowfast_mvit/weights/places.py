"""Where a model has its MViT: it is one, or it is a detector that holds one as its backbone.

A backbone of detectors is told by the norms of its maps, ``scale2_norm`` to ``scale5_norm``; its tensors have the official
names below a prefix, ``backbone.bottom_up.`` in a detector.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

_MAP_NORM = re.compile(r"(.*?)scale\d_norm\.(?:weight|bias)")
_OF_CLASSIFIERS = re.compile(r"(?:norm|head)\..+|cls_token|pos_embed_class")


@dataclass(frozen=True)
class Place:
    """Where the tensors of an MViT are in a model.

    Attributes:
        prefix: of their names; empty where the model is the MViT itself.
        gives_maps: whether it is a backbone of detectors, which has no classifier.
    """

    prefix: str = ""
    gives_maps: bool = False

    def module(self, model: nn.Module) -> nn.Module:
        """The MViT."""
        return model.get_submodule(self.prefix.removesuffix("."))

    def below(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A model's or a source's tensors, those of the MViT by their official names."""
        return {name.removeprefix(self.prefix): tensor for name, tensor in tensors.items()}

    def back(self, names: Iterable[str], own: Mapping[str, Tensor]) -> list[str]:
        """Official names as the model ``own`` has them."""
        return [self.prefix + name if self.prefix + name in own else name for name in names]

    def begun_anew(self, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Tensors of a detector that a classifier's weights ``state`` cannot have: all but those of stem and blocks.

        Empty where the weights are a detector's, or the model is none.
        """
        if not self.gives_maps or any(_MAP_NORM.fullmatch(name) for name in state):
            return ()
        return tuple(name for name in own if not name.startswith(self.prefix) or _MAP_NORM.fullmatch(name))


def place_of(own: Iterable[str]) -> Place:
    """The place of the MViT in a model with tensors of these names."""
    found = [match for match in map(_MAP_NORM.fullmatch, own) if match]
    return Place(found[0][1], gives_maps=True) if found else Place()


def is_of_classifiers(name: str) -> bool:
    """Whether a tensor of this official name is one that only a classifier has a use for."""
    return _OF_CLASSIFIERS.fullmatch(name) is not None
