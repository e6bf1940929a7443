"""Lists of labelled videos: PySlowFast's list files, and a folder per class.

A list file has one video per line, ``path label``: the label is the last field and the path all before it, so paths may
hold spaces. Labels are numbers, or names.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from itertools import chain, filterfalse
from pathlib import Path

import numpy as np

from slowfast_mvit.data.lists import PLAIN_LISTS, ListFormat, VideoList, base_folder, check_files
from slowfast_mvit.data.multilabel import are_numbers, multi_hot, split_labels
from slowfast_mvit.errors import UserError

SEPARATORS = (" ", ",", "\t", ";")
VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"})
LABEL_FILE = "labels.json"
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_LISTED_SUFFIXES = VIDEO_SUFFIXES | _IMAGE_SUFFIXES  # ImageNet's lists are read here too
# A path that ends as videos or images do, a separator, and a label that may then hold spaces.
_VIDEO_THEN_LABEL = re.compile(
    rf"(.*(?:{'|'.join(map(re.escape, sorted(_LISTED_SUFFIXES)))}))([ ,\t;])(.*\S.*)", re.IGNORECASE
)
# A path, a separator, and a label in quotes, which may hold the separator.
_QUOTED_LABEL = re.compile(r'(.*\S) *([ ,\t;]) *("(?:[^"]|"")*")')
# Several numbers with anything but commas between them.
_SEVERAL_NUMBERS = re.compile(r"-?\d+(?:[\s;|/]+-?\d+)+")
PATH_HEADERS = frozenset({"path", "video", "video_path", "video_name", "file", "filename", "file_name", "image"})
_LABEL_HEADERS = frozenset({"label", "labels", "class", "class_id", "class_name", "label_name", "category", "action"})


def read_split(
    root: Path,
    split: str,
    *,
    num_classes: int,
    label_names: Sequence[str] = (),
    form: ListFormat = PLAIN_LISTS,
    must_exist: bool = True,
    multi_label: bool = False,
) -> VideoList:
    """Videos of ``split`` (train, val or test) under ``root``: from ``root/split.csv``, else from ``root/split/<class>/``.

    Args:
        root: the dataset folder.
        split: name of the list file without its ending, or of the folder.
        num_classes: labels must lie in 0 .. num_classes - 1.
        label_names: names that number the labels (of a checkpoint); by default ``root/labels.json``, else the sorted
            names found in the lists.
        form: how list files are written.
        must_exist: refuse a list that names missing files.
        multi_label: a list file has any number of labels in a line, comma-joined, and ``labels`` are bool [N, num_classes].

    Raises:
        UserError: missing folder or list, empty list, unknown label, label out of range, missing files.
    """
    if not root.is_dir():
        raise UserError(f"the dataset folder {root} does not exist: set DATA.PATH_TO_DATA_DIR")
    fields, source = _read_fields(root, split, form)
    names, texts = zip(*fields, strict=True)
    if multi_label and source.is_dir():
        raise UserError(
            f"{root} has no {split}.csv: DATA.MULTI_LABEL True needs one, with 'path label,label,...' in its lines"
        )
    if source.is_dir():
        refuse_prefix(form.prefix, source)
    known = tuple(label_names) or stored_names(root)
    if not multi_label:
        _refuse_several(texts, names, source)
    labels_of = split_labels if multi_label else _only_label
    each = [labels_of(text) for text in texts]
    if not source.is_dir():  # folders may be called anything
        _refuse_further_fields(each, known, names, source)
    counts = [len(labels) for labels in each]

    def all_labels() -> set[str]:
        return {label for text in _all_labels(root, form) for label in labels_of(text)}

    numbers, known = _number_labels(list(chain.from_iterable(each)), known, source, all_labels)
    _check_range(numbers, num_classes, names if not multi_label else np.repeat(names, counts).tolist(), source)
    if source.is_dir():
        paths = [str(source / name) for name in names]
    else:
        base = base_folder(root, form.prefix, names[0])
        paths = [os.path.join(base, name) for name in names]  # noqa: PTH118 - a Path per row is slow on large lists
    if must_exist:
        check_files(paths, source)
    labels = multi_hot(numbers, counts, num_classes) if multi_label else np.array(numbers, dtype=np.int64)
    return VideoList(np.array(paths), np.array(names), labels, known, str(source))


def refuse_prefix(prefix: str, folder: Path) -> None:
    """A prefix that no list is there for must not be passed over: the list may have been forgotten."""
    if prefix:
        raise UserError(
            f"DATA.PATH_PREFIX {prefix} goes before the paths of {folder}.csv, which does not exist: make that list, or leave "
            f"the prefix out to read the folders of classes in {folder}"
        )


def _only_label(text: str) -> tuple[str]:
    return (text,)


def _refuse_several(texts: Sequence[str], names: Sequence[str], source: Path) -> None:
    """A list for DATA.MULTI_LABEL must not be read as one of single labels."""
    for text, name in zip(texts, names, strict=True):
        if not text:
            raise UserError(f"{source}: {name} has no label: take it off the list, or set DATA.MULTI_LABEL True")
        if "," in text and are_numbers(text):
            raise UserError(
                f"{source}: {name} has several labels, {text}: set DATA.MULTI_LABEL True, or name the fields of a "
                "line in DATA.LIST_COLUMNS (as path, ignore, label)"
            )


def _refuse_further_fields(
    each: Sequence[Sequence[str]], known: Sequence[str], names: Sequence[str], source: Path
) -> None:
    """Fields between path and label must not be read as a name of a label, ``5 12``."""
    for labels, name in zip(each, names, strict=True):
        strange = [label for label in labels if _SEVERAL_NUMBERS.fullmatch(label) and label not in known]
        if strange:
            raise UserError(
                f"{source}: after {name} comes {strange[0]!r}, which is no label: name the fields of a line in "
                "DATA.LIST_COLUMNS (as path, ignore, label), or join several labels of a video by commas "
                "(DATA.MULTI_LABEL True)"
            )


def _read_fields(root: Path, split: str, form: ListFormat) -> tuple[list[tuple[str, str]], Path]:
    """(path, label) texts of a split, and the file or folder that they come from."""
    list_file, folder = root / f"{split}.csv", root / split
    if list_file.is_file():
        return read_list(list_file, form), list_file
    if not folder.is_dir():
        raise UserError(f"{root} has neither {split}.csv nor a folder {split}/ with one folder per class")
    fields = [
        (f"{class_folder.name}/{video.name}", class_folder.name)
        for class_folder in sorted(folder.iterdir())
        if class_folder.is_dir()
        for video in sorted(class_folder.iterdir())
        if video.suffix.lower() in VIDEO_SUFFIXES or video.is_dir()
    ]
    if not fields:
        raise UserError(f"{folder} holds no videos: expected {folder}/<class>/<video>.mp4")
    return fields, folder


def read_list(path: Path, form: ListFormat = PLAIN_LISTS) -> list[tuple[str, str]]:
    """(path, label) texts of a list file, its first ``form.skip_rows`` lines, a header and blank lines left out.

    Raises:
        UserError: unreadable text, an empty list, or a line without a label, named by its number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    separator, columns, skip_rows = form.separator, form.columns, form.skip_rows
    if not separator:
        raise UserError("DATA.PATH_LABEL_SEPARATOR is empty: give the text between path and label")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty: it should hold one 'path label' per line")
    lines = [(number, line) for number, line in lines if number > skip_rows]
    if not lines:
        raise UserError(f"{path} has no lines after the {skip_rows} that DATA.SKIP_ROWS leaves out")
    separator = _find_separator([line for _, line in lines], separator, columns)
    rows = []
    for number, line in lines:
        fields = _split_line(line, separator, columns)
        if fields is None:
            wanted = f"{len(columns)} fields ({', '.join(columns)})" if columns else f"'path{separator}label'"
            raise UserError(f"{path}:{number}: expected {wanted}, got {line!r}")
        rows.append(fields)
    if _is_header(rows):
        rows = rows[1:]
    if not rows:
        raise UserError(f"{path} holds a header but no videos")
    return rows


def _find_separator(lines: list[str], preferred: str, columns: Sequence[str]) -> str:
    """The first separator, the preferred one before others, that makes sense of every line.

    Labels that are numbers make sense; failing that, paths that end as videos do. A header may stand in the first line.
    """
    candidates = [preferred, *(s for s in SEPARATORS if s != preferred)]
    readings = {}
    for separator in candidates:
        rows = [_split_line(line, separator, columns) for line in lines]
        whole = [row for row in rows if row is not None]
        if len(whole) == len(rows):
            readings[separator] = whole[1:] or whole
            if all(are_numbers(label) for _, label in readings[separator]):
                return separator
    for separator, fields in readings.items():
        if all(map(_is_video, (path for path, _ in fields))):
            return separator
    names_first = [s for s in candidates if s != " "] if preferred == " " else candidates
    return next((s for s in names_first if s in readings), preferred)


def _split_line(line: str, separator: str, columns: Sequence[str]) -> tuple[str, str] | None:
    """(path, label) of a line, or None if it has too few fields. The path takes up what is left over."""
    if not columns:
        named = _VIDEO_THEN_LABEL.match(line)
        if named is None or named[2] != separator:
            named = _QUOTED_LABEL.fullmatch(line)
        if named and named[2] == separator:
            return unquote(named[1]), unquote(named[3].strip())
    columns = list(columns) or ["path", "label"]
    place = columns.index("path")
    *head, rest = line.split(separator, place)
    fields = [*head, *rest.rsplit(separator, len(columns) - place - 1)]
    if len(fields) != len(columns):
        return None
    path, label = (fields[columns.index(name)].strip() for name in ("path", "label"))
    return (unquote(path), unquote(label)) if path and label else None


def unquote(text: str) -> str:
    """A field without the quotes that a CSV writer put around it."""
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _is_video(path: str) -> bool:
    return Path(path).suffix.lower() in _LISTED_SUFFIXES


def _is_header(rows: list[tuple[str, str]]) -> bool:
    if are_numbers(rows[0][1]):
        return False
    if rows[0][0].lower() in PATH_HEADERS or (rows[0][1].lower() in _LABEL_HEADERS and _is_header_word(rows[0][0])):
        return True
    return len(rows) > 1 and all(are_numbers(label) for _, label in rows[1:])


def _is_header_word(path: str) -> bool:
    return not _is_video(path) and any(word in path.lower() for word in ("path", "video", "file", "name", "clip"))


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def read_label_names(path: Path) -> tuple[str, ...]:
    """Label names of a JSON file: a list of names, or an object from name to number.

    Raises:
        UserError: no such file, or another content.
    """
    try:
        return parse_label_names(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"the file of class names {path} does not exist") from None
    except ValueError as error:
        raise UserError(f"{path} should be a JSON list of names, or an object from name to number: {error}") from error


def stored_names(root: Path) -> tuple[str, ...]:
    """Label names of the dataset's ``labels.json``, none where it has no such file."""
    return read_label_names(root / LABEL_FILE) if (root / LABEL_FILE).is_file() else ()


def parse_label_names(stored: object) -> tuple[str, ...]:
    """Names in the order of their numbers, from a list of names or a mapping of name to number (0, 1, 2, ...).

    Numbers may be texts, as in Something-Something v2's label map.
    """
    if isinstance(stored, list) and all(isinstance(name, str) for name in stored):
        return tuple(stored)
    if isinstance(stored, dict):
        numbers = {name: int(value) if str(value).isdecimal() else -1 for name, value in stored.items()}
        if sorted(numbers.values()) == list(range(len(numbers))):
            return tuple(sorted(numbers, key=numbers.__getitem__))
    raise ValueError("the numbers must be 0, 1, 2, ... without gaps")


def _all_labels(root: Path, form: ListFormat) -> set[str]:
    """Label texts of all splits of the dataset."""
    splits = [
        split for split in ("train", "val", "test") if (root / f"{split}.csv").is_file() or (root / split).is_dir()
    ]
    return {label for split in splits for _, label in _read_fields(root, split, form)[0]}


def _number_labels(
    texts: Sequence[str], known: tuple[str, ...], source: Path, all_labels: Callable[[], set[str]]
) -> tuple[list[int], tuple[str, ...]]:
    """Numbers of label texts. Names that no file fixes are numbered in sorted order over all lists of the dataset."""
    decimal = next((text for text in texts if re.fullmatch(r"\d+\.\d*", text)), None)
    if decimal is not None and not set(texts) <= set(known):
        raise UserError(f"{source}: the label {decimal} is neither a whole number nor a name")
    if known and set(texts) <= set(known):
        return _places(texts, known), known
    if all(map(_is_number, texts)):
        mixed = () if known else sorted(filterfalse(_is_number, all_labels()))
        if mixed:
            raise UserError(
                f"{source} numbers its labels while other lists of the dataset name them ({', '.join(mixed[:5])})"
            )
        return [int(text) for text in texts], known
    if known:
        unknown = sorted(set(texts) - set(known))
        raise UserError(
            f"{source}: {len(unknown)} unknown label names, for example {', '.join(unknown[:5])}; the names in force (of the "
            f"checkpoint in OUTPUT_DIR, TENSORBOARD.CLASS_NAMES_PATH or {LABEL_FILE}) begin with {', '.join(known[:5])}: "
            "mend the list, or use another OUTPUT_DIR"
        )
    known = tuple(sorted(all_labels()))
    numbers = list(filter(_is_number, known))
    if numbers:
        raise UserError(f"{source}: labels mix names with numbers ({', '.join(numbers[:5])}); use one or the other")
    return _places(texts, known), known


def _places(texts: Sequence[str], known: tuple[str, ...]) -> list[int]:
    number_of = {name: number for number, name in enumerate(known)}
    return [number_of[text] for text in texts]


def _check_range(labels: Sequence[int], num_classes: int, names: Sequence[str], source: Path) -> None:
    wrong = [i for i, label in enumerate(labels) if not 0 <= label < num_classes]
    if wrong:
        raise UserError(
            f"{source}: label {labels[wrong[0]]} of {names[wrong[0]]} is out of range 0..{num_classes - 1} "
            f"({len(wrong)} such rows): mend the list or set MODEL.NUM_CLASSES"
        )
