"""Downloads against a real server: what is given is kept and checked, what is broken is said in one sentence."""

import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights import fetch as fetching
from slowfast_mvit.weights.fetch import fetch, hash_in_name, is_url
from tests.weights.server import FileServer, file_server

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with file_server() as running:
        yield running


def refused(url: str, cache: Path) -> str:
    with pytest.raises(UserError) as error:
        fetch(url, cache)
    return str(error.value)


def kept(cache: Path) -> list[str]:
    """Names of all files in the cache, but for iopath's locks."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_file_comes_once_and_serves_without_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with file_server() as server:
        server.files["/models/a.pyth"] = BODY
        url = f"{server.url}/models/a.pyth"
        first = fetch(url, tmp_path)
        assert first.read_bytes() == BODY
        assert fetch(url, tmp_path) == first
        assert server.asked == ["/models/a.pyth"]
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert kept(tmp_path) == ["a.pyth", "a.pyth.sha256"]
    assert first.with_name("a.pyth.sha256").read_text() == f"{SHA256}  a.pyth\n"
    assert "is not reached" in refused(url.replace("a.pyth", "b.pyth"), tmp_path)


def test_many_ask_at_once(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.pyth"] = BODY
    before = socket.getdefaulttimeout()
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch(f"{server.url}/a.pyth", tmp_path), range(16)))
    assert len(set(paths)) == 1 and paths[0].read_bytes() == BODY
    assert server.asked == ["/a.pyth"] and kept(tmp_path) == ["a.pyth", "a.pyth.sha256"]
    assert socket.getdefaulttimeout() == before


def test_same_path_on_two_hosts(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server() as other:
        server.files["/m/a.pyth"], other.files["/m/a.pyth"] = b"one", b"two"
        assert fetch(f"{server.url}/m/a.pyth", tmp_path).read_bytes() == b"one"
        assert fetch(f"{other.url}/m/a.pyth", tmp_path).read_bytes() == b"two"


def test_cache_folder_from_the_environment(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/a.pyth"] = BODY
    monkeypatch.delenv("SLOWFAST_MVIT_CACHE", raising=False)
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "theirs"))
    assert fetch(f"{server.url}/a.pyth").is_relative_to(tmp_path / "theirs")
    monkeypatch.setenv("SLOWFAST_MVIT_CACHE", str(tmp_path / "ours"))
    assert fetch(f"{server.url}/a.pyth").is_relative_to(tmp_path / "ours")


def test_missing_on_the_server(tmp_path: Path, server: FileServer, caplog: pytest.LogCaptureFixture) -> None:
    url = f"{server.url}/gone.pyth"
    assert refused(url, tmp_path) == (
        f"cannot get {url}: the server answers 404 Not Found; download the file by hand and give its path"
    )
    assert caplog.records == []  # nothing is said twice
    assert kept(tmp_path) == []


def test_server_in_trouble(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.pyth"], server.faults["/a.pyth"] = BODY, (503, 0)
    assert "the server answers 503" in refused(f"{server.url}/a.pyth", tmp_path)
    del server.faults["/a.pyth"]
    assert fetch(f"{server.url}/a.pyth", tmp_path).read_bytes() == BODY


def test_a_cut_download_leaves_nothing_that_looks_like_the_file(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.pyth"], server.faults["/a.pyth"] = BODY, (200, 1)
    assert "cut off" in refused(f"{server.url}/a.pyth", tmp_path)
    assert kept(tmp_path) == []
    del server.faults["/a.pyth"]
    assert fetch(f"{server.url}/a.pyth", tmp_path).read_bytes() == BODY


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = refused(f"http://127.0.0.1:{port}/a.pyth", tmp_path)
    assert "is not reached (" in said and said.endswith("download the file by hand and give its path")


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "SILENCE_SECONDS", 0.2)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(f"http://127.0.0.1:{silent.getsockname()[1]}/a.pyth", tmp_path)
    assert "timed out" in said
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><p>sign in", b"\n <HTML><body>moved", b"<?xml version='1.0'?><Error/>"]
)
def test_a_web_page_is_no_file_of_weights(page: bytes, tmp_path: Path, server: FileServer) -> None:
    server.files["/a.pyth"] = page
    assert "a web page came instead" in refused(f"{server.url}/a.pyth", tmp_path)
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [("sha256", "net-{}.pth"), ("sha256", "net_20221021-{}.pth"), ("md5", "model_final_{}.pkl")],
)
def test_hash_in_the_name(algorithm: str, name: str, tmp_path: Path, server: FileServer) -> None:
    digits = hashlib.new(algorithm, BODY).hexdigest()[: 6 if algorithm == "md5" else 8]
    right, wrong = name.format(digits), name.format("".join("1" if d == "0" else "0" for d in digits[:-1]) + "a")
    server.files |= {f"/{right}": BODY, f"/{wrong}": BODY}
    assert fetch(f"{server.url}/{right}", tmp_path).read_bytes() == BODY
    said = refused(f"{server.url}/{wrong}", tmp_path)
    assert f"the file has {algorithm} {digits}, not " in said and "by hand" in said
    assert kept(tmp_path) == [right, f"{right}.sha256"]


def test_a_file_that_changed_in_the_cache(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.pyth"] = BODY
    path = fetch(f"{server.url}/a.pyth", tmp_path)
    path.write_bytes(BODY[:-1] + b"?")
    said = refused(f"{server.url}/a.pyth", tmp_path)
    assert said.startswith(f"{path} has changed since it was downloaded (its SHA-256 was {SHA256[:8]}, now ")
    assert path.exists()  # the user's own to delete
    path.unlink()
    path.with_name("a.pyth.sha256").unlink()
    assert fetch(f"{server.url}/a.pyth", tmp_path).read_bytes() == BODY


def test_a_cache_that_cannot_be_written(tmp_path: Path, server: FileServer) -> None:
    server.files["/m/a.pyth"] = BODY
    folder = tmp_path / server.url.removeprefix("http://").replace(":", "_")
    folder.mkdir()
    (folder / "m").write_text("a file where a folder must stand")
    said = refused(f"{server.url}/m/a.pyth", tmp_path)
    assert f"cannot be stored in {folder}" in said and "SLOWFAST_MVIT_CACHE" in said


@pytest.mark.parametrize("url", ["https://", "https://host", "https://host/", "http:///a.pyth"])
def test_addresses_of_no_file(url: str, tmp_path: Path) -> None:
    assert refused(url, tmp_path).startswith(f"{url} is no address of a file")


def test_a_local_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net-00000000.pth"  # not compared with its name: the user gave it
    path.write_bytes(BODY)
    assert fetch(path) == path == fetch(str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch("~/net-00000000.pth") == path
    assert kept(tmp_path) == ["net-00000000.pth"]
    assert refused(str(tmp_path / "none.pth"), tmp_path) == f"there is no file {tmp_path / 'none.pth'}"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mvit_v2_s-ae3be167.pth", ("sha256", "ae3be167")),
        ("mvit-small-p244_16x4x1_kinetics400-rgb_20221021-9ebaaeed.pth", ("sha256", "9ebaaeed")),
        ("model_final_1a1c30.pkl", ("md5", "1a1c30")),
        ("MViTv2_S_16x4_k400_f302660347.pyth", None),  # the number of a job
        ("run-20221021.pth", None),  # a date
        ("MVIT_B_16x4.pyth", None),
        ("checkpoint_epoch_00200.pyth", None),
        ("net-abc.pth", None),
    ],
)
def test_names_with_and_without_a_hash(name: str, found: object) -> None:
    assert hash_in_name(name) == found


def test_urls_and_paths() -> None:
    assert all(map(is_url, ("https://host/a.pyth", "http://host/a.pyth", "HTTPS://host/a.pyth", "Http://host/a")))
    assert not any(is_url(path) for path in ("a.pyth", "/https://a", "c:/a.pyth", Path("https://host/a.pyth")))


@pytest.mark.parametrize("url", ["s3://bucket/a.pyth", "GS://bucket/a.pyth", "ftp://host/a.pyth"])
def test_other_schemes(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(url, tmp_path)
    assert str(caught.value) == (
        f"{url} cannot be fetched, only http and https URLs can: download the file and give its path"
    )


def test_capitals_in_the_scheme(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.pyth"] = BODY
    assert fetch(server.url.replace("http", "HTTP") + "/a.pyth", tmp_path).read_bytes() == BODY
