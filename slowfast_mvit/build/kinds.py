"""Clips, boxes or images with objects: the one place that tells kinds of data apart for training and testing."""

from collections.abc import Sequence

import torch

from slowfast_mvit.build.ava import box_protocol, boxes_to_test, boxes_to_train
from slowfast_mvit.build.ava_lists import ava_list
from slowfast_mvit.build.clips import clips_to_test, clips_to_train
from slowfast_mvit.build.coco import coco_list, images_to_train
from slowfast_mvit.build.coco_test import images_to_test, object_protocol
from slowfast_mvit.build.data import dataset_of, videos_of, view_protocol
from slowfast_mvit.build.parts import ToTest, ToTrain
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.coco import CocoList
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.evaluation.ava_views import BoxProtocol
from slowfast_mvit.evaluation.coco_views import ObjectProtocol
from slowfast_mvit.evaluation.multiview import ViewProtocol

AnyList = VideoList | ImageList | AvaList | CocoList
AnyProtocol = ViewProtocol | BoxProtocol | ObjectProtocol


def list_of(config: Config, split: str, label_names: Sequence[str] = ()) -> AnyList:
    """The list of a split (train, val, test), with labels numbered by ``label_names`` of a checkpoint, if it has some.

    Raises:
        UserError: see :func:`~slowfast_mvit.build.data.videos_of`, :func:`~slowfast_mvit.build.ava_lists.ava_list` and
            :func:`~slowfast_mvit.build.coco.coco_list`.
    """
    if dataset_of(config, split) == "coco":
        return coco_list(config, split, label_names)
    if dataset_of(config, split) == "ava":
        return ava_list(config, split, label_names)
    return videos_of(config, split, label_names)


def protocol_of(config: Config, split: str) -> AnyProtocol:
    """How a split (val or test) is tested."""
    if dataset_of(config, split) == "ava":
        return box_protocol(config, validation=split == "val")
    if dataset_of(config, split) == "coco":
        return object_protocol(config, validation=split == "val")
    return view_protocol(config)


def to_train(config: Config, videos: AnyList, precision: str) -> ToTrain:
    """What a training on the list is given."""
    if isinstance(videos, AvaList):
        return boxes_to_train(config, videos, precision)
    if isinstance(videos, CocoList):
        return images_to_train(config, videos, precision)
    return clips_to_train(config, videos, precision)


def to_test(config: Config, videos: AnyList, protocol: AnyProtocol, precision: str, device: torch.device) -> ToTest:
    """What a test of the list is given."""
    if isinstance(videos, AvaList):
        assert isinstance(protocol, BoxProtocol)
        return boxes_to_test(config, videos, protocol, precision, device)
    if isinstance(protocol, ObjectProtocol):
        assert isinstance(videos, CocoList | ImageList)
        return images_to_test(config, videos, protocol, precision, device)
    assert isinstance(protocol, ViewProtocol) and not isinstance(videos, CocoList)
    return clips_to_test(config, videos, protocol, precision, device)
