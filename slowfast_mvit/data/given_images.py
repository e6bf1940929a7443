"""Images of a command for a detector: each is decoded once and resized to every short side, whatever its size."""

from collections.abc import Sequence

from torch.utils.data import Dataset

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.data.coco_images import views_of_image
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import BACKEND, read_image
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.pictures import DetectionViews


class GivenImages(Dataset[DetectionViews | UnreadableVideo]):
    """Images without annotations, the right way up as cameras say it.

    Args:
        images: any list.
        short_sides: a view for each.
        max_side: the long side is no longer than this.
    """

    def __init__(self, images: ImageList, short_sides: Sequence[int], max_side: int) -> None:
        self.images = images
        self.short_sides = tuple(short_sides)
        self.max_side = max_side

    def __len__(self) -> int:
        return len(self.images)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for image ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, self.images.path(index), BACKEND, cause)

    def __getitem__(self, index: int) -> DetectionViews | UnreadableVideo:
        """The views of image ``index``, or why it cannot be read."""
        try:
            image = read_image(self.images.path(index), upright=True)
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)
        return views_of_image(image, index, self.short_sides, self.max_side)
