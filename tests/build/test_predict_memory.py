"""An hour of 1080p by windows takes no more memory than its first minute. Measured in a process of its own, this file run."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slowfast_mvit.build.predict_model import model_as_built
from slowfast_mvit.build.predict_scores import Looks, score, scoring_of
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import video_architecture

ALLOWED = 200e6  # bytes
FPS, HOUR, ENCODED = 10, 3600, 10  # seconds that are encoded, and then repeated


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of 1080p, encoded once, their packets copied 360 times."""
    folder = tmp_path_factory.mktemp("hour")
    short, long = folder / "short.mp4", folder / "long.mp4"
    with av.open(str(short), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "45"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 1920, 1080, "yuv420p", 50
        for number in range(FPS * ENCODED):
            picture = np.full((1080, 1920, 3), number * 2, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(short)) as source, av.open(str(long), "w") as target:
        given = source.streams.video[0]
        made = target.add_stream_from_template(given)
        assert given.time_base is not None
        length = int(ENCODED / Fraction(given.time_base))
        for turn in range(HOUR // ENCODED):
            source.seek(0)
            for packet in source.demux(given):
                if packet.size:
                    packet.pts, packet.dts = packet.pts + turn * length, packet.dts + turn * length
                    packet.stream = made
                    target.mux(packet)
    return long


@pytest.mark.slow
def test_an_hour_takes_no_more_than_its_first_minute(hour: Path) -> None:
    command = [sys.executable, __file__, str(hour)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr
    windows, most = map(float, run.stdout.split())
    print(f"{windows:.0f} windows, {most / 1e6:.1f} MB more than after a minute")
    assert windows == HOUR / 5
    assert most < ALLOWED


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(path: str) -> tuple[int, int]:
    """Number of windows of 5 seconds, and the most bytes by which the process grows after the first minute of video."""
    arch = video_architecture(
        embed_dim=8, num_heads=1, depth=2, stage_starts=(1,), num_frames=8, crop_size=64, expand_in_attention=True
    )
    ready = model_as_built(MViT(arch, 10), sampling_rate=4)
    scoring = scoring_of(ready, [path], Looks(window=5))
    seen: list[int] = []
    ready.model.register_forward_hook(lambda module, given, made: seen.extend([resident()] * len(made)))
    found: list[int] = []
    score(
        scoring,
        [0],
        finished=lambda one: found.append(one.result.top_classes.shape[1]),
        unreadable=lambda video: sys.exit(f"cannot read {video.path}: {video.cause}"),
    )
    assert found == [len(seen)]
    return len(seen), max(seen[12:]) - seen[11]


if __name__ == "__main__":
    print(*measure(sys.argv[1]))
