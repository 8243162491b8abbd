"""Ray: starting or joining a cluster, and distributing work to its workers with Ray Data.

A worker may die because a file crashes its decoder, because memory runs out, or with its machine. Ray then starts
another worker and gives it the unfinished work again. `worker.py` describes how that worker proceeds.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any

from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.inference.engine import usable_cores
from audiocnn.packages import check_packages
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.cluster.worker import Bug, Ledger

_NEEDED = ("ray", "pandas", "pyarrow")
_REMEDY = "start one with `ray start --head`, give its address, or use local"
_CONNECT_SECONDS = 5.0
_LOCAL, _AUTO, _CLIENT = "local", "auto", "ray://"
# Turns off Ray's usage statistics and its output on the terminal.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
# A cluster that is started here listens only on 127.0.0.1 and requires a token.
_LOCAL_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_PACKAGES = ("audiocnn", "audiocnn_cli", "audiocnn_models")


@dataclass(frozen=True)
class Cluster:
    """A connected cluster. device: of each worker, `cpu` or `cuda`."""

    address: str
    workers: int
    device: str


def check_address(address: str, device: str = "auto") -> None:
    """Raises UsageError, before any work, for an invalid address or a device that Ray cannot assign."""
    if not address.strip():
        raise UsageError('--ray "": the address is empty; use local, auto, or HOST:PORT')
    if address.startswith(_CLIENT):
        raise UsageError(
            f"--ray {address}: Ray Data does not work through Ray Client; run the command on a machine of the cluster, "
            "with --ray auto"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f'--device cannot be "{device}" with --ray, which assigns a device to each worker; use auto, cpu or cuda'
        )
    check_packages("--ray", _NEEDED)


@contextmanager
def connect_ray(address: str, workers: int | None, device: str, terminal: Terminal) -> Iterator[Cluster]:
    """Context with the cluster. At the end, a cluster started here is shut down; one that was joined is not."""
    with _redirect_prints(terminal):
        local = _LOCAL_ENVIRONMENT if address == _LOCAL else {}
        for name, value in (_ENVIRONMENT | local).items():
            os.environ.setdefault(name, value)
        import ray

        ours = not ray.is_initialized()
        if ours:
            with _keep_signals(), _export_packages(), _silence_stderr(terminal):
                _start_ray(address, workers)
        try:
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield _count_workers(address, workers, device, resources)
        finally:
            if ours:
                ray.shutdown()


def _start_ray(address: str, workers: int | None) -> None:
    """Start Ray or join a cluster. Raises UsageError if that fails."""
    import ray

    _check_reachable(address)
    here: dict[str, Any] = {"num_cpus": workers or usable_cores(), "include_dashboard": False}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **(here if address == _LOCAL else {}))
    except Exception as problem:  # noqa: BLE001 - Ray raises many kinds of errors; all mean that there is no cluster
        why = " ".join(str(problem).split()).partition(". ")[0][:200]
        token = "" if address in (_LOCAL, _AUTO) else "; if the cluster requires a token, set RAY_AUTH_MODE=token"
        raise UsageError(f"--ray {address}: cannot connect to a cluster ({why}); {_REMEDY}{token}") from None


def _check_reachable(address: str) -> None:
    """Raises UsageError if nothing listens at HOST:PORT; Ray itself would retry for minutes."""
    host, colon, port = address.rpartition(":")
    if address in (_LOCAL, _AUTO) or not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as problem:
        raise UsageError(f"--ray {address}: nothing answers at this address ({problem}); {_REMEDY}") from None


def _count_workers(address: str, workers: int | None, device: str, resources: dict[str, float]) -> Cluster:
    """The number of workers: one per GPU if there are GPUs and they may be used, else one per core."""
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if device == "cuda" and not gpus:
        raise UsageError(f"--device cuda: the cluster has no GPU; use --device cpu (--ray {address})")
    on_gpus = gpus > 0 and device != "cpu"
    most = gpus if on_gpus else cores
    if not most:
        raise UsageError(f"--ray {address}: the cluster has no CPU core for a worker; add a machine to it")
    return Cluster(address, min(workers or most, most), "cuda" if on_gpus else "cpu")


def deal_out(
    cluster: Cluster, works: Sequence[object], worker: type, *args: object, ordered: bool = False
) -> Generator[tuple[int, Any]]:
    """Yield the number of each work and the answer of a worker, in the order in which they finish, or with `ordered` in
    the order given.

    Each process creates one worker, from the ledger and `args`. Raises UsageError if the cluster fails. A bug in a
    worker is raised here."""
    import ray

    _configure_data(ordered)
    ledger = ray.remote(Ledger).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    rows = [{"number": number, "work": pickle.dumps(work)} for number, work in enumerate(works)]
    workers = min(cluster.workers, len(rows))
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        worker,
        fn_constructor_args=(ledger, workers, *args),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=1 if cluster.device == "cuda" else 0,
    )  # Ray Data restarts actors and repeats their unfinished work without limit; the ledger sets the limit
    for row in _ray_errors(cluster, data.iter_rows()):
        answer = pickle.loads(row["answer"])
        if isinstance(answer, Bug):
            raise RuntimeError(f"in a worker: {answer.what}")
        yield int(row["number"]), answer


def _configure_data(ordered: bool) -> None:
    """Turn off the output of Ray Data."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = ordered
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def _ray_errors(cluster: Cluster, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows. Raises UsageError for errors of Ray: workers that cannot start, a lost cluster."""
    place = f"--ray {cluster.address}"
    try:
        yield from rows
    except (AudiocnnError, GeneratorExit):
        raise
    except Exception as problem:  # noqa: BLE001 - as above
        lines = [line for line in str(problem).splitlines() if line.strip()]
        why = " ".join((lines[-1] if lines else type(problem).__name__).split())[:200]
        remedy = "check that the same version of audiocnn is installed on its machines, or continue with --resume"
        raise UsageError(f"{place}: the workers cannot continue ({why}); {remedy}") from None


class _Sink(TextIOBase):
    """A stream for the output of Ray, which is shown only with -v."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.hear = tell

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self.hear(f"ray: {line}")
        return len(text)


@contextmanager
def _redirect_prints(terminal: Terminal) -> Iterator[None]:
    """Redirect what Ray prints from its own threads: to stderr with -v, else nowhere."""
    sink = _Sink(terminal.detail)
    with redirect_stdout(sink), redirect_stderr(sink):
        yield


@contextmanager
def _silence_stderr(terminal: Terminal) -> Iterator[None]:
    """Silence what Ray's native code writes to file descriptor 2."""
    if terminal.verbose:
        yield
        return
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@contextmanager
def _keep_signals() -> Iterator[None]:
    """Restore the signal handlers, since Ray replaces that of SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _export_packages() -> Iterator[None]:
    """Make workers started here find the same packages as this process, installed or not."""
    homes = {str(Path(sys.modules[name].__path__[0]).parent) for name in _PACKAGES if name in sys.modules}
    before = os.environ.get("PYTHONPATH")
    known = before.split(os.pathsep) if before else []
    os.environ["PYTHONPATH"] = os.pathsep.join([*known, *sorted(homes - set(known))])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
