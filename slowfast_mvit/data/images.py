"""Images as datasets: a training image with its repeats, a test image with its one view.

An image travels as a video of one frame, in the same items and batches; the task takes the time axis off before the model.
Letters: R repeats, S side of the crop in pixels.
"""

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_mvit.batches import Erasure, TrainItem, UnreadableVideo, VideoViews
from slowfast_mvit.data.augment import Augmentation
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.ops.randomness import sample_rng
from slowfast_mvit.ops.spatial import area_aspect_crop

BACKEND = "PIL"
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # of every published recipe
_BROKEN = (SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def read_image(path: str, *, upright: bool = False) -> Image.Image:
    """An image file as RGB.

    Grey, palette and CMYK pictures are converted, transparency is dropped, and the pixels stay as they are stored: an EXIF
    orientation is ignored, unless the image is asked for ``upright``. All published accuracies of classification come of images
    read so.

    Raises:
        VideoError: there is no such file, it is damaged, cut or no image, or its pixels are not of 8 bits.
    """
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":
                raise VideoError(path, BACKEND, f"its pixels are of mode {image.mode}, and not of 8 bits per colour")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # transparency of a palette: it is dropped all the same
                return (_turned(image) if upright else image).convert("RGB")
    except Image.UnidentifiedImageError as error:
        empty = not Path(path).stat().st_size
        cause = "the file is empty" if empty else "it is no image of a kind that PIL knows"
        raise VideoError(path, BACKEND, cause) from error
    except OSError as error:  # of the disk, or PIL's about a file that is cut
        raise VideoError(path, BACKEND, error.strerror or str(error)) from error
    except _BROKEN as error:
        raise VideoError(path, BACKEND, str(error) or type(error).__name__) from error


def _turned(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says; as it is stored where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        return image


@dataclass(frozen=True)
class ImageTransform:
    """One augmented view of a training image, in the order of the published image recipes: crop, flip, colours, erasing.

    Attributes:
        size: side of the crop that the model is fed.
        area, aspect: of the random crop, as shares of the image and as width over height.
        flip: mirror every second image.
        augment: RandAugment or colour jitter on the resized crop, or None.
        erasing: random erasing; drawn here, filled after normalisation on the device; or None.
        interpolation: of the resize, ``bicubic`` or ``bilinear``; PIL's, which averages where it makes smaller.
    """

    size: int
    area: tuple[float, float] = AREA
    aspect: tuple[float, float] = ASPECT
    flip: bool = True
    augment: Augmentation | None = None
    erasing: RandomErasing | None = None
    interpolation: str = "bicubic"

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> tuple[Tensor, Erasure]:
        """RGB image -> uint8 [3, size, size] and what is to be erased of it."""
        box = area_aspect_crop(image.height, image.width, self.area, self.aspect, rng)
        crop = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
        pixels = to_pixels(crop.resize((self.size, self.size), _filter(self.interpolation)))
        if self.flip and rng.random() < 0.5:
            pixels = pixels.flip(-1)
        if self.augment is not None:
            pixels = self.augment.apply(pixels[None], self.augment.draw(rng))[0]
        erasure = Erasure()
        if self.erasing is not None:
            boxes = self.erasing.draw_boxes(rng, self.size, self.size)
            erasure = Erasure(boxes, seed=int(rng.integers(2**62)))
        return pixels, erasure


@dataclass(frozen=True)
class ImageView:
    """The test's view of an image.

    Attributes:
        size: side of the view in pixels.
        crop_ratio: the short side is resized to int(size / crop_ratio), and the centre is cropped. 0 resizes the whole image,
            both sides, straight to the size ("full" or "resize" in the paper's tables).
    """

    size: int
    crop_ratio: float = 0.875

    @property
    def short_side(self) -> int:
        """Pixels of the short side before the crop."""
        return int(self.size / self.crop_ratio) if self.crop_ratio else self.size

    def __str__(self) -> str:
        if not self.crop_ratio:
            return f"whole image resized to {self.size}"
        return f"centre crop {self.size} of short side {self.short_side}"

    def __call__(self, image: Image.Image) -> Image.Image:
        """RGB image -> RGB image of ``size`` x ``size``; bicubic, with PIL's averaging."""
        if not self.crop_ratio:
            return image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        width, height = image.size
        short, long = self.short_side, int(self.short_side * max(width, height) / min(width, height))
        width, height = (short, long) if width <= height else (long, short)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)  # to even halves, as torchvision
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + self.size, top + self.size))


class TrainImages(Dataset[TrainItem | UnreadableVideo]):
    """Training images: each item is one image, decoded once and augmented ``num_repeats`` times.

    With ``spare_first`` nothing is erased from the first repeat.
    """

    def __init__(
        self,
        images: ImageList,
        transform: ImageTransform,
        *,
        seed: int,
        num_repeats: int = 1,
        spare_first: bool = False,
    ) -> None:
        self.images = images
        self.transform = transform
        self.seed = seed
        self.num_repeats = num_repeats
        self.spare_first = spare_first

    def __len__(self) -> int:
        return len(self.images)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for image ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, self.images.path(index), BACKEND, cause)

    def __getitem__(self, key: SampleKey) -> TrainItem | UnreadableVideo:
        """The image of ``key``: a function of (seed, epoch, index, repeat) and of nothing else."""
        try:
            image = read_image(self.images.path(key.index))
        except VideoError as error:
            return UnreadableVideo(key.index, error.path, error.backend, error.cause)
        repeats = [
            self.transform(image, sample_rng(self.seed, key.epoch, key.index, repeat + 1))
            for repeat in range(self.num_repeats)
        ]
        return TrainItem(
            video=torch.stack([pixels for pixels, _ in repeats])[:, :, None],
            label=int(self.images.labels[key.index]),
            video_index=key.index,
            start_sec=0.0,
            end_sec=0.0,
            erasures=tuple(Erasure() if self.spare_first and not i else drawn for i, (_, drawn) in enumerate(repeats)),
        )


class TestImages(Dataset[VideoViews | UnreadableVideo]):
    """Test images: resized and cropped here, since they differ in size; one frame, one view."""

    __test__ = False  # its name is not a test's

    def __init__(self, images: ImageList, view: ImageView) -> None:
        self.images = images
        self.view = view

    def __len__(self) -> int:
        return len(self.images)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for image ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, self.images.path(index), BACKEND, cause)

    def __getitem__(self, index: int) -> VideoViews | UnreadableVideo:
        """The view of image ``index``, or why it cannot be read."""
        try:
            image = self.view(read_image(self.images.path(index)))
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)
        return VideoViews(
            video_index=index,
            label=int(self.images.labels[index]),
            frames=torch.from_numpy(np.array(image))[None],
            rows=torch.zeros(1, 1, dtype=torch.int64),
            seconds=torch.zeros(1, 2, dtype=torch.float64),
        )


def to_pixels(image: Image.Image) -> Tensor:
    """RGB image -> uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _filter(interpolation: str) -> Image.Resampling:
    return Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
