"""What the server answers to others than its page: by plain HTTP, to the running demo."""

import json
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.demo_page.conftest import MAX_BYTES, Server


def asked(
    server: Server, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def posted(server: Server, name: str, body: object, **headers: str) -> tuple[int, dict[str, str]]:
    status, _, content = asked(server, "POST", f"/files?name={quote(name, safe='')}", body, **headers)
    return status, json.loads(content)


def kept(temporary: Path) -> set[Path]:
    return set(temporary.glob("slowfast_mvit_demo_*/*"))


def test_a_file_from_its_sending_to_its_end(server: Server, film: Path, temporary: Path) -> None:
    before = kept(temporary)
    status, told = posted(server, "../../../outside.mp4", film.read_bytes())
    assert status == 201 and len(told["id"]) > 20
    deadline = time.monotonic() + 30
    while (state := json.loads(asked(server, "GET", f"/files/{told['id']}")[2]))["state"] != "done":
        assert state["state"] in ("waiting", "working") and time.monotonic() < deadline
        time.sleep(0.05)
    assert len(state["scores"]["windows"]) == 13 and state["drawn"] is None
    assert len(kept(temporary) - before) == 1 and not list(temporary.parent.rglob("outside*"))
    assert asked(server, "GET", f"/files/{told['id']}/drawn")[0] == 404
    assert asked(server, "DELETE", f"/files/{told['id']}", origin="http://elsewhere.example")[0] == 403
    assert asked(server, "DELETE", f"/files/{told['id']}")[0] == 204
    assert asked(server, "GET", f"/files/{told['id']}")[0] == 404 and kept(temporary) == before


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("a.mp4", b"\0" * (MAX_BYTES + 1), 413, "a.mp4 is too large: files may have 0.4 MB"),
        (
            "a.mp4",
            (b"\0\0\0\x18ftyp" + bytes(92_000) for _ in range(5)),
            413,
            "a.mp4 is too large: files may have 0.4 MB",
        ),
        ("a.csv", b"/etc/passwd\n", 415, "a.csv does not end as a video"),
        ("a.mp4", b"#EXTM3U\n", 415, "a.mp4 does not begin as a video does"),
        ("a.mp4", b"", 415, "a.mp4 is empty"),
    ],
)
def test_refused(server: Server, temporary: Path, name: str, body: object, status: int, said: str) -> None:
    """The size also where none is said before, in parts; nothing stays on the disk."""
    before = kept(temporary)
    found, told = posted(server, name, body)
    assert found == status and told["problem"].startswith(said)
    assert kept(temporary) == before


def test_pages_of_others_cannot_use_it(server: Server, film: Path) -> None:
    assert posted(server, "a.mp4", film.read_bytes(), origin="http://elsewhere.example")[0] == 403
    assert asked(server, "GET", "/", host="elsewhere.example")[0] == 400
    assert asked(server, "GET", "/", host="localhost:1")[0] == 200
    assert posted(server, "a.txt", b"", origin=server.url.rstrip("/"))[0] == 415


@pytest.mark.parametrize(
    "path", ["/../setup.py", "/%2e%2e/server.py", "/server.py", "/files/..%2f..", "/files/x/drawn"]
)
def test_no_other_file_is_given(server: Server, path: str) -> None:
    assert asked(server, "GET", path)[0] == 404


def test_the_page_has_its_policy(server: Server) -> None:
    status, headers, content = asked(server, "GET", "/")
    assert status == 200 and b"http" not in content and headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'; script-src 'self';" in headers["content-security-policy"]
    for name in ("style.css", "page.css", "page.js", "chart.js"):
        status, headers, content = asked(server, "GET", f"/{name}")
        assert status == 200 and content and headers["cache-control"] == "no-store"


def test_who_hangs_up_leaves_nothing(server: Server, temporary: Path) -> None:
    before = kept(temporary)
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.putrequest("POST", "/files?name=a.mp4")
    connection.putheader("content-length", "300000")
    connection.endheaders(b"\0\0\0\x18ftyp")
    deadline = time.monotonic() + 20
    while kept(temporary) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(kept(temporary) - before) == 1
    connection.close()
    while kept(temporary) != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
