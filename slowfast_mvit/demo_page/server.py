"""The page's server: takes a file, says how far it is, gives the answer. All addresses are below the page's own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import anyio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slowfast_mvit.data.imagenet import image_suffixes
from slowfast_mvit.data.kinetics import VIDEO_SUFFIXES
from slowfast_mvit.demo_page.accepted import HEAD_BYTES, file_name, refuse_content, refuse_name, shown_name
from slowfast_mvit.demo_page.answers import Looker
from slowfast_mvit.demo_page.jobs import FullError, Job, Jobs
from slowfast_mvit.errors import UserError
from slowfast_mvit.report.templates import STYLE

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HERE = Path(__file__).parent
_SILENT_SECONDS = 60.0  # of an upload, after which its place is given to others
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Page:
    """What the page says and takes.

    Attributes:
        model: what the model is called.
        max_bytes: of a file.
        hosts: names that the server may be asked by, ``*`` for any: pages of others cannot reach one on loopback by a name of
            their own that leads there.
    """

    model: str
    max_bytes: int
    hosts: tuple[str, ...] = LOOPBACK_NAMES


def make_app(looker: Looker, page: Page) -> Starlette:
    """The application; its files lie in a temporary folder, which goes when it ends."""

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        with TemporaryDirectory(prefix="slowfast_mvit_demo_") as folder:
            app.state.jobs = Jobs(looker, Path(folder))
            try:
                yield
            finally:
                await anyio.to_thread.run_sync(app.state.jobs.close)

    async def show(request: Request) -> Response:
        return HTMLResponse(_html(looker, page))

    async def take(request: Request) -> Response:
        return await _take(request, looker.images, page.max_bytes)

    routes = [
        Route("/", show),
        Route("/files", take, methods=["POST"]),
        Route("/files/{id}", _tell, methods=["GET"]),
        Route("/files/{id}", _forget, methods=["DELETE"]),
        Route("/files/{id}/drawn", _drawn),
        *(Route(f"/{path.name}", _static(path)) for path in (STYLE, _HERE / "page.css", *sorted(_HERE.glob("*.js")))),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(page.hosts), www_redirect=False),
        Middleware(_Guard),
    ]
    return Starlette(routes=routes, middleware=middleware, lifespan=life)


class _Guard:
    """Puts headers on every answer, and refuses what a page of another origin sends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        request = Request(scope)
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            await _refusal(403, "a page of another address may not use this one")(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


def _html(looker: Looker, page: Page) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        model=page.model,
        what="image" if looker.images else "video",
        draws=looker.draws,
        suffixes=sorted(image_suffixes() if looker.images else VIDEO_SUFFIXES),
        max_bytes=page.max_bytes,
        max_megabytes=f"{page.max_bytes / 1e6:g}",
    )


def _static(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def give(request: Request) -> Response:
        return FileResponse(path)

    return give


def _jobs(request: Request) -> Jobs:
    return request.app.state.jobs


def _refusal(status: int, problem: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"problem": problem}, status, headers)


async def _take(request: Request, images: bool, max_bytes: int) -> Response:
    """A file as the body, its name as a parameter: onto the disk in parts, so that no more than one is in memory."""
    given = request.query_params.get("name", "")
    name, most = shown_name(given), f"{max_bytes / 1e6:g} MB"
    too_large = f"{name} is too large: files may have {most}"
    try:
        refuse_name(given, images=images)
    except UserError as error:
        return _refusal(415, str(error))
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > max_bytes:
        return _refusal(413, too_large)
    jobs = _jobs(request)
    try:
        job = jobs.open(name, file_name(given))
    except FullError:
        return _refusal(503, "many files wait already: try again in a minute", {"retry-after": "60"})
    try:
        head = await _store(request, job, max_bytes)
        refuse_content(head, given, images=images)
    except _TooLargeError:
        problem, status = too_large, 413
    except UserError as error:
        problem, status = str(error), 415
    except TimeoutError:
        problem, status = f"nothing more of {name} came for {_SILENT_SECONDS:g} seconds: send it again", 408
    except OSError as error:
        problem, status = f"{name} cannot be kept: {error.strerror or error}", 507
    except ClientDisconnect:
        problem, status = f"{name} was not sent to its end", 400
    else:
        jobs.start(job)
        return JSONResponse({"id": job.id}, 201)
    jobs.forget(job)
    return _refusal(status, problem)


class _TooLargeError(Exception):
    """More came than was said."""


async def _store(request: Request, job: Job, max_bytes: int) -> bytes:
    """Write the body to the job's path; returns its first bytes."""
    head, count, parts = b"", 0, request.stream()
    with job.path.open("wb") as file:
        while True:
            with anyio.fail_after(_SILENT_SECONDS):
                part = await anext(parts, None)
            if part is None:
                return head
            count += len(part)
            if count > max_bytes:
                raise _TooLargeError
            head += part[: HEAD_BYTES - len(head)]
            file.write(part)


async def _tell(request: Request) -> Response:
    job = _jobs(request).find(request.path_params["id"])
    if job is None:
        return _refusal(404, "this file is forgotten: send it again")
    told: dict[str, object] = {"state": job.state, "share": job.share, "problem": job.problem}
    if job.answer is None:
        told["before"] = _jobs(request).before(job)
    else:
        told["problem"] = job.answer.problem
        told["scores"] = asdict(job.answer.scores) if job.answer.scores else None
        told["drawn"] = asdict(job.answer.drawn) if job.answer.drawn else None
    return JSONResponse(told)


async def _drawn(request: Request) -> Response:
    job = _jobs(request).find(request.path_params["id"])
    if job is None or job.answer is None or job.answer.file is None or not job.answer.file.is_file():
        return _refusal(404, "there is no such file")
    return FileResponse(job.answer.file)  # which gives parts of it, as players ask for them


async def _forget(request: Request) -> Response:
    job = _jobs(request).find(request.path_params["id"])
    if job is not None:
        _jobs(request).forget(job)
    return Response(status_code=204)
