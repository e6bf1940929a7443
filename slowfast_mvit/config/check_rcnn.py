"""Rules about the heads of detectors; they say nothing where MODEL.ARCH is none."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.check_mvit import Rule
from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import DETECTOR_ARCHS

_MAPS = 5  # of a feature pyramid, p2 to p6


def _anchors(config: Config) -> Iterator[str]:
    rcnn = config.RCNN
    if config.MODEL.ARCH not in DETECTOR_ARCHS:
        return
    if rcnn.FPN and len(rcnn.ANCHOR_SIZES) != _MAPS:
        yield (
            f"RCNN.ANCHOR_SIZES: there are {len(rcnn.ANCHOR_SIZES)} for the {_MAPS} maps of the feature pyramid; give one "
            "for each, or set RCNN.FPN to False"
        )
    elif not rcnn.ANCHOR_SIZES:
        yield "RCNN.ANCHOR_SIZES: it is empty; give at least one size in pixels"
    if not rcnn.ANCHOR_RATIOS:
        yield "RCNN.ANCHOR_RATIOS: it is empty; give at least one height over width"


# Each rule with the keys that it reads.
RCNN_RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _anchors: ("MODEL.ARCH", "RCNN.FPN", "RCNN.ANCHOR_SIZES", "RCNN.ANCHOR_RATIOS"),
    }
)
