"""Send a training to Slurm: the command of tools/run_net.py on every node, which goes on where it was after a preemption.

python tools/submit.py --nodes 4 --gpus 8 --hours 72 --cfg configs/Kinetics/MVITV2_S_16x4.yaml DATA.PATH_TO_DATA_DIR /data/k400

Slurm tells a job some time before it ends it. The training then writes a checkpoint, and the job is queued again.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RUN_NET = Path(__file__).resolve().with_name("run_net.py")
# By the signal, with a checkpoint or before there was anything to keep.
STOPPED = (128 + signal.SIGUSR1, -signal.SIGUSR1)
PORTS = range(20000, 30000)  # of jobs that share a machine, by their numbers


@dataclass
class Job:
    """What runs on each node: run_net.py, as a process of its own. Pickled, and called by submitit.

    Attributes:
        arguments: of run_net.py.
        script: run_net.py itself.
        folder: that it is run in.
        pid: of the process, once there is one; 0 before.
    """

    arguments: tuple[str, ...]
    script: str
    folder: str
    pid: int = 0

    def __call__(self) -> int:
        """Run until the end, or until it was told to stop; returns the exit status.

        Raises:
            RuntimeError: it failed, for reasons that it has said.
        """
        import submitit

        command = [sys.executable, self.script, *machine_arguments(submitit.JobEnvironment()), *self.arguments]
        process = subprocess.Popen(command, cwd=self.folder, preexec_fn=_ignore_slurms_signal)
        self.pid = process.pid
        while process.poll() is None:
            time.sleep(0.2)
        if process.returncode not in (0, *STOPPED):
            raise RuntimeError(f"run_net.py ended with status {process.returncode}, see what it said")
        return process.returncode

    def checkpoint(self) -> Any:
        """Called by submitit on the first node when Slurm wants it back: stop, and the same job to be queued again.

        None, which submitit takes for the end, if the training failed at that moment.
        """
        import submitit

        if self.pid:
            try:
                os.kill(self.pid, signal.SIGUSR1)
            except ProcessLookupError:  # it has just ended, and has been waited for
                return None
            # Popen.wait would wait for a lock of the call that this one has interrupted.
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            code = -ended.si_status if ended.si_code == os.CLD_KILLED else ended.si_status
            if code not in (0, *STOPPED):
                return None
        return submitit.helpers.DelayedSubmission(Job(self.arguments, self.script, self.folder))


def _ignore_slurms_signal() -> None:
    """Slurm sends it to all processes of a job, and only submitit knows what to do."""
    import submitit

    signal.signal(submitit.JobEnvironment._usr_sig(), signal.SIG_IGN)


def machine_arguments(environment: Any) -> list[str]:
    """Which machine of how many this is, for run_net.py, from submitit's view of the job; one machine alone needs nothing."""
    if environment.num_nodes == 1:
        return []
    port = PORTS[int("".join(filter(str.isdigit, environment.job_id))) % len(PORTS)]
    return [
        "--num_shards", str(environment.num_nodes), "--shard_id", str(environment.node),
        "--init_method", f"tcp://{environment.hostnames[0]}:{port}",
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Submit, and say the job's number; returns the exit status."""
    args, rest = _parser().parse_known_args(argv)
    if find_spec("submitit") is None:
        print("error: submitit is not installed: pip install 'slowfast_mvit[slurm]'", file=sys.stderr)
        return 2
    if "--cfg" not in rest:
        print("error: no config given: --cfg FILE.yaml, and whatever else run_net.py takes", file=sys.stderr)
        return 2
    if args.local and args.nodes > 1:
        print("error: --local is this machine alone: take --nodes 1", file=sys.stderr)
        return 2
    # A mistake is said now, and not after hours in a queue.
    checked = subprocess.run([sys.executable, str(RUN_NET), "--check", *rest], stdout=subprocess.DEVNULL)
    return checked.returncode or _submit(args, rest)


def _submit(args: argparse.Namespace, rest: Sequence[str]) -> int:
    import submitit

    cluster = "local" if args.local else "slurm"
    try:
        executor = submitit.AutoExecutor(args.folder, cluster=cluster, **{f"{cluster}_max_num_timeout": args.requeues})
        executor.update_parameters(**_resources(args))
        gpus = [] if args.gpus is None else ["NUM_GPUS", str(args.gpus)]
        job = executor.submit(Job((*gpus, *rest), str(RUN_NET), str(Path.cwd())))
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:  # no Slurm here, or it refuses
        advice = "" if args.local else "; submit on a login node of the cluster, or take --local"
        print(f"error: {error}{advice}", file=sys.stderr)
        return 2
    print(f"job {job.job_id}: {job.paths.stderr} says how it goes")
    if not args.local:
        return 0
    # Slurm keeps its jobs; one on this machine is waited for.
    try:
        job.wait()
    except KeyboardInterrupt:
        job.cancel()
        return 130
    if job.exception() is None:
        return 0
    print(f"error: job {job.job_id} failed: see {job.paths.stderr}", file=sys.stderr)
    return 1


def _resources(args: argparse.Namespace) -> dict[str, Any]:
    given = {
        "name": args.name,
        "nodes": args.nodes,
        "tasks_per_node": 1,
        "gpus_per_node": args.gpus or None,
        "cpus_per_task": args.cpus,
        "mem_gb": args.memory,
        "timeout_min": max(round(args.hours * 60), 1),
        "slurm_partition": args.partition,
        "slurm_account": args.account,
        "slurm_signal_delay_s": args.warning,
    }
    return {key: value for key, value in given.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="everything else goes to run_net.py",
        allow_abbrev=False,
    )
    parser.add_argument("--nodes", type=int, default=1, help="machines (1)")
    parser.add_argument(
        "--gpus", type=int, metavar="N", help="GPUs of each, and NUM_GPUS; without it the config's stands"
    )
    parser.add_argument("--cpus", type=int, metavar="N", help="CPU cores of each")
    parser.add_argument("--memory", type=float, metavar="GB", help="memory of each")
    parser.add_argument("--hours", type=float, default=24.0, help="until Slurm ends it, and it is queued again (24)")
    parser.add_argument("--warning", type=int, default=300, metavar="SECONDS", help="told before that (300)")
    parser.add_argument(
        "--requeues", type=int, default=100, metavar="N", help="times that it may run out of time (100)"
    )
    parser.add_argument("--partition", help="of Slurm")
    parser.add_argument("--account", help="of Slurm")
    parser.add_argument("--name", default="mvit", help="of the job (mvit)")
    parser.add_argument(
        "--folder", default="runs/slurm/%j", help="of the job's logs, on a shared disk (runs/slurm/%%j)"
    )
    parser.add_argument("--local", action="store_true", help="on this machine, without Slurm")
    return parser


if __name__ == "__main__":
    sys.exit(main())
