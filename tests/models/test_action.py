"""Models that score boxes: RoIAlign against a loop by hand, the network against its parts, sizes, weights, baselines."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import create_model
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.action import ActionMViT, pixels_per_cell, pool_boxes
from slowfast_mvit.models.baselines import BOX_BASELINES, create_baseline, create_box_baseline, slow_frames
from slowfast_mvit.models.flops import count_flops
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS
from slowfast_mvit.weights.load import load_weights
from tests.models.small import CASES, VIDEO, randomize
from tests.models.test_baselines import hub_network, on_meta, randomise


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bilinear(plane, y, x):
    """Value of a plane [h, w] at a place in cells, whose centres are whole numbers; 0 further than a cell outside."""
    h, w = plane.shape
    if y < -1 or y > h or x < -1 or x > w:
        return 0.0
    y, x = min(max(y, 0.0), h - 1.0), min(max(x, 0.0), w - 1.0)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    fy, fx = y - y0, x - x0
    top = plane[y0, x0] * (1 - fx) + plane[y0, x1] * fx
    return float(top * (1 - fy) + (plane[y1, x0] * (1 - fx) + plane[y1, x1] * fx) * fy)


def pooled_by_loop(maps, boxes, cell, resolution, aligned=True):
    """RoIAlign's definition (arXiv 1703.06870, with the half-pixel shift of its later form), a sample at a time."""
    shift = 0.5 if aligned else 0.0
    rows = []
    for row, *corners in boxes.tolist():
        x1, y1, x2, y2 = (corner / cell - shift for corner in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        samples_y, samples_x = (math.ceil(side / resolution) for side in (height, width))
        features = []
        for plane in maps[int(row)].numpy():
            cells = []
            for i, j in np.ndindex(resolution, resolution):
                values = [
                    bilinear(
                        plane,
                        y1 + height / resolution * (i + (a + 0.5) / samples_y),
                        x1 + width / resolution * (j + (b + 0.5) / samples_x),
                    )
                    for a, b in np.ndindex(samples_y, samples_x)
                ]
                cells.append(sum(values) / max(len(values), 1))
            features.append(max(cells))
        rows.append(features)
    return torch.tensor(rows)


BOXES = torch.tensor(
    [
        [0, 0, 0, 320, 224],
        [1, 3.5, 10.25, 90.0, 200.5],
        [1, 250, 100, 319, 223],
        [0, 100, 100, 110, 104],  # less than a cell
        [0, 0, 0, 320.0, 32.0],
    ]
)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("resolution", [7, 2])
def test_pooling_by_hand(resolution, aligned):
    maps = random(2, 3, 7, 10)
    pooled = pool_boxes(maps, BOXES, 32, resolution, aligned)
    torch.testing.assert_close(pooled, pooled_by_loop(maps, BOXES, 32, resolution, aligned), rtol=1e-5, atol=1e-5)


def test_a_box_sees_its_own_place():
    """One cell of a map is lit: a box over it has the full light, the box beside it none."""
    maps = torch.zeros(1, 1, 4, 6)
    maps[0, 0, 1, 4] = 1.0
    over, beside = torch.tensor([[0, 128.0, 32, 160, 64]]), torch.tensor([[0, 32.0, 32, 64, 64]])
    assert pool_boxes(maps, over, 32).item() == pytest.approx(1.0)
    assert pool_boxes(maps, beside, 32).item() == 0.0


def test_no_boxes_and_their_gradient():
    maps = random(2, 3, 4, 4).requires_grad_()
    pooled = pool_boxes(maps, torch.zeros(0, 5), 32)
    assert pooled.shape == (0, 3)
    pooled.sum().backward()
    assert maps.grad is not None and not maps.grad.any()


# The network.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_of_half_precision(dtype):
    """Weights of two bytes, without autocast: near the same model's logits in float32."""
    ours = ActionMViT(VIDEO, 5).eval()
    randomize(ours)
    video, boxes = random(1, 3, 8, 64, 64), torch.tensor([[0, 4.0, 4, 60, 60], [0, 0, 20, 30, 64]])
    for model in (ours, randomise(create_box_baseline("slow_r50", num_classes=5)).eval()):
        with torch.no_grad():
            full = model(video, boxes)
            half = model.to(dtype)(video.to(dtype), boxes)
        assert half.dtype == dtype
        torch.testing.assert_close(half.float(), full, rtol=0.1, atol=0.05 * full.abs().max().item())


@pytest.mark.parametrize("name", [name for name in CASES if "image" not in name])
@pytest.mark.parametrize("size", [(64, 64), (52, 90)])
def test_the_model_is_tokens_norm_mean_boxes_head(name, size):
    """Square, and neither square nor a multiple of a cell."""
    arch = replace(CASES[name], input_size=(8, 64, 64))
    model = ActionMViT(arch, 5, resolution=3).eval()
    randomize(model)
    clips = random(2, 3, 8, *size)
    boxes = torch.tensor([[0, 0.0, 0, size[1], size[0]], [1, 7, 5, 40, 33], [0, 20, 10, 60, 50]])
    with torch.no_grad():
        tokens, (T, h, w) = model.forward_tokens(clips)
        tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:], model.norm.weight, model.norm.bias, 1e-6)
        tokens = tokens[:, -T * h * w :]
        maps = tokens.reshape(2, T, h, w, -1).mean(dim=1).permute(0, 3, 1, 2).contiguous()
        features = pooled_by_loop(maps, boxes, 8 if name == "video, time pooled too" else 16, 3)
        expected = features @ model.head.projection.weight.T + model.head.projection.bias
        logits = model(clips, boxes)
    assert logits.shape == (3, 5)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_boxes_have_gradients_everywhere_and_clips_do_not_mix():
    model = ActionMViT(VIDEO, 4)
    randomize(model)
    clips, boxes = random(2, 3, 8, 64, 64), torch.tensor([[1, 5.0, 5, 40, 60]])
    logits = model(clips, boxes)
    logits.square().sum().backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == []
    changed = torch.cat((random(1, 3, 8, 64, 64, seed=5), clips[1:]))
    torch.testing.assert_close(model(changed, boxes), logits)


@pytest.mark.parametrize(
    "name", ["mvitv2_s_16x4", "mvitv2_b_32x3", "mvitv2_l_40x3", "mvitv1_b_16x4", "mvitv1_b_24_32x3"]
)
def test_cells_of_every_video_model_are_32_pixels(name):
    assert pixels_per_cell(VARIANTS[name]) == 32


def test_cells_that_are_not_square_and_images():
    oblong = replace(VIDEO, pool_q_stride=((1, (1, 2, 1)),))
    with pytest.raises(UserError, match=r"a cell of the last feature map is 8 x 4 pixels"):
        ActionMViT(oblong, 4)
    with pytest.raises(UserError, match="take a model for video"):
        create_model("mvitv2_s", boxes=True)


# Sizes: section 1.4 of the architecture's arithmetic, and the paper's Table A.2.


@pytest.mark.parametrize(
    ("name", "parameters", "gflops"),
    [
        ("mvitv2_s_16x4", 34_291_664, 64.46),
        ("mvitv2_b_32x3", 50_984_048, 225.17),
        ("mvitv2_l_40x3", 213_021_152, 2828.10),
    ],
)
def test_parameters_and_flops(name, parameters, gflops):
    with torch.device("meta"):
        model = create_model(name, boxes=True)
    assert isinstance(model, ActionMViT) and model.num_classes == 80
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    one, three = (count_flops(model.arch, 80, num_boxes=number) for number in (1, 3))
    assert one.total / 1e9 == pytest.approx(gflops, abs=0.0051)
    assert three.multiply_adds - one.multiply_adds == 2 * 80 * model.norm.normalized_shape[0]


# Weights of classifiers.


def test_weights_of_a_classifier_load_with_a_fresh_head_and_resized_tables():
    classifier = MViT(VIDEO, 7)
    randomize(classifier)
    model = ActionMViT(replace(VIDEO, input_size=(8, 96, 96)), 4)
    head = model.head.projection.weight.detach().clone()
    report = load_weights(model, {"model_state": classifier.state_dict()})
    assert set(report.kept_head) == {"head.projection.weight", "head.projection.bias"} and report.share == 1
    assert report.resized and torch.equal(model.head.projection.weight, head)
    assert torch.equal(model.blocks[0].attn.qkv.weight, classifier.blocks[0].attn.qkv.weight)
    assert list(model.state_dict()) == list(classifier.state_dict())


def test_a_box_model_goes_on_from_its_own_weights():
    torch.manual_seed(0)
    one, other = ActionMViT(VIDEO, 4).eval(), ActionMViT(VIDEO, 4).eval()
    load_weights(other, {"model_state": one.state_dict()}, strict=True)
    clips, boxes = random(1, 3, 8, 64, 64), torch.tensor([[0, 5.0, 5, 40, 60]])
    with torch.no_grad():
        assert torch.equal(one(clips, boxes), other(clips, boxes))


# PyTorchVideo's.


@pytest.mark.parametrize("name", BOX_BASELINES)
def test_baselines_equal_the_hub_s_with_aligned_boxes(name):
    theirs = randomise(hub_network(f"{name}_detection")).eval()
    theirs.detection_head.roi_layer.aligned = True
    frames = 4 if name == "slow_r50" else 32  # the hub's pools over time are of these lengths
    ours = create_box_baseline(name, num_classes=80, dropout_rate=0.5).eval()
    state = {key.removeprefix("model."): value for key, value in theirs.state_dict().items()}
    last = len(ours.blocks) - 1
    ours.load_state_dict({key.replace("detection_head", f"blocks.{last}"): value for key, value in state.items()})
    clip = random(2, 3, frames, 64, 96)
    boxes = torch.tensor([[1, 0.0, 0, 96, 64], [0, 20, 10, 70, 60]])
    with torch.no_grad():
        slow = clip[:, :, slow_frames(frames, 4)]
        expected = theirs([slow, clip] if name == "slowfast_r50" else clip, boxes)
        logits = ours(clip, boxes)
    assert logits.shape == (2, 80)
    torch.testing.assert_close(logits.sigmoid(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BOX_BASELINES)
def test_baselines_take_any_clip_and_the_weights_of_their_classifiers(name):
    model = create_model(name, boxes=True, num_classes=3).eval()
    with torch.no_grad():
        assert model(random(1, 3, 5, 65, 97), torch.tensor([[0, 0.0, 0, 97, 65]])).shape == (1, 3)
    classifier = create_baseline(name, num_classes=5)
    report = load_weights(model, {"model_state": classifier.state_dict()})
    assert report.share == 1 and len(report.kept_head) == 2


def test_other_baselines_have_no_form_for_boxes():
    with pytest.raises(
        UserError, match="x3d_s has no form that scores boxes; of the baselines slow_r50 and slowfast_r50"
    ):
        on_meta(create_model, "x3d_s", boxes=True)


def test_boxes_is_yes_or_no():
    with pytest.raises(UserError, match="boxes is 5; it must be True or False"):
        create_model("mvitv2_s_16x4", boxes=5)
