"""Images: read as PIL shows them, cropped and resized as torchvision does it on PIL, in the recipes' order."""

import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from slowfast_mvit.batches import Erasure, UnreadableVideo
from slowfast_mvit.data.augment import RandAugment, parse_rand_augment
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import ImageTransform, ImageView, TestImages, TrainImages, read_image
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.ops.randomness import sample_rng
from slowfast_mvit.ops.spatial import area_aspect_crop


def picture(height=90, width=120, seed=0):
    """Smooth colours with some noise, so that a resize has something to average."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse).astype(int) + rng.integers(-30, 31, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def listed(folder, names, labels=None):
    return ImageList(
        roots=(str(folder),),
        root_of=np.zeros(len(names), np.uint8),
        files=np.array([name.encode() for name in names]),
        labels=np.array(labels or range(len(names)), np.int64),
        label_names=(),
        source=str(folder),
    )


# The test's view.


@pytest.mark.parametrize("size", [(90, 120), (120, 90), (64, 64), (301, 77), (40, 50), (65, 66)])
@pytest.mark.parametrize(("side", "ratio"), [(56, 0.875), (64, 0.875), (96, 1.0), (30, 0.9)])
def test_centre_crop_is_torchvisions(size, side, ratio):
    image = picture(*size)
    theirs = transforms.Compose(
        [transforms.Resize(int(1 / ratio * side), transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(side)]
    )(image)
    assert np.array_equal(ImageView(side, ratio)(image), theirs)


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(8, 40), st.sampled_from([0.5, 0.875, 0.95, 1.0]))
def test_centre_crop_of_any_size_is_torchvisions(height, width, side, ratio):
    image = picture(height, width)
    resize = transforms.Resize(int(side / ratio), transforms.InterpolationMode.BICUBIC)
    assert np.array_equal(ImageView(side, ratio)(image), transforms.CenterCrop(side)(resize(image)))


def test_full_test_resizes_both_sides():
    image = picture(90, 120)
    theirs = transforms.Resize((56, 56), transforms.InterpolationMode.BICUBIC)(image)
    assert np.array_equal(ImageView(56, 0.0)(image), theirs)


def test_short_sides_of_the_recipes():
    # 224 -> 256, and the official arithmetic cuts 438.86 and 585.14.
    assert [ImageView(size).short_side for size in (224, 384, 512)] == [256, 438, 585]
    assert str(ImageView(224)) == "centre crop 224 of short side 256"
    assert str(ImageView(384, 0.0)) == "whole image resized to 384"


def test_a_crop_by_hand():
    # 2 x 6 pixels, columns 0 .. 5; the short side stays 2, and of six columns the middle two are taken.
    columns = np.broadcast_to(np.arange(6, dtype=np.uint8)[None, :, None], (2, 6, 3))
    assert np.asarray(ImageView(2, 1.0)(Image.fromarray(columns.copy())))[0, :, 0].tolist() == [2, 3]


# Training.


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("seed", range(6))
def test_random_resized_crop_is_torchvisions(interpolation, seed):
    image = picture(90, 120)
    box = area_aspect_crop(90, 120, (0.08, 1.0), (3 / 4, 4 / 3), np.random.default_rng(seed))
    pixels, erasure = ImageTransform(48, flip=False, interpolation=interpolation)(image, np.random.default_rng(seed))
    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.functional.resized_crop(image, box.top, box.left, box.height, box.width, [48, 48], mode)
    assert pixels.dtype == torch.uint8 and erasure == Erasure()
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), theirs)


def test_the_order_is_crop_flip_colours_erasing():
    image = picture()
    augment = RandAugment(parse_rand_augment("rand-m9-n6-mstd0.5-inc1"), fill=(124, 116, 104))
    transform = ImageTransform(40, augment=augment, erasing=RandomErasing(1.0))
    flips = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        box = area_aspect_crop(90, 120, (0.08, 1.0), (3 / 4, 4 / 3), rng)
        cut = transforms.functional.resized_crop(
            image, box.top, box.left, box.height, box.width, [40, 40], transforms.InterpolationMode.BICUBIC
        )
        flipped = rng.random() < 0.5
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else cut
        frames = torch.from_numpy(np.array(cut)).permute(2, 0, 1)[None]
        expected = augment.apply(frames, augment.draw(rng))[0]
        boxes = RandomErasing(1.0).draw_boxes(rng, 40, 40)
        pixels, erasure = transform(image, np.random.default_rng(seed))
        assert torch.equal(pixels, expected)
        assert erasure == Erasure(boxes, int(rng.integers(2**62)))
        flips += flipped
    assert 2 < flips < 10


def test_without_augmentation_nothing_is_erased():
    pixels, erasure = ImageTransform(32)(picture(), np.random.default_rng(0))
    assert pixels.shape == (3, 32, 32) and erasure.boxes == ()


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        picture(50 + number, 60, seed=number).save(tmp_path / f"{number}.png")
    return tmp_path


def test_training_items(folder):
    images = listed(folder, ["0.png", "1.png", "2.png"], [5, 6, 7])
    transform = ImageTransform(24)
    item = TrainImages(images, transform, seed=3, num_repeats=2)[SampleKey(epoch=4, index=1)]
    assert item.video.shape == (2, 3, 1, 24, 24) and item.video.dtype == torch.uint8
    assert (item.label, item.video_index, item.start_sec, item.end_sec) == (6, 1, 0.0, 0.0)
    for repeat in range(2):
        expected, _ = transform(picture(51, 60, seed=1), sample_rng(3, 4, 1, repeat + 1))
        assert torch.equal(item.video[repeat, :, 0], expected)
    assert not torch.equal(item.video[0], item.video[1])
    again = pickle.loads(pickle.dumps(TrainImages(images, transform, seed=3)))[SampleKey(4, 1)]
    assert torch.equal(again.video[0], item.video[0])


def test_test_items(folder):
    view = ImageView(32)
    views = TestImages(listed(folder, ["0.png", "1.png"], [5, 6]), view)[1]
    assert views.frames.shape == (1, 32, 32, 3) and views.rows.tolist() == [[0]] and views.seconds.tolist() == [[0, 0]]
    assert (views.video_index, views.label) == (1, 6)
    assert np.array_equal(views.frames[0].numpy(), view(picture(51, 60, seed=1)))


# Files as they come.


def save(image, path, **options):
    image.save(path, **options)
    return str(path)


def test_kinds_of_pictures(tmp_path):
    image = picture()
    pixels = np.asarray(image)
    grey = image.convert("L")
    assert np.array_equal(read_image(save(image, tmp_path / "rgb.png")), pixels)
    assert np.array_equal(read_image(save(grey, tmp_path / "grey.png")), np.repeat(np.asarray(grey)[..., None], 3, 2))
    transparent = image.copy()
    transparent.putalpha(grey)
    assert np.array_equal(read_image(save(transparent, tmp_path / "rgba.png")), pixels)
    palette = image.quantize(16)
    assert np.array_equal(read_image(save(palette, tmp_path / "palette.png")), palette.convert("RGB"))
    see_through = save(palette, tmp_path / "see_through.png", transparency=bytes([0, 255] * 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(see_through), palette.convert("RGB"))
    cmyk = read_image(save(image.convert("CMYK"), tmp_path / "cmyk.jpg", quality=95))
    assert cmyk.mode == "RGB" and np.abs(np.asarray(cmyk).astype(int) - pixels).mean() < 12
    one_bit = image.convert("1")
    assert np.array_equal(read_image(save(one_bit, tmp_path / "bits.png")), one_bit.convert("RGB"))
    # As the images of ImageNet that are PNG under a JPEG's name: the content tells.
    assert np.array_equal(read_image(save(image, tmp_path / "n02105855_2933.JPEG", format="PNG")), pixels)


def test_the_orientation_in_exif_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    path = save(picture(50, 80), tmp_path / "turned.jpg", exif=exif)
    assert read_image(path).size == (80, 50)


def jpeg():
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (jpeg()[:1500], "image file is truncated"),
        (jpeg()[:30], "Truncated File Read"),
        (b"", "the file is empty"),
        (b"<html>404</html>", "no image of a kind that PIL knows"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "."),
    ],
)
def test_broken_files_are_named_with_their_cause(tmp_path, content, cause):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=cause) as error:
        read_image(str(path))
    images = listed(tmp_path, ["broken.jpg"])
    expected = UnreadableVideo(0, str(path), "PIL", error.value.cause)
    assert TestImages(images, ImageView(24))[0] == expected
    assert TrainImages(images, ImageTransform(24), seed=0)[SampleKey(0, 0)] == expected


def test_missing_files_folders_and_deep_pixels(tmp_path):
    with pytest.raises(VideoError, match=r"cannot read .*gone\.jpg with PIL: No such file or directory$"):
        read_image(str(tmp_path / "gone.jpg"))
    with pytest.raises(VideoError, match="Is a directory"):
        read_image(str(tmp_path))
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(tmp_path / "deep.png")
    with pytest.raises(VideoError, match="mode I;16, and not of 8 bits"):
        read_image(str(tmp_path / "deep.png"))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_a_damaged_file_is_read_or_named(tmp_path_factory, place, damage):
    content = bytearray(jpeg())
    place %= len(content)
    content[place : place + len(damage)] = damage
    path = tmp_path_factory.mktemp("damaged") / "image.jpg"
    path.write_bytes(content)
    try:
        assert read_image(str(path)).mode == "RGB"
    except VideoError as error:
        assert error.cause
