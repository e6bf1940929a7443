"""Train and test whatever a config says.

python tools/run_net.py --cfg configs/Kinetics/MVITV2_S_16x4.yaml DATA.PATH_TO_DATA_DIR /data/k400 NUM_GPUS 1
"""

import argparse
import os
import sys
from collections.abc import Sequence

# Read when torch is loaded: on the CPU, threads that spin while they wait would take the cores from the loader's processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "--debug" not in sys.argv:  # torch's own lines about connections; what they tell comes as an error too
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")

from slowfast_mvit.build.command import Command, run_command
from slowfast_mvit.build.job import toy_job
from slowfast_mvit.build.show_augmentations import augmentation_sheet
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.log import log_to_screen
from slowfast_mvit.errors import UserError
from slowfast_mvit.report.page import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the configs in turn; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_intermixed_args(argv)
    files, overrides = _split(args)
    log_to_screen()
    status = 0
    if not files:
        given = f"{args.cfg[0]} is not a .yaml file" if args.cfg else "no config given"
        print(f"error: {given}: --cfg FILE.yaml", file=sys.stderr)
        return 2
    if args.show_augmentations and len(files) > 1:
        print("error: --show-augmentations draws one picture, of one config: give one --cfg", file=sys.stderr)
        return 2
    if args.check:
        return _check(files, overrides, args)
    try:
        if args.show_augmentations:
            return _show(files[0], overrides, args)
        for number, path in enumerate(files):
            command = Command(
                path, tuple(overrides), args.toy, args.init_method or "", args.debug, number, report=write_report
            )
            ended = run_command(command)
            status = status or ended
            if ended not in (0, 2):  # asked to stop, or broken; after a mistake the next config runs all the same
                break
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return status


def _check(files: list[str], overrides: list[str], args: argparse.Namespace) -> int:
    status = 0
    for path in files:
        try:
            load_config(path, overrides)
        except (UserError, OSError) as error:
            if args.debug:
                raise
            print(f"error: {error}", file=sys.stderr)
            status = 2
        else:
            print(f"{path}: nothing is wrong with the config")
    return status


def _show(path: str, overrides: list[str], args: argparse.Namespace) -> int:
    try:
        _draw(toy_job(path, overrides) if args.toy else load_config(path, overrides), args.show_augmentations)
    except (UserError, VideoError, OSError) as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _draw(config: Config, picture: str) -> None:
    sheet = augmentation_sheet(config)
    try:
        sheet.save(picture)
    except ValueError as error:  # of an ending that PIL does not know
        raise UserError(f"{picture} cannot be written: {error}; end its name in .png or .jpg") from error
    print(f"{picture}: what the model is given in training")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cfg",
        nargs="+",
        default=[],
        metavar="FILE.yaml",
        help="configs, run in turn (under torchrun up to the first that fails)",
    )
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="changed keys, as in SOLVER.BASE_LR 1e-4"
    )
    parser.add_argument("--toy", action="store_true", help="the config's model on generated videos, two steps")
    parser.add_argument(
        "--show-augmentations", metavar="OUT.png", help="instead of running: a picture of augmented training clips"
    )
    parser.add_argument("--check", action="store_true", help="instead of running: say what is wrong with the configs")
    parser.add_argument("--debug", action="store_true", help="tracebacks instead of one-sentence errors")
    parser.add_argument("--num_shards", "--num-shards", metavar="N", help="the same as NUM_SHARDS N")
    parser.add_argument("--shard_id", "--shard-id", metavar="I", help="the same as SHARD_ID I")
    parser.add_argument(
        "--init_method",
        "--init-method",
        metavar="tcp://HOST:PORT",
        help="where several machines meet: HOST is machine 0",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="changed keys, as after --opts")
    return parser


def _split(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Config files, and the flat list of overrides from all the places where they may stand."""
    is_file = [text.endswith((".yaml", ".yml")) for text in args.cfg]
    count = is_file.index(False) if False in is_file else len(is_file)
    overrides = [*args.cfg[count:], *args.overrides, *args.opts]
    for key, value in (("NUM_SHARDS", args.num_shards), ("SHARD_ID", args.shard_id)):
        if value is not None:
            overrides += [key, value]
    return args.cfg[:count], overrides


if __name__ == "__main__":
    sys.exit(main())
