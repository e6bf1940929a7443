"""Huge pages, in processes of their own, since malloc's settings are the process's; and who asks for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast_mvit.config.load import load_config
from slowfast_mvit.engine import huge_pages, loop
from slowfast_mvit.engine.log import ProgressBar
from tests.engine import training

ROOT = Path(__file__).parents[2]


def _environment() -> dict[str, str]:
    """This process's, without what sets malloc up."""
    ours = (huge_pages.SWITCH, "LD_PRELOAD", "GLIBC_TUNABLES")
    return {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("MALLOC_")}


with pytest.MonkeyPatch.context() as patch:
    for name in os.environ.keys() - _environment().keys():
        patch.delenv(name)
    IN_THE_WAY = huge_pages.hindrance()
has_huge_pages = pytest.mark.skipif(bool(IN_THE_WAY), reason=IN_THE_WAY)
BEGIN = """
import os, resource, signal, time
from pathlib import Path
import torch
from slowfast_mvit.engine import huge_pages
from slowfast_mvit.engine.huge_pages import keep_huge_pages, mend_huge_pages

MIB = 2**20

def huge():
    "MiB of this process in huge pages."
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("AnonHugePages:"))

def resident():
    "MiB of this process in memory."
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def written(mib=64):
    return torch.ones(mib * MIB, dtype=torch.uint8)
"""


@pytest.fixture
def unset(monkeypatch):
    """Nothing sets malloc up."""
    for name in os.environ.keys() - _environment().keys():
        monkeypatch.delenv(name)


def run(body: str, **variables: str) -> str:
    """What a new process prints; assertions in it are the test's."""
    found = subprocess.run(
        [sys.executable, "-c", BEGIN + body],
        env=_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@has_huge_pages
def test_tensors_lie_in_huge_pages_and_their_memory_is_kept():
    run("""
assert keep_huge_pages()
heap = huge_pages._Kept.heap
assert keep_huge_pages() and huge_pages._Kept.heap is heap
before = huge()
tensor = written()
assert huge() - before >= 60
del tensor
before = faults()
for _ in range(3):
    written()
assert faults() - before < 500  # 3 * 16,384 small pages, without
""")


@has_huge_pages
@pytest.mark.skipif("[always]" in huge_pages._read(huge_pages._THP / "enabled", ""), reason="they come by themselves")
def test_without_it_memory_is_cleared_anew():
    run("""
written()
before = faults()
for _ in range(3):
    written()
assert faults() - before > 0.8 * 3 * 64 * MIB / os.sysconf("SC_PAGE_SIZE")
""")


@has_huge_pages
def test_threads_compute_in_them_too():
    run("""
from concurrent.futures import ThreadPoolExecutor

def work(mib):
    before = huge()
    tensor = written(mib)
    gained, total = huge() - before, int(tensor.sum())
    del tensor
    before = faults()
    written(mib)
    return gained >= mib - 4, faults() - before < 500, total == mib * MIB

assert keep_huge_pages()
with ThreadPoolExecutor(1) as pool:
    found = list(pool.map(work, (64, 100, 200)))
assert found[0] == (True, True, True) and all(again and right for _, again, right in found)
with ThreadPoolExecutor(4) as pool:
    sums = list(pool.map(lambda mib: int(written(mib).sum()), (16, 100, 200, 300)))
assert sums == [mib * MIB for mib in (16, 100, 200, 300)]
""")


@has_huge_pages
def test_a_thread_that_asks_gets_the_heap_or_nothing():
    run("""
import threading
found = []
thread = threading.Thread(target=lambda: found.append(keep_huge_pages()))
thread.start()
thread.join()
before = huge()
tensor = written()
assert (huge() - before >= 60) is found[0]
""")


FORK = """
def forked():
    "A child that shares the memory of this process until it is killed."
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return child

def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@has_huge_pages
def test_after_a_fork_new_tensors_lie_in_them_at_once():
    run(
        FORK
        + """
assert keep_huge_pages()
kept, temporary = written(16), written()
del temporary
for _ in range(2):
    child = forked()
    before = huge()
    tensor = written(128)
    assert huge() - before >= 120
    del tensor
    end(child)
"""
    )


@has_huge_pages
def test_pages_that_a_fork_makes_small_are_mended_after_some_steps():
    """Also those behind a hole in the heap."""
    mended, right = run(
        FORK
        + """
assert keep_huge_pages()
hole, tensor = written(), written()
del hole
child = forked()
tensor += 1  # which the child still sees as it was
more = written()
small = huge()
for step in range(huge_pages.STEPS_UNTIL_MENDED):
    assert huge() < small + 10
    mend_huge_pages()
print(huge() - small >= 55, int(tensor.min()) == int(tensor.max()) == 2)
mended = huge()
mend_huge_pages()
end(child)
"""
    ).split()
    assert right == "True"
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    assert mended == "True" or (major, minor) < (6, 1)


@has_huge_pages
def test_a_fork_gives_back_what_is_free():
    run("""
assert keep_huge_pages()
temporary = written(256)
del temporary
before = resident()
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
assert resident() < before - 200
""")


@has_huge_pages
def test_forked_workers_give_their_memory_back():
    run("""
assert keep_huge_pages()
child = os.fork()
if child == 0:
    written(24)
    before = resident()
    written(256)
    mend_huge_pages()
    os._exit(0 if resident() < before + 100 and huge_pages._Kept.heap is None else 1)
assert os.waitpid(child, 0)[1] == 0
""")


@has_huge_pages
def test_a_child_may_ask_for_its_own():
    run("""
assert keep_huge_pages()
child = os.fork()
if child == 0:
    before = huge()
    asked = keep_huge_pages()
    tensor = written()
    os._exit(0 if asked and huge() - before >= 60 else 1)
assert os.waitpid(child, 0)[1] == 0
""")


@has_huge_pages
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MALLOC_ARENA_MAX", "2", "malloc is set up by MALLOC_ARENA_MAX"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2", "malloc is set up by GLIBC_TUNABLES"),
        ("SLOWFAST_MVIT_HUGE_PAGES", "0", "SLOWFAST_MVIT_HUGE_PAGES is 0"),
    ],
)
def test_the_users_own_settings_count(variable, value, said):
    assert run("print(keep_huge_pages(), huge_pages.hindrance())", **{variable: value}).strip() == f"False {said}"


@has_huge_pages
def test_a_preloaded_malloc_counts(unset, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")
    assert huge_pages.hindrance() == "LD_PRELOAD brings another malloc"


@has_huge_pages
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_process_whose_addresses_are_limited_stays_as_it_was(limit):
    run(f"""
resource.setrlimit(resource.{limit}, (2**36, 2**36))
assert not keep_huge_pages() and "ulimit" in huge_pages.hindrance()
""")


@has_huge_pages
@pytest.mark.parametrize("refused", ["malloc", "madvise"])
def test_where_the_system_refuses_malloc_works_as_before(refused):
    run(f"""
libc = huge_pages._libc()
setattr(libc, {refused!r}, lambda *arguments: dict(malloc=None, madvise=-1)[{refused!r}])
huge_pages._libc = lambda: libc
assert not keep_huge_pages()
before = resident()
written(256)
assert resident() < before + 100
mend_huge_pages()
""")


@pytest.mark.parametrize(
    ("enabled", "size", "overcommit", "said"),
    [
        ("always [madvise] never", 2**21, "0", ""),
        ("[always] madvise never", 2**21, "1", ""),
        ("always madvise [never]", 2**21, "0", "the kernel gives none, by"),
        ("always [madvise] never", 2**29, "0", "the kernel's are not of 2 MiB, by"),
        ("always [madvise] never", 2**21, "2", "addresses count as memory, by"),
        (None, 2**21, "0", "the kernel gives none, by"),
        ("always [madvise] never", 2**21, None, "addresses count as memory, by"),
    ],
)
def test_what_is_in_the_way(enabled, size, overcommit, said, unset, tmp_path, monkeypatch):
    for name, text in (("enabled", enabled), ("hpage_pmd_size", str(size)), ("overcommit_memory", overcommit)):
        if text is not None:
            (tmp_path / name).write_text(f"{text}\n", encoding="ascii")
    monkeypatch.setattr(huge_pages, "_THP", tmp_path)
    monkeypatch.setattr(huge_pages, "_OVERCOMMIT", tmp_path / "overcommit_memory")
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: ("glibc", "2.36"))
    found = huge_pages.hindrance()
    assert found.startswith(said) and (bool(found) is bool(said) or "ulimit" in found)
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: ("", ""))
    assert huge_pages.hindrance() == "malloc is not glibc's"


class AskedError(Exception):
    """A command has asked for huge pages."""


@pytest.fixture
def asking(monkeypatch):
    """Makes a module's call for huge pages stop it."""

    def stop():
        raise AskedError

    return lambda module: monkeypatch.setattr(module, "keep_huge_pages", stop)


def test_jobs_ask_before_a_model_is_made(asking, tmp_path, monkeypatch):
    from slowfast_mvit.build import job

    monkeypatch.setattr(job, "list_of", lambda config, split: None)
    asking(job)
    config = load_config(ROOT / "configs/Kinetics/MVITV2_S_16x4.yaml", ["NUM_GPUS", "0", "OUTPUT_DIR", str(tmp_path)])
    with pytest.raises(AskedError):
        job.run_job(config)


def test_predictions_and_the_page_ask(asking):
    import predict

    from slowfast_mvit import demo

    for main in (predict, demo):
        asking(main)
    with pytest.raises(AskedError):
        predict.main(["video.mp4", "--weights", "w.pyth", "--output", "out"])
    with pytest.raises(AskedError):
        demo.main(["--weights", "w.pyth"])


def test_training_and_testing_mend_after_each_step(tmp_path, monkeypatch):
    mended = []
    monkeypatch.setattr(loop, "mend_huge_pages", lambda: mended.append(len(mended)))
    training.run(
        tmp_path,
        training.line(),
        iter([training.batch([1.0], [1])] * 6),
        training.plan(num_epochs=2, steps_per_epoch=3, clips_per_step=1),
    )
    assert mended == [0, 1, 2, 3, 4, 5]

    class Evaluator:
        def add(self, batch, scores):
            assert len(mended) == 6 + batch

    bar = ProgressBar("test", 3)
    loop.evaluate(lambda batch: batch, iter(range(3)), Evaluator(), bar)
    bar.close()
    assert len(mended) == 9
