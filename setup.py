"""Packaging of slowfast_mvit: what it needs, and nothing that must be installed by hand."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="slowfast_mvit",
    version="0.1.0",
    description="Video understanding with MViTv2: train, test and export, PySlowFast configs included",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["slowfast_mvit", "slowfast_mvit.*"]),
    package_data={
        "slowfast_mvit": [
            "py.typed",
            "report/*.html",
            "report/*.css",
            "demo_page/*.html",
            "demo_page/*.css",
            "demo_page/*.js",
        ]
    },
    install_requires=[
        # torch and torchvision come as the pair that the registry serves: pinning one breaks the other.
        "torch",
        "torchvision",
        "pytorchvideo>=0.1.5",
        "av>=12",
        # decord publishes wheels for these machines only; PyAV is the default reader everywhere.
        'decord; platform_system == "Linux" and platform_machine == "x86_64"',
        "fvcore",
        "iopath",
        "numpy",
        "simplejson",
        "pandas",
        "tqdm",
        "pyyaml",
        "safetensors",
        "matplotlib",
        "jinja2",  # report.html, with names of videos and classes escaped
        "pillow",
        # Reads COCO's annotation files, of 450 MB, in seconds and without an object for each of their numbers.
        "msgspec",
        # The reference scoring of COCO, its mask codes, and the only reading of its annotations that all agree on.
        "pycocotools>=2.0.8",  # the first that numpy 2 loads
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-xdist",
            "hypothesis",
            "timm",
            "tensorboard",
            "ruff",
            "mypy",
            "types-PyYAML",
            "types-simplejson",
            "types-tqdm",
            "pandas-stubs",
            "submitit",
            "pyarrow",
            "onnx",
            "onnxscript",  # which torch writes ONNX by
            "onnxruntime",
            "playwright",  # report.html and the demo in a browser, where the machine has one
            "starlette",
            "uvicorn",
        ],
        "tensorboard": ["tensorboard"],
        "features": ["pyarrow"],  # feature files of tools/predict.py as Parquet
        "slurm": ["submitit"],
        "demo": [
            "starlette>=0.40",
            "uvicorn>=0.30",
        ],  # the page of slowfast_mvit.demo; its films are given in parts from 0.40 on
        "export": ["onnx", "onnxscript", "onnxruntime"],
    },
)
