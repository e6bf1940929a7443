"""Image weights in video models, by three rules; and what the paper's rule promises."""

import pytest
import torch

from slowfast_mvit.weights.inflate import inflate
from slowfast_mvit.weights.load import load_weights
from tests.weights.models import copied, small

STEM, POOL, TIME = "patch_embed.proj.weight", "blocks.0.attn.pool_k.weight", "blocks.0.attn.rel_pos_t"
OWN = {
    STEM: torch.zeros(2, 3, 3, 7, 7),
    POOL: torch.zeros(2, 1, 3, 3, 3),
    TIME: torch.ones(5, 2),
    "norm.weight": torch.ones(2),
}


@pytest.mark.parametrize("deep_pool", [False, True])
@pytest.mark.parametrize(
    ("rule", "factors"), [("centre", (0, 1, 0)), ("repeat", (1, 1, 1)), ("mean", (1 / 3, 1 / 3, 1 / 3))]
)
def test_kernels(rule, factors, deep_pool):
    state = {STEM: torch.randn(2, 3, 7, 7), POOL: torch.randn(2, 1, 3, 3), "norm.weight": torch.randn(2)}
    given = dict(state)
    if deep_pool:
        given[POOL] = state[POOL][:, :, None]  # as PySlowFast builds image models
    found, changed = inflate(given, OWN, rule)
    for name in (STEM, POOL):
        for frame, factor in enumerate(factors):
            torch.testing.assert_close(found[name][:, :, frame], state[name] * factor)
        assert found[name].shape == OWN[name].shape
    assert found["norm.weight"] is state["norm.weight"]
    if rule == "repeat":
        assert TIME not in found and changed == [STEM, POOL]
    else:
        assert torch.equal(found[TIME], torch.zeros(5, 2)) and changed == [STEM, POOL, TIME]
    assert given[STEM] is state[STEM] and OWN[TIME].sum() == 10  # nothing given was touched


def test_centres_are_copied_bitwise():
    state = {STEM: torch.randn(2, 3, 7, 7)}
    found, _ = inflate(state, OWN)
    assert torch.equal(found[STEM][:, :, 1], state[STEM])
    kernel = {STEM: torch.zeros(2, 3, 2, 7, 7)}
    assert torch.equal(inflate(state, kernel)[0][STEM][:, :, 1], state[STEM])  # kt // 2


def test_what_has_frames_already_is_left_alone():
    for name, shape in ((STEM, (2, 3, 3, 7, 7)), (STEM, (2, 3, 2, 7, 7)), (STEM, (2,))):
        state = {name: torch.randn(shape)}
        found, changed = inflate(state, OWN)
        assert found == state and changed == []
    image = {STEM: torch.randn(2, 3, 7, 7)}
    assert inflate(image, {STEM: torch.zeros(2, 3, 7, 7)}) == (image, [])  # for an image model
    assert inflate(image, {STEM: torch.zeros(2, 3, 1, 7, 7)}) == (
        image,
        [],
    )  # for a video model without kernels over time


def test_time_tables_of_the_source_stay():
    table = torch.randn(5, 2)
    found, _ = inflate({STEM: torch.randn(2, 3, 7, 7), TIME: table}, OWN)
    assert found[TIME] is table


def test_another_rule():
    with pytest.raises(ValueError, match="the inflation rule is 'center'; it must be one of centre, repeat, mean"):
        inflate({}, {}, "center")


# Section 4.3 of the paper: a clip of equal frames is seen as the image was. It holds with the same key stride and without a
# class token, which would be one key against as many as there are frames.
KINDS = {
    "MViTv2": {"cls_token": False},
    "MViTv1": {
        "cls_token": False,
        "expand_in_attention": False,
        "residual_pooling": False,
        "rel_pos_space": False,
        "rel_pos_time": False,
        "abs_pos": "separable",
    },
    "positions that meet queries and keys": {"cls_token": False, "rel_pos_terms": "qk"},
    "positions that meet all": {"cls_token": False, "rel_pos_terms": "qkv", "rel_pos_joint": "space"},
}


def pair(kind):
    image = small(2, **KINDS[kind] | {"rel_pos_time": False})
    return image, small(3, seed=1, pool_kv_stride=(1, 4, 4), **KINDS[kind])


def logits(image, video, num_frames=8):
    picture = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return image(picture), video(picture[:, :, None].expand(-1, -1, num_frames, -1, -1))


@pytest.mark.parametrize("num_frames", [2, 8, 14])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_frames_are_seen_as_the_image_was(kind, num_frames):
    image, video = pair(kind)
    report = load_weights(video, copied(image))
    assert report.share == 1 and not report.missing and not report.unexpected
    seen, found = logits(image, video, num_frames)
    assert seen.abs().max() > 0.1
    torch.testing.assert_close(found, seen, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rule", ["repeat", "mean"])
def test_the_older_rules_see_something_else(rule):
    image, video = pair("MViTv2")
    load_weights(video, copied(image), inflation=rule)
    seen, found = logits(image, video)
    assert (found - seen).abs().max() > 1e-3


def test_with_other_key_strides_the_promise_does_not_hold():
    image, _ = pair("MViTv2")
    video = small(3, seed=1, cls_token=False)
    load_weights(video, copied(image))
    seen, found = logits(image, video)
    assert (found - seen).abs().max() > 1e-4
