"""One training in a folder: real processes, one of them killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.lock import alone_in
from slowfast_mvit.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.lock import alone_in
with alone_in(Path(sys.argv[1]), World()):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        said = rf"^process {holder.pid} on \S+ trains in {tmp_path}: wait for it or stop it, or set another OUTPUT_DIR$"
        with pytest.raises(UserError, match=said), alone_in(tmp_path, World(), patience=0.3):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    for _ in range(2):  # nobody has to clean up
        with alone_in(tmp_path, World(), patience=5):
            pass


def test_other_ranks_hold_nothing(tmp_path: Path) -> None:
    with alone_in(tmp_path, World(rank=1, size=1)):
        assert not list(tmp_path.iterdir())
