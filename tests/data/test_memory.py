"""A process that opens and reads a thousand videos keeps nothing of them: what a worker does in an hour of training.

Each test measures in a process of its own, this file run as a program; it says how many bytes its resident memory grew by.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.data.augment import RandAugment, parse_rand_augment
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, SampleKey, TrainClips
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.transforms import AreaAspectCrop, TrainTransform

NUM_VIDEOS, WARM = 1000, 100
ALLOWED = 20e6  # bytes
SIZES = [(96, 128), (120, 160), (160, 120), (144, 256)]  # height, width


@pytest.fixture(scope="module")
def folders(new_video, paint, tmp_path_factory) -> dict[str, Path]:
    """A thousand files of four kinds of video, and a thousand folders of frames."""
    films, images = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("images")
    made = [
        new_video(f"kind_{kind}.mp4", height=height, width=width, num_frames=30, gop=10, b_frames=2).path
        for kind, (height, width) in enumerate(SIZES)
    ]
    drawn = images / "drawn"
    for kind, (height, width) in enumerate(SIZES):
        (drawn / str(kind)).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(paint(number, height, width)).save(drawn / str(kind) / f"{number}.jpg")
    for number in range(NUM_VIDEOS):
        shutil.copy(made[number % len(made)], films / f"{number:04d}.mp4")
        shutil.copytree(drawn / str(number % len(SIZES)), images / f"{number:04d}", copy_function=os.link)
    shutil.rmtree(drawn)
    return {"pyav": films, "decord": films, "frames": images}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["train", "test"])
@pytest.mark.parametrize("backend", ["pyav", "decord", "frames"])
def test_a_thousand_videos_leave_nothing_behind(folders, backend, dataset):
    if backend == "decord":
        pytest.importorskip("decord")
    command = [sys.executable, __file__, backend, dataset, str(folders[backend])]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr
    grown = float(run.stdout)
    print(f"{backend}, {dataset}: {grown / 1e6:.1f} MB")
    assert grown < ALLOWED


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(backend: str, dataset: str, folder: Path) -> int:
    """Bytes by which the process grows after its first hundred videos."""
    paths = np.array([str(path) for path in sorted(folder.iterdir())])
    videos = VideoList(paths, paths, np.zeros(len(paths), np.int64), (), "list")
    assert len(videos) == NUM_VIDEOS
    sampling = ClipSampling(num_frames=8, sampling_rate=2)
    policy = RandAugment(parse_rand_augment("rand-m7-n4-mstd0.5-inc1"))
    crop = AreaAspectCrop((0.08, 1.0), (0.75, 1.3333))
    train = TrainClips(
        videos, sampling, TrainTransform(64, crop, flip=True, augment=policy), seed=0, num_repeats=2, backend=backend
    )
    test = MultiViewVideos(videos, sampling, num_clips=5, backend=backend)
    before = 0
    for index in range(NUM_VIDEOS):
        item = train[SampleKey(0, index)] if dataset == "train" else test[index]
        assert not isinstance(item, UnreadableVideo), item
        if index == WARM - 1:
            before = resident()
    return resident() - before


if __name__ == "__main__":
    print(measure(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
