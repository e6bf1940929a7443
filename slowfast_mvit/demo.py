"""A page on this machine that shows what a model sees in a video or an image: ``python -m slowfast_mvit.demo``.

python -m slowfast_mvit.demo --weights runs/mine/checkpoints/checkpoint_epoch_00030.pyth
python -m slowfast_mvit.demo --model mvitv2_s_16x4
python -m slowfast_mvit.demo --cfg configs/AVA/MVITV2_S_16x4.yaml --weights FILE --detector DETECTOR.pth

Drop a file on the page. A model for whole clips shows its scores along the time under the player; a model of boxes (--boxes or
--detector) draws who does what; a detector draws objects on an image.

The model is named as for tools/predict.py: --model with its published weights or those of --weights, --cfg with --weights, or a
checkpoint of run_net.py alone (--weights). KEY VALUE change its config. The page needs no network.
"""

import argparse
import importlib.util
import ipaddress
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slowfast_mvit.build.predict_boxes import box_model
from slowfast_mvit.build.predict_model import config_to_predict, model_of_config, model_of_name
from slowfast_mvit.build.ready_detector import detector_of_config, detector_of_name, is_detector
from slowfast_mvit.demo_page.answers import Classifier, Looker, Objects, People
from slowfast_mvit.engine.huge_pages import keep_huge_pages
from slowfast_mvit.engine.log import log_to_screen
from slowfast_mvit.errors import UserError

_NEEDED = ("starlette", "uvicorn")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_intermixed_args(argv)
    log_to_screen()
    keep_huge_pages()
    try:
        _check(args)
        with _listening(args.host, args.port) as listener:
            _serve(_looker(args), listener, args)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what can be refused before a model is loaded."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the page needs {' and '.join(missing)}: pip install 'slowfast_mvit[demo]'")
    if not 0 < args.max_megabytes < float("inf"):
        raise UserError(f"--max-megabytes is {args.max_megabytes:g}; it must be more than 0")
    if args.model is not None and args.cfg is not None:
        raise UserError("--model and --cfg both say which model is meant: give one of them")
    if args.model is not None and args.words:
        raise UserError(f"{args.words[0]} is a key of a config, and --model has none: give --cfg, or leave it out")
    if args.model is not None and _of_boxes(args):
        raise UserError("--boxes and --detector are for a config of boxes: give --cfg with --weights, and no --model")
    if args.boxes is not None and not args.boxes.is_file():
        raise UserError(f"there is no box list {args.boxes}: check its name and folder")
    if args.detector is not None and not args.detector.is_file():
        raise UserError(f"there is no file {args.detector} of a detector's weights: check its name and folder")


def _of_boxes(args: argparse.Namespace) -> bool:
    return args.boxes is not None or args.detector is not None


def _looker(args: argparse.Namespace) -> Looker:
    """The one model, with its weights."""
    config = config_to_predict(args.cfg, args.weights, args.words) if args.model is None else None
    of_clips = [f"--{name}" for name in ("window", "stride") if getattr(args, name) is not None]
    objects = is_detector(args.model if config is None else config.MODEL.ARCH)
    if of_clips and (objects or _of_boxes(args)):
        raise UserError(f"{', '.join(of_clips)} is for whole clips: leave it out")
    if config is not None and _of_boxes(args):
        return People(box_model(config), boxes=args.boxes, detector=args.detector)
    if objects:
        return Objects(detector_of_name(args.model, args.weights) if config is None else detector_of_config(config))
    ready = model_of_name(args.model, args.weights) if config is None else model_of_config(config)
    return Classifier(ready, args.window, args.stride)


def _listening(host: str, port: int) -> socket.socket:
    """A socket of that address; of port 0 on any free port.

    Raises:
        UserError: it is not to be had.
    """
    if not 0 <= port < 65536:
        raise UserError(f"--port is {port}; it must be from 0 (any free one) to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        why = str(error.strerror or error).partition(" (while")[0]
        raise UserError(
            f"no page can be served at {host}, port {port} ({why}): give another --host or --port"
        ) from error


def _serve(looker: Looker, listener: socket.socket, args: argparse.Namespace) -> None:
    import uvicorn

    from slowfast_mvit.demo_page.server import LOOPBACK_NAMES, Page, make_app

    address, port = listener.getsockname()[:2]
    loopback = ipaddress.ip_address(address).is_loopback
    if not loopback:
        print(
            f"warning: {args.host} is not this machine alone: whoever reaches port {port} can have files decoded and looked at "
            "here, without a password",
            file=sys.stderr,
        )
    page = Page(
        args.model or Path(args.cfg or args.weights).stem,
        round(args.max_megabytes * 1e6),
        (*LOOPBACK_NAMES, args.host) if loopback else ("*",),
    )
    config = uvicorn.Config(
        make_app(looker, page), log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3
    )
    shown = f"[{address}]" if ":" in address else address
    print(f"http://{shown}:{port}/ shows the page; Ctrl-C ends it", flush=True)
    with suppress(KeyboardInterrupt):  # which uvicorn gives on when it has ended
        uvicorn.Server(config).run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slowfast_mvit.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [--model NAME | --cfg FILE.yaml] [--weights FILE] [options] [KEY VALUE ...]",
    )
    parser.add_argument("words", nargs="*", metavar="KEY VALUE", help="changed keys of the config, as NUM_GPUS 0")
    parser.add_argument("--model", metavar="NAME", help="of create_model, as mvitv2_s_16x4")
    parser.add_argument("--cfg", metavar="FILE.yaml", help="config of the model")
    parser.add_argument(
        "--weights", metavar="FILE", help="its weights: a path or URL; with --model also a tag of published ones"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve at; by default this machine alone reaches it"
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="8000 by default; 0 for any free one")
    parser.add_argument("--max-megabytes", type=float, default=500.0, metavar="N", help="of a file, 500 by default")
    clips = parser.add_argument_group("whole clips")
    clips.add_argument(
        "--window", type=float, metavar="SECONDS", help="of a point of the curves; by default a clip's length"
    )
    clips.add_argument(
        "--stride", type=float, metavar="SECONDS", help="between the starts of windows; by default they touch"
    )
    boxes = parser.add_argument_group("people in boxes").add_mutually_exclusive_group()
    boxes.add_argument("--boxes", type=Path, metavar="BOXES.csv", help="where people are, in the files of these names")
    boxes.add_argument(
        "--detector", type=Path, metavar="FILE", help="weights of torchvision's fasterrcnn_resnet50_fpn_v2 (COCO)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
