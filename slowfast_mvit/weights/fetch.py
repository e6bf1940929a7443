"""Files from the net: downloaded once, checked, and kept in a cache."""

import hashlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from threading import Lock, get_ident
from urllib.error import ContentTooShortError, HTTPError, URLError
from urllib.parse import urlparse

from iopath.common.file_io import HTTPURLHandler, PathManager, get_cache_dir

from slowfast_mvit.errors import UserError

CACHE_VARIABLE = "SLOWFAST_MVIT_CACHE"
SILENCE_SECONDS = 60.0  # a server that says nothing for so long is gone
BY_HAND = "download the file by hand and give its path"
_ONE_DOWNLOAD = Lock()


def is_url(source: object) -> bool:
    """Whether a source of weights is an address on the net, and no path."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def refuse_other_schemes(source: object) -> None:
    """Raise UserError at an address that is neither http's nor https's: it would be taken for a path."""
    if isinstance(source, str) and not is_url(source) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
        raise UserError(
            f"{source} cannot be fetched, only http and https URLs can: download the file and give its path"
        )


def fetch(source: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Path:
    """The local copy of a file: from the cache, else downloaded into it; a local path is returned as it is.

    A file is checked once against the hash in its name, where there is one (:func:`hash_in_name`). Its SHA-256 is then kept
    beside it, ``NAME.sha256`` in the form of ``sha256sum``, and compared whenever the file is used again.

    Args:
        source: URL, or path of a local file.
        cache: folder for downloads; by default that of the environment variable SLOWFAST_MVIT_CACHE, else iopath's
            (``$FVCORE_CACHE`` or ``~/.torch/iopath_cache``).

    Raises:
        UserError: there is no such file, the net or the server does not give it, it is no file of weights (an HTML page), or
            its hash is wrong.
    """
    if not is_url(source):
        refuse_other_schemes(source)
        path = Path(source).expanduser()
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        return path
    address = urlparse(str(source))
    url = address.geturl()  # its scheme in small letters, by which iopath knows it
    if not address.netloc or not Path(address.path).name:
        raise UserError(f"{url} is no address of a file: it should look like https://host/folder/name.pyth")
    folder = cache or os.environ.get(CACHE_VARIABLE) or None
    # Two hosts may have files of the same path: iopath's cache would take one for the other.
    place = Path(get_cache_dir(None if folder is None else str(Path(folder).expanduser())))
    path = _download(url, place / address.netloc.replace(":", "_"))
    _verify(path, url)
    return path


def discard(path: Path) -> None:
    """Delete a download, and the record of its hash, from the cache."""
    path.unlink(missing_ok=True)
    _record(path).unlink(missing_ok=True)


def hash_in_name(name: str) -> tuple[str, str] | None:
    """Algorithm and first hex digits of the hash that publishers write into a file's name; None without one.

    torch.hub's convention (torchvision, OpenMMLab): ``model-ae3be167.pth``, SHA-256. Detectron2's:
    ``model_final_1a1c30.pkl``, MD5. Digits alone are taken for a date or a number.
    """
    found = re.fullmatch(r"model_final_([0-9a-f]{6})\.pkl", name)
    if found:
        return "md5", found[1]
    found = re.fullmatch(r".+-([0-9a-f]{8,64})\.[a-z]\w*", name)
    if found and not found[1].isdigit():
        return "sha256", found[1]
    return None


def is_web_page(start: bytes) -> bool:
    """Whether the first bytes of a file are those of HTML or XML: what servers answer instead of a file."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


def _download(url: str, folder: Path) -> Path:
    """The file in the cache; iopath writes a download under another name first, one process at a time."""
    paths = PathManager()
    paths.register_handler(HTTPURLHandler())
    advice = f"try again, or {BY_HAND}"
    try:
        with _bounded_download():
            return Path(paths.get_local_path(url, cache_dir=str(folder)))
    except HTTPError as error:
        reason, advice = f"the server answers {error.code} {error.reason}", BY_HAND
    except ContentTooShortError:
        reason = "the download was cut off"
    except URLError as error:
        reason = f"the server is not reached ({error.reason})"
    except (ConnectionError, TimeoutError, HTTPException) as error:
        reason = f"the connection broke ({error or type(error).__name__})"
    except OSError as error:
        reason, advice = f"it cannot be stored in {folder} ({error})", f"set {CACHE_VARIABLE} to another folder"
    raise UserError(f"cannot get {url}: {reason}; {advice}") from None


@contextmanager
def _bounded_download() -> Iterator[None]:
    """A time limit for silence, which iopath lacks, and no line of its own about failures, which are said here.

    Both are the whole process's, so threads take turns.
    """
    log = logging.getLogger("iopath.common.download")
    with _ONE_DOWNLOAD:
        before = socket.getdefaulttimeout(), log.disabled
        socket.setdefaulttimeout(SILENCE_SECONDS)
        log.disabled = True
        try:
            yield
        finally:
            socket.setdefaulttimeout(before[0])
            log.disabled = before[1]


def _verify(path: Path, url: str) -> None:
    """Compare with the recorded hash, or check a new file and record its hash."""
    record = _record(path)
    digest = _hash(path, "sha256")
    if record.is_file():
        known = record.read_text(encoding="utf-8")[: len(digest)]
        if digest != known:
            raise UserError(
                f"{path} has changed since it was downloaded (its SHA-256 was {known[:8]}, now {digest[:8]}): delete it and "
                f"{record.name}, it will be downloaded again"
            )
        return
    named = hash_in_name(Path(urlparse(url).path).name)
    wrong = None
    with path.open("rb") as file:
        start = file.read(512)
    if is_web_page(start):
        wrong = "a web page came instead of the file (a login page or a moved file)"
    elif named is not None:
        algorithm, expected = named
        found = digest if algorithm == "sha256" else _hash(path, algorithm)
        if not found.startswith(expected):
            wrong = f"the file has {algorithm} {found[: len(expected)]}, not {expected} as its name says"
    if wrong is not None:
        path.unlink(missing_ok=True)
        raise UserError(f"cannot use {url}: {wrong}; try again, or {BY_HAND}")
    # Another process may be reading: it finds the whole record or none.
    temporary = record.with_name(f"{record.name}.{os.getpid()}.{get_ident()}")
    temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    temporary.replace(record)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
