"""What the scores of a test depend on, in a few characters: whether two tests, or two ranks of one, would give the same."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from slowfast_mvit.config.keys import get_value
from slowfast_mvit.config.schema import Config, all_keys
from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.coco import CocoList
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_views import BoxProtocol
from slowfast_mvit.evaluation.coco_views import ObjectProtocol
from slowfast_mvit.evaluation.multiview import ViewProtocol

_FORMAT = "1"  # changes when the same settings give other scores
# With the protocol, all that scores follow from; batch size, workers and ranks are not among them.
_KEYS = ("MODEL.", "MVIT.", "DATA.", "TEST.DATASET", "TEST.SAVE_PROBABILITIES", "DETECTION.", "RCNN.")


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of the weights, of the list with its labels, and of the settings."""

    weights: str
    videos: str
    settings: str

    @property
    def key(self) -> str:
        """All in one, for file names."""
        return _hash(vars(self).values())[:32]


def fingerprint_of(
    config: Config,
    weights: str,
    videos: VideoList | ImageList | AvaList | CocoList,
    protocol: ViewProtocol | BoxProtocol | ObjectProtocol,
    precision: str,
) -> Fingerprint:
    """The fingerprint of one test; ``weights`` is what :func:`hash_weights` gives."""
    settings = [f"{name} {get_value(config, name)!r}" for name in all_keys() if name.startswith(_KEYS)]
    return Fingerprint(weights, _hash_list(videos), _hash([_FORMAT, repr(protocol), precision, *settings]))


def hash_weights(model: nn.Module) -> str:
    """A hash over names and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def check_same(fingerprint: Fingerprint, world: World) -> None:
    """Raise UserError on all ranks if some see other weights, another list, or other settings than rank 0."""
    everyones = world.everyones(fingerprint)
    for rank, other in enumerate(everyones):
        different = [name for name, value in vars(other).items() if value != getattr(everyones[0], name)]
        if different:
            raise UserError(
                f"process {rank} would not test the same as process 0: its {' and '.join(different)} differ; give all machines "
                "the same config, and data and weights with the same paths and content"
            )


def check_same_lists(lists: Mapping[str, VideoList | ImageList | AvaList | CocoList | None], world: World) -> None:
    """Raise UserError on all ranks if one sees another list of some name than rank 0, or none; steps would not be the same."""
    if world.size == 1:
        return
    everyones = world.everyones({name: "" if videos is None else _hash_list(videos) for name, videos in lists.items()})
    for rank, hashes in enumerate(everyones):
        different = [name for name in lists if hashes[name] != everyones[0][name]]
        if different:
            raise UserError(
                f"process {rank} would not train the same as process 0: its {' and '.join(different)} differ; give all "
                "machines the same config, and data with the same paths and content"
            )


def _hash_list(videos: VideoList | ImageList | AvaList | CocoList) -> str:
    """A hash over paths, names and labels, and over the frames that the list gives one by one."""
    files: list[str | bytes]
    if isinstance(videos, ImageList):
        files, arrays = [*videos.roots], [videos.root_of, videos.files, videos.labels]
    elif isinstance(videos, CocoList):
        files = [videos.folder, videos.source]
        sizes = [videos.heights, videos.widths]
        arrays = [videos.files, videos.ids, *sizes, videos.ends, videos.boxes, videos.box_labels, videos.category_ids]
    elif isinstance(videos, AvaList):
        arrays = [
            videos.videos.paths,
            videos.key_videos,
            videos.key_seconds,
            videos.starts,
            videos.boxes,
            videos.box_labels,
        ]
        listed = videos.videos.frames
        files = [*videos.videos.names, str(videos.first_second)]
        files += [] if listed is None else [listed.folder, listed.packed]
    else:
        arrays = [videos.paths, videos.names, videos.labels]
        files = [] if videos.frames is None else [videos.frames.folder, videos.frames.packed]
    shapes = [f"{array.dtype} {array.shape}" for array in arrays]
    return _hash([*files, *shapes, *(array.tobytes() for array in arrays), *videos.label_names])


def _hash(items: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for item in items:
        content = item.encode(errors="surrogateescape") if isinstance(item, str) else item
        digest.update(b"%d:" % len(content))  # so that no two lists of items are the same bytes
        digest.update(content)
    return digest.hexdigest()
