"""Sentences about names that are nearly right."""

import pytest

from slowfast_mvit.errors import closest

KNOWN = ("mvitv2_s", "x3d_m", "ResNet-50")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mvit_v2_s", "did you mean mvitv2_s?"),
        ("MViTv2-S", "did you mean mvitv2_s?"),
        ("X3D-M", "did you mean x3d_m?"),
        ("resnet_50", "did you mean ResNet-50?"),
        ("banana", "known are ResNet-50, mvitv2_s, x3d_m"),
    ],
)
def test_the_closest_name(name: str, said: str) -> None:
    assert closest(name, KNOWN) == said
