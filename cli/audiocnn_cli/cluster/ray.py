"""Ray: a cluster that is started here or joined, and work that Ray Data deals out to its workers.

A worker may die: of a file that brings its decoder down, for want of memory, with its machine. Ray starts another one
and gives it again what the dead one had in hand; what that does then stands in `cluster_worker`.
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
_REMEDY = "start one with `ray start --head`, name its address, or say local"
_CONNECT_SECONDS = 5.0
_LOCAL, _AUTO, _CLIENT = "local", "auto", "ray://"
# Ray tells its makers how it is used, and the terminal how it is, unless it is told not to.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
# A cluster that is started here listens on 127.0.0.1 alone, and knows by a token who may use it.
_LOCAL_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_PACKAGES = ("audiocnn", "audiocnn_cli", "audiocnn_models")


@dataclass(frozen=True)
class Cluster:
    """device: of each worker, `cpu` or `cuda`."""

    address: str
    workers: int
    device: str


def check_address(address: str, device: str = "auto") -> None:
    """UsageError for an address that is none, or a device that Ray does not deal out; before any work is done."""
    if not address.strip():
        raise UsageError('--ray "": an empty address; say local, auto, or HOST:PORT')
    if address.startswith(_CLIENT):
        raise UsageError(
            f"--ray {address}: Ray Data does not work through Ray Client; run the command on a machine of the cluster, "
            "with --ray auto"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f'--device cannot be "{device}" with --ray, which gives each worker its own; use auto, cpu or cuda'
        )
    check_packages("--ray", _NEEDED)


@contextmanager
def connect_ray(address: str, workers: int | None, device: str, terminal: Terminal) -> Iterator[Cluster]:
    """The cluster, for as long as it is needed: one that was started here is shut down, one that was joined is left."""
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
    """Start Ray, or join a cluster. UsageError: neither can be done."""
    import ray

    _check_reachable(address)
    here: dict[str, Any] = {"num_cpus": workers or usable_cores(), "include_dashboard": False}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **(here if address == _LOCAL else {}))
    except Exception as problem:  # noqa: BLE001 - Ray raises many kinds; all mean that there is no cluster
        why = " ".join(str(problem).split()).partition(". ")[0][:200]
        token = "" if address in (_LOCAL, _AUTO) else "; where it asks for a token, set RAY_AUTH_MODE=token"
        raise UsageError(f"--ray {address}: no cluster can be reached ({why}); {_REMEDY}{token}") from None


def _check_reachable(address: str) -> None:
    """UsageError where nobody listens at HOST:PORT; Ray itself would knock for minutes."""
    host, colon, port = address.rpartition(":")
    if address in (_LOCAL, _AUTO) or not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as problem:
        raise UsageError(f"--ray {address}: nobody answers there ({problem}); {_REMEDY}") from None


def _count_workers(address: str, workers: int | None, device: str, resources: dict[str, float]) -> Cluster:
    """How many workers there may be, one a GPU where there are any and they may be used, else one a core."""
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if device == "cuda" and not gpus:
        raise UsageError(f"--device cuda: the cluster has no GPU; use --device cpu (--ray {address})")
    on_gpus = gpus > 0 and device != "cpu"
    most = gpus if on_gpus else cores
    if not most:
        raise UsageError(f"--ray {address}: the cluster has no core for a worker; add a machine to it")
    return Cluster(address, min(workers or most, most), "cuda" if on_gpus else "cpu")


def deal_out(
    cluster: Cluster, works: Sequence[object], worker: type, *args: object, ordered: bool = False
) -> Generator[tuple[int, Any]]:
    """Each work's number and what a worker made of it, as it is done, or `ordered` as they were given.

    A worker is made with the ledger and `args`, once in each process. UsageError: the cluster cannot go on. A bug in a
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
    )  # Ray Data starts actors anew, and does again what they had in hand, without end; the ledger sees to the end
    for row in _ray_errors(cluster, data.iter_rows()):
        answer = pickle.loads(row["answer"])
        if isinstance(answer, Bug):
            raise RuntimeError(f"in a worker: {answer.what}")
        yield int(row["number"]), answer


def _configure_data(ordered: bool) -> None:
    """Ray Data draws and says nothing."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = ordered
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def _ray_errors(cluster: Cluster, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows. UsageError for what Ray raises: workers that cannot begin, a cluster that is gone."""
    place = f"--ray {cluster.address}"
    try:
        yield from rows
    except (AudiocnnError, GeneratorExit):
        raise
    except Exception as problem:  # noqa: BLE001 - as above
        lines = [line for line in str(problem).splitlines() if line.strip()]
        why = " ".join((lines[-1] if lines else type(problem).__name__).split())[:200]
        remedy = "see that audiocnn is installed on its machines, the same version, or go on with --resume"
        raise UsageError(f"{place}: the workers cannot go on ({why}); {remedy}") from None


class _Sink(TextIOBase):
    """What Ray prints: nothing that a user has asked for. With -v it goes to stderr."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.hear = tell

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self.hear(f"ray: {line}")
        return len(text)


@contextmanager
def _redirect_prints(terminal: Terminal) -> Iterator[None]:
    """Ray prints with `print` and to stderr, from its own threads: with -v to stderr, else nowhere."""
    sink = _Sink(terminal.detail)
    with redirect_stdout(sink), redirect_stderr(sink):
        yield


@contextmanager
def _silence_stderr(terminal: Terminal) -> Iterator[None]:
    """Below Python, Ray writes to file descriptor 2."""
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
    """Ray takes SIGTERM over; it goes on to mean what it meant."""
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
    """Workers that are started here find the packages where this process has them, installed or not."""
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
