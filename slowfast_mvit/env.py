"""What this machine has of what the package uses, tried out and not only looked up: ``python -m slowfast_mvit.env``.

A line for each version, then one for each ability: works, or does not and what to do about it. The exit status is 1 where
something fails that the package cannot do without, and 0 otherwise. ``--json`` prints the same as one object.
"""

import argparse
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import torch
import torch.nn.functional as F

from slowfast_mvit.engine.huge_pages import hindrance
from slowfast_mvit.errors import UserError

PACKAGES = (
    "torch", "torchvision", "pytorchvideo", "av", "decord", "numpy", "pillow", "pandas", "safetensors", "fvcore", "iopath",
    "simplejson", "pyyaml", "matplotlib", "tqdm", "jinja2", "msgspec",
)  # fmt: skip
"""Whose versions are shown, by the names that they are installed under."""
EXTRAS = {
    "onnx": ("export", "ONNX files"),
    "onnxscript": ("export", "ONNX files"),
    "onnxruntime": ("export", "checking and running ONNX files"),
    "pyarrow": ("features", "feature files"),
    "tensorboard": ("tensorboard", "TENSORBOARD.ENABLE"),
    "submitit": ("slurm", "tools/submit.py"),
    "starlette": ("demo", "the page of slowfast_mvit.demo"),
    "uvicorn": ("demo", "the page of slowfast_mvit.demo"),
    "pycocotools": ("", "COCO's scores"),
}
"""Packages that only some commands need: the extra of setup.py that brings each (none: its own name), and what for."""
_NEEDED = {
    "numpy": "numpy", "pandas": "pandas", "safetensors": "safetensors", "simplejson": "simplejson", "pyyaml": "yaml",
    "matplotlib": "matplotlib", "tqdm": "tqdm", "jinja2": "jinja2", "msgspec": "msgspec",
}  # fmt: skip
"""What the package cannot do without and is tried by nothing else here: the module of each."""
_FILM = (16, 64, 64)  # frames, height, width of the video that is written and read
# What a package that is broken, built for another machine, or that does not fit another may raise while it is loaded.
_LOADING = (ImportError, OSError, RuntimeError, AttributeError, ValueError, TypeError)


@dataclass(frozen=True)
class Finding:
    """What came of trying one thing.

    Attributes:
        name: of the thing.
        works: whether it does.
        detail: what was found, or what failed.
        remedy: what to do where it does not work.
        needed: the package cannot do without it.
    """

    name: str
    works: bool
    detail: str = ""
    remedy: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Report:
    """Versions by name (None: not installed), and what was tried."""

    versions: dict[str, str | None]
    findings: tuple[Finding, ...]

    @property
    def complete(self) -> bool:
        """Whether everything works that the package cannot do without."""
        return all(finding.works for finding in self.findings if finding.needed)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m slowfast_mvit.env", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    report = examine()
    print(json.dumps(asdict(report), indent=1) if args.json else in_words(report))
    return 0 if report.complete else 1


def examine() -> Report:
    """Try everything out; takes a few seconds."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        findings = (
            _packages(),
            *_layers(),
            *_videos(here),
            *_device(),
            _huge_pages(),
            _compiler(here),
            *map(_extra, EXTRAS),
            _shared_memory(),
        )
    return Report(versions(), findings)


def in_words(report: Report) -> str:
    """The report for the screen."""
    wide = max(map(len, report.versions))
    lines = [f"{name:{wide}}  {version or 'not installed'}" for name, version in report.versions.items()]
    lines.append("")
    wide = max(len(finding.name) for finding in report.findings)
    for finding in report.findings:
        mark = "works" if finding.works else "FAILS" if finding.needed else "no   "
        lines.append(f"{mark}  {finding.name:{wide}}  {finding.detail}".rstrip())
        if not finding.works and finding.remedy:
            lines.append(f"{'':{wide + 9}}-> {finding.remedy}")
    return "\n".join(lines)


def versions() -> dict[str, str | None]:
    """Versions of Python, the packages, and what lies below them."""
    found: dict[str, str | None] = {"slowfast_mvit": _version("slowfast_mvit"), "python": platform.python_version()}
    found["system"] = f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} processors"
    found |= {name: _version(name) for name in PACKAGES}
    found["FFmpeg (of av)"] = _ffmpeg()
    found["CUDA (of torch)"] = torch.version.cuda
    found["cuDNN"] = str(torch.backends.cudnn.version()) if torch.backends.cudnn.is_available() else None
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _ffmpeg() -> str | None:
    try:
        import av
    except _LOADING:
        return None
    of_parts = ", ".join(f"{name} {'.'.join(map(str, part))}" for name, part in sorted(av.library_versions.items()))
    return f"{getattr(av, 'ffmpeg_version_info', '')} ({of_parts})".strip()


def _try(name: str, attempt: Callable[[], str], errors: tuple[type[BaseException], ...], **about: object) -> Finding:
    """What ``attempt`` says if it ends well, else the first line of its error."""
    try:
        return Finding(name, True, attempt(), **about)  # type: ignore[arg-type]
    except errors as error:
        lines = str(error).strip().splitlines()
        return Finding(name, False, lines[0] if lines else type(error).__name__, **about)  # type: ignore[arg-type]


def _packages() -> Finding:
    """Those that are needed and shown to work by no other finding, loaded."""
    broken: list[str] = []

    def load() -> str:
        for package, module in _NEEDED.items():
            try:
                importlib.import_module(module)
            except _LOADING as error:
                broken.append(package)
                raise ImportError(f"{package}: {error}") from error
        return f"{len(_NEEDED)} more that are needed can be loaded"

    found = _try("packages", load, _LOADING, needed=True)
    return replace(found, remedy=f"pip install --force-reinstall {' '.join(broken)}") if broken else found


def _layers() -> list[Finding]:
    """What the models take from torchvision, whose compiled part must fit torch, and from PyTorchVideo."""

    def suppress() -> str:
        from torchvision.ops import nms

        boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 9, 9]])
        if nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() != [0, 2]:
            raise RuntimeError("torchvision's non-maximum suppression is wrong")
        return "its compiled operators fit torch"

    def widen() -> str:
        from pytorchvideo.layers.attention import Mlp

        return f"a layer of it gives {tuple(Mlp(4, 8, 4)(torch.zeros(1, 2, 4)).shape)}"

    pair = "pip install --upgrade torch torchvision, as a pair of one day"
    return [
        _try("torchvision", suppress, _LOADING, remedy=pair, needed=True),
        _try("pytorchvideo", widen, _LOADING, remedy="pip install --upgrade pytorchvideo", needed=True),
    ]


# Videos and images


def _videos(folder: Path) -> list[Finding]:
    """Write a film by each encoder and read it by each reader, and a folder of pictures."""
    try:
        from PIL import Image

        from slowfast_mvit.data.toy import write_video
        from slowfast_mvit.data.video import VideoError, open_video
    except _LOADING as error:
        return [Finding("videos", False, str(error), "pip install --force-reinstall av numpy pillow", needed=True)]
    import numpy as np

    film = np.random.default_rng(0).integers(0, 256, (*_FILM, 3), dtype=np.uint8)
    # ValueError: FFmpeg has no such codec.
    writing = (ValueError, *_LOADING)
    reading = (VideoError, UserError, *_LOADING)
    with_h264, with_vp9, pictures = folder / "h264.mp4", folder / "vp9.webm", folder / "pictures"

    def write(path: Path) -> str:
        write_video(path, film)
        return f"{len(film)} frames, {path.stat().st_size:,} bytes"

    def read(path: Path, backend: str) -> str:
        with open_video(path, backend) as reader:
            frames = reader.frames_at(range(reader.num_frames))
            if frames.shape != film.shape:
                raise RuntimeError(f"frames of shape {frames.shape} came of a film of {film.shape}")
            return f"{reader.num_frames} frames of {reader.codec}"

    def write_pictures() -> str:
        pictures.mkdir()
        for number, frame in enumerate(film):
            Image.fromarray(frame).save(pictures / f"{number:03d}.jpg")
        return f"{len(film)} JPEG files"

    reinstall = "pip install --force-reinstall av: its wheels bring FFmpeg with this codec"
    findings = [
        _try(
            "write H.264 (av)",
            lambda: write(with_h264),
            writing,
            remedy=f"{reinstall}; only toy sets and drawn videos need it",
        ),
        _try("write VP9 (av)", lambda: write(with_vp9), writing, remedy=f"{reinstall}; only some toy sets need it"),
        _try(
            "write pictures (PIL)", write_pictures, writing, remedy="pip install --force-reinstall pillow", needed=True
        ),
    ]
    found = next((path for path in (with_h264, with_vp9) if path.exists()), with_h264)
    findings += [
        _try(
            "read by pyav", lambda: read(found, "pyav"), reading, remedy="pip install --force-reinstall av", needed=True
        ),
        _try(
            "read by decord",
            lambda: read(found, "decord"),
            reading,
            remedy="pip install decord (x86-64 Linux); nothing needs it: DATA.DECODING_BACKEND pyav is the default",
        ),
        _try(
            "read by frames",
            lambda: read(pictures, "frames"),
            reading,
            remedy="pip install --force-reinstall pillow",
            needed=True,
        ),
    ]
    return findings


# Processors


def _device() -> list[Finding]:
    """The GPUs, and what the first of them, or else the CPU, computes."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        seen = ", ".join(f"{one.name} ({one.total_memory / 2**30:.0f} GiB, sm_{one.major}{one.minor})" for one in names)
        findings = [Finding("GPU", True, seen)]
    else:
        without = "this torch is built without CUDA" if torch.version.cuda is None else "no CUDA device is visible"
        remedy = "set NUM_GPUS 0 for the CPU; for a GPU see that nvidia-smi lists it, and install torch with CUDA (pytorch.org)"
        findings = [Finding("GPU", False, without, remedy)]
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return [*findings, _bfloat16(kind), *_fused(kind)]


def _huge_pages() -> Finding:
    """Whether our commands can keep tensors in huge pages."""
    remedy = "nothing need be done; on a busy virtual machine, S 16x4 took 0.8 s with them and 0.9 to 1.3 without"
    return Finding("huge pages", not hindrance(), hindrance() or "tensors of our commands lie in them", remedy)


def _bfloat16(kind: str) -> Finding:
    """A product in bfloat16, and whether the processor has instructions for it."""

    def multiply() -> str:
        ones = torch.ones(64, 64, dtype=torch.bfloat16, device=kind)
        if not bool((ones @ ones == 64).all()):
            raise RuntimeError("a product in bfloat16 is wrong")
        if kind == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.ops.mkldnn._is_mkldnn_bf16_supported() if torch.backends.mkldnn.is_available() else False
        return (
            f"on {kind}" if fast else f"on {kind}, slowly: the processor has no instructions for it, float32 is faster"
        )

    return _try(f"bfloat16 ({kind})", multiply, (RuntimeError,), remedy="set MODEL.PRECISION float32")


def _fused(kind: str) -> list[Finding]:
    """The fused kernels of attention, each alone, on queries as wide as the models make them."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels = {"flash": SDPBackend.FLASH_ATTENTION}
    if kind == "cuda":
        kernels |= {"memory-efficient": SDPBackend.EFFICIENT_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
    dtype = torch.bfloat16 if kind == "cuda" else torch.float32

    def run(kernel: SDPBackend) -> str:
        q = torch.ones(1, 1, 64, 120, dtype=dtype, device=kind)
        with sdpa_kernel(kernel):
            F.scaled_dot_product_attention(q, q, q, scale=1.0)
        return f"on {kind}, {str(dtype).removeprefix('torch.')}"

    remedy = "nothing need be done: torch takes another kernel, which is slower or takes more memory"
    return [
        _try(f"{name} attention", lambda kernel=kernel: run(kernel), (RuntimeError,), remedy=remedy)  # type: ignore[misc]
        for name, kernel in kernels.items()
    ]


def _compiler(folder: Path) -> Finding:
    """Whether torch.compile would find what it needs: a C++ compiler with OpenMP and Python's headers, and Triton on a GPU."""
    source, library = folder / "probe.cpp", folder / "probe.so"
    source.write_text(
        "#include <Python.h>\n#include <omp.h>\nint probe() { return omp_get_max_threads(); }\n", encoding="utf-8"
    )
    command = os.environ.get("CXX") or next((name for name in ("g++", "clang++") if shutil.which(name)), "g++")
    headers = sysconfig.get_paths()["include"]
    options = [str(source), "-shared", "-fPIC", "-fopenmp", f"-I{headers}", "-o", str(library)]

    def build() -> str:
        run = subprocess.run([*command.split(), *options], capture_output=True, text=True, timeout=60, check=False)
        if run.returncode:
            said = [line for line in run.stderr.splitlines() if "error" in line] or ["it says nothing"]
            raise RuntimeError(f"{command}: {said[0].strip()}")
        if torch.cuda.is_available():
            importlib.import_module("triton")
        return f"{command}{', triton' if torch.cuda.is_available() else ''}"

    remedy = (
        "install g++ and Python's headers (Debian, Ubuntu: apt install g++ python3-dev), on a GPU pip install triton; "
        "nothing but torch.compile needs them"
    )
    return _try("compiler for torch.compile", build, (*_LOADING, subprocess.TimeoutExpired), remedy=remedy)


# Packages and the system


def _extra(package: str) -> Finding:
    """An optional package, loaded."""
    extra, purpose = EXTRAS[package]

    def load() -> str:
        importlib.import_module(package)
        return f"{_version(package) or 'of unknown version'}, for {purpose}"

    install = f"pip install 'slowfast_mvit[{extra}]'" if extra else f"pip install {package}"
    return _try(package, load, _LOADING, remedy=f"{install}, for {purpose}")


def _shared_memory() -> Finding:
    """Room for the batches that loader workers hand over."""
    path, least = Path("/dev/shm"), 2**30
    if not path.is_dir():
        return Finding(
            "shared memory", platform.system() != "Linux", f"there is no {path}", "set DATA_LOADER.NUM_WORKERS 0"
        )
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        return Finding("shared memory", False, error.strerror or str(error), "set DATA_LOADER.NUM_WORKERS 0")
    said = f"{free / 2**30:.1f} GiB are free in {path}"
    return Finding(
        "shared memory", free >= least, said, "start the container with --shm-size 8g, or set DATA_LOADER.NUM_WORKERS 0"
    )


if __name__ == "__main__":
    sys.exit(main())
