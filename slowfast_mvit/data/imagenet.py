"""Lists of labelled images: ImageNet's folders, the joint set of ImageNet-21K and ImageNet-1K, and list files.

A set of folders is ``<split>/<class>/<image>``; classes are numbered in the sorted order of their folders, which for ImageNet's
WordNet numbers is the official one. Millions of images are kept as one byte array, which loader workers share.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from slowfast_mvit.data.kinetics import LABEL_FILE, read_split, refuse_prefix, stored_names
from slowfast_mvit.data.lists import PLAIN_LISTS, ListFormat, VideoList
from slowfast_mvit.errors import UserError

SPLITS = ("train", "val", "test")
_THREADS = 16  # that list folders: on a network's disk each waits for an answer


@dataclass(frozen=True)
class ImageList:
    """Images with their labels.

    Attributes:
        roots: folders that files are relative to.
        root_of: uint8 [N]; which of the roots.
        files: bytes [N]; path under the root, as the file system or the list spells it.
        labels: int64 [N].
        label_names: name of each label, empty where the data has no names.
        source: the folders or the list file, for messages.
    """

    roots: tuple[str, ...]
    root_of: np.ndarray
    files: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> str:
        """Image ``index`` as it is opened."""
        return os.path.join(self.roots[self.root_of[index]], os.fsdecode(self.files[index]))  # noqa: PTH118

    @cached_property
    def names(self) -> np.ndarray:
        """str [N]; the files as they are written into tables. Made when it is asked for: it is four times their size."""
        return np.array([os.fsdecode(file) for file in self.files.tolist()])


def read_images(
    root: Path,
    split: str,
    *,
    num_classes: int,
    label_names: Sequence[str] = (),
    form: ListFormat = PLAIN_LISTS,
    must_exist: bool = True,
) -> ImageList:
    """Images of ``split`` under ``root``: from ``root/split.csv`` as for videos, else from ``root/split/<class>/``.

    Args:
        root: the dataset folder.
        split: name of the list file without its ending, or of the folder.
        num_classes: classes of the model. Folders must be as many, unless other names number them.
        label_names: names that number the classes (of a checkpoint); by default ``root/labels.json``, else the sorted folders
            of all splits.
        form, must_exist: of list files, see :func:`slowfast_mvit.data.kinetics.read_split`.

    Raises:
        UserError: a missing folder or list, no images, an unknown class, another number of classes.
    """
    if not root.is_dir():
        raise UserError(f"the dataset folder {root} does not exist: set DATA.PATH_TO_DATA_DIR")
    if (root / f"{split}.csv").is_file():
        return _of_list(
            read_split(
                root,
                split,
                num_classes=num_classes,
                label_names=label_names,
                form=form,
                must_exist=must_exist,
            )
        )
    refuse_prefix(form.prefix, root / split)
    known = tuple(label_names) or stored_names(root)
    if not known:
        known = class_folders(root)
        _check_number(len(known), num_classes, root)
    return _of_folders([root / split], known, num_classes)


def read_joint(
    root: Path, root_1k: Path, splits: Sequence[str], *, num_classes: int, label_names: Sequence[str] = ()
) -> ImageList:
    """The training images of ImageNet-21K (the splits of ``root``) and of ImageNet-1K (``root_1k/train``, if it is there).

    The classes of ImageNet-1K come first, so that the first 1,000 outputs are its own; the others follow in sorted order
    (19,168 with the winter-2021 release; paper, B.2). An image that both sets hold, under one class and name, counts once.

    Raises:
        UserError: as :func:`read_images`; or the classes are not those of ``label_names``, if they are given.
    """
    known = joint_names(root, root_1k)
    _check_number(len(known), num_classes, root)
    if label_names and tuple(label_names) != known:
        raise UserError(
            f"the classes of {root} and {root_1k} are not those of the checkpoint in OUTPUT_DIR (or of "
            "TENSORBOARD.CLASS_NAMES_PATH): use the folders of that run, or another OUTPUT_DIR"
        )
    folders = [root / split for split in splits]
    if (root_1k / "train").is_dir():
        folders.append(root_1k / "train")
    return _of_folders(folders, known, num_classes)


def read_1k(root_1k: Path, split: str, *, num_classes: int, label_names: Sequence[str] = ()) -> ImageList:
    """A split of ImageNet-1K for a model of the joint set; ``label_names`` are ImageNet-1K's alone, the first outputs.

    Raises:
        UserError: as :func:`read_images`; or the names that the model was trained with begin with other classes.
    """
    if not root_1k.is_dir():
        raise UserError(f"the folder of ImageNet-1K {root_1k} does not exist: set DATA.IN22k_VAL_IN1K")
    known = class_folders(root_1k)
    if label_names and tuple(label_names[: len(known)]) != known:
        raise UserError(
            f"the classes of the checkpoint do not begin with the {len(known)} classes of {root_1k}: set DATA.IN22k_VAL_IN1K "
            "to the folder that it was trained with"
        )
    if len(known) > num_classes:
        _check_number(len(known), num_classes, root_1k)
    return _of_folders([root_1k / split], known, num_classes)


def joint_names(root: Path, root_1k: Path) -> tuple[str, ...]:
    """Classes of the joint set: those of ImageNet-1K, then the others of ImageNet-21K, each in sorted order."""
    for folder, key in ((root, "DATA.PATH_TO_DATA_DIR"), (root_1k, "DATA.IN22k_VAL_IN1K")):
        if not folder.is_dir():
            raise UserError(f"the dataset folder {folder} does not exist: set {key}")
    first = class_folders(root_1k)
    return first + tuple(sorted(set(class_folders(root)) - set(first)))


def has_images(root: Path, split: str) -> bool:
    """Whether a split is there: a list file, or a folder that holds folders (ImageNet's own test images have no classes)."""
    return (root / f"{split}.csv").is_file() or bool(_subfolders(root / split))


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the class folders in all splits under ``root``, sorted."""
    return tuple(sorted({name for split in SPLITS for name in _subfolders(root / split)}))


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]


def _check_number(found: int, num_classes: int, root: Path) -> None:
    """Places in a sorted list are labels only where the list is whole."""
    if found != num_classes:
        raise UserError(
            f"{root} holds folders of {found} classes, and MODEL.NUM_CLASSES is {num_classes}: set it to {found}, or, for a "
            f"part of the classes of trained weights, give all their names in order in TENSORBOARD.CLASS_NAMES_PATH "
            f"or {LABEL_FILE}"
        )


def _of_folders(folders: Sequence[Path], known: Sequence[str], num_classes: int) -> ImageList:
    """The images in the class folders of every folder, by class and then by name; one that came before is left out."""
    number_of = {name: number for number, name in enumerate(known)}
    suffixes = image_suffixes()
    roots, root_of, files, labels = [], [], [], []
    for place, folder in enumerate(folders):
        classes = sorted(_subfolders(folder))
        if not classes:
            raise UserError(f"{folder} holds no folders of classes: expected {folder}/<class>/<image>.JPEG")
        unknown = [name for name in classes if name not in number_of]
        if unknown:
            raise UserError(
                f"{folder} holds {len(unknown)} unknown classes, for example {', '.join(unknown[:5])}; the names in force (of "
                f"the checkpoint in OUTPUT_DIR, TENSORBOARD.CLASS_NAMES_PATH or {LABEL_FILE}) begin with {', '.join(known[:5])}"
            )
        with ThreadPoolExecutor(_THREADS) as pool:
            listed = list(pool.map(lambda name, at=folder: _files(at, name, suffixes), classes))
        counts = [len(part) for part in listed]
        roots.append(str(folder))
        root_of.append(np.full(sum(counts), place, dtype=np.uint8))
        files.append(np.concatenate(listed))
        labels.append(np.repeat([number_of[name] for name in classes], counts))
    images = ImageList(
        roots=tuple(roots),
        root_of=np.concatenate(root_of),
        files=np.concatenate(files),
        labels=np.concatenate(labels).astype(np.int64),
        label_names=tuple(known),
        source=" and ".join(roots),
    )
    if not len(images):
        raise UserError(f"{images.source} holds no images ({', '.join(sorted(suffixes))})")
    wrong = int(images.labels.max())
    if wrong >= num_classes:
        raise UserError(
            f"{images.source}: label {wrong} of class {known[wrong]} is out of range 0..{num_classes - 1}: set "
            "MODEL.NUM_CLASSES"
        )
    return _without_repeats(images) if len(roots) > 1 else images


def _files(folder: Path, name: str, suffixes: frozenset[str]) -> np.ndarray:
    """bytes [n]; the images of one class as ``class/image``, sorted."""
    with os.scandir(folder / name) as entries:
        found = [entry.name for entry in entries if entry.name[entry.name.rfind(".") :].lower() in suffixes]
    return np.array(
        [os.fsencode(f"{name}/{file}") for file in sorted(found) if not file.startswith(".")], dtype=np.bytes_
    )


def _without_repeats(images: ImageList) -> ImageList:
    """The first of every class and file name."""
    _, first = np.unique(images.files, return_index=True)
    if len(first) == len(images):
        return images
    kept = np.sort(first)
    return ImageList(
        images.roots,
        images.root_of[kept],
        images.files[kept],
        images.labels[kept],
        images.label_names,
        images.source,
    )


def _of_list(videos: VideoList) -> ImageList:
    """A list file, as the reader of videos has it."""
    # The folder before the first path that does not begin at the root of the disk; before those that do it changes nothing.
    first = next((i for i, name in enumerate(videos.names) if not os.path.isabs(name)), 0)  # noqa: PTH117
    return ImageList(
        roots=(videos.paths[first].removesuffix(videos.names[first]),),
        root_of=np.zeros(len(videos), dtype=np.uint8),
        files=np.array([os.fsencode(name) for name in videos.names.tolist()]),
        labels=videos.labels,
        label_names=videos.label_names,
        source=videos.source,
    )


def image_suffixes() -> frozenset[str]:
    """Endings of the files that PIL reads, in lower case."""
    Image.init()
    return frozenset(
        suffix for suffix, form in Image.EXTENSION.items() if form in Image.OPEN and form not in _NO_PICTURES
    )


_NO_PICTURES = frozenset({"MPEG", "PDF", "EPS", "HDF5", "GRIB", "BUFR", "FITS", "WMF"})  # by PIL's names
