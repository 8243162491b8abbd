"""Several processes that train one network: `ProcessGroup` has the rank of this one and communicates with the others.

`torchrun` starts them and sets their ranks in the environment (RANK, WORLD_SIZE, LOCAL_RANK). Each computes its share
of the same batch; torch's DistributedDataParallel averages the gradients. Only the leader, rank 0, reads files, writes
and prints. It sends its results to the others, including errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from audiocnn.errors import AudiocnnError, UsageError

_T = TypeVar("_T")
# While one reads recordings for hours, the others wait. A lost process is noticed by its connection, not by a timeout.
_PATIENCE = timedelta(days=7)
_LOST = ("connection", "peer", "gloo", "nccl", "timed out", "socket", "broken pipe")  # in torch's error messages


@dataclass(frozen=True)
class ProcessGroup:
    """This process among all of a training. local_rank: its number on its machine, which is also that of its GPU."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_leader(self) -> bool:
        return self.rank == 0

    def share(self, total: int) -> range:
        return range(total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size)

    def from_leader(self, work: Callable[[], _T]) -> _T:
        """Call `work` in the leader. Every process returns its result, or raises its error."""
        if self.world_size == 1:
            return work()
        box: list[object] = [None, None]
        if self.is_leader:
            try:
                box = [work(), None]
            except Exception as problem:  # noqa: BLE001 - the others wait for an answer in any case
                box = [None, problem]
        sent = box if box[1] is None or not self.is_leader else [None, _sendable(box[1])]
        distributed.broadcast_object_list(sent, src=0, device=torch.device("cpu"))
        if (failed := box[1] if self.is_leader else sent[1]) is not None:
            assert isinstance(failed, BaseException)
            raise failed
        return box[0] if self.is_leader else sent[0]  # type: ignore[return-value]

    def sum(self, *values: float) -> list[float]:
        if self.world_size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def mean(self, values: Tensor) -> Tensor:
        """The mean, (), over the values of all processes."""
        if self.world_size == 1:
            return values.mean()
        total, count = self.sum(float(values.double().sum()), float(values.numel()))
        return torch.tensor(total / max(1.0, count), dtype=values.dtype, device=values.device)

    def data_parallel(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module, with gradients averaged over all processes."""
        if self.world_size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, [device] if device.type == "cuda" else None)

    def is_first_to_say(self, text: str) -> bool:
        """Whether no other process has reported this: if all find the same problem, one line is enough."""
        if self.world_size == 1 or not distributed.is_initialized():
            return self.is_leader
        try:
            store = distributed.distributed_c10d._get_default_store()
            return int(store.add(f"audiocnn said {text}", 1)) == 1
        except (RuntimeError, AttributeError):
            return self.is_leader


def _sendable(problem: object) -> Exception:
    """The error in a form that can be pickled for other processes."""
    if isinstance(problem, AudiocnnError) or not isinstance(problem, Exception):
        return AudiocnnError(str(problem))
    return problem if type(problem).__module__.startswith("audiocnn") else RuntimeError(str(problem))


def process_group_of(environ: Mapping[str, str]) -> ProcessGroup:
    """The rank of this process from its environment, without connecting. UsageError if the values are inconsistent."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = [environ.get(name, "") for name in names]
    if not given[0] or not given[1]:
        return ProcessGroup()
    rank, world, local = (int(value) if value.isdecimal() else -1 for value in (*given[:2], given[2] or given[0]))
    if not 0 <= rank < world or local < 0:
        said = ", ".join(f"{name}={value}" for name, value in zip(names, given, strict=True))
        raise UsageError(f"{said}: not valid for one of several processes; start them with torchrun")
    return ProcessGroup(rank, world, local)


def join_processes(group: ProcessGroup) -> None:
    """Connect to the other processes: with gloo on CPUs, with NCCL on GPUs."""
    if group.world_size > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE, rank=group.rank, world_size=group.world_size)


def leave_processes() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def is_lost(problem: BaseException) -> bool:
    """Whether an error means that another process was lost."""
    said = str(problem).lower()
    return isinstance(problem, RuntimeError | distributed.DistError) and any(word in said for word in _LOST)


def share_or_one(keys: Sequence[_T], group: ProcessGroup) -> Sequence[_T]:
    """A process's share of a batch. If that is empty, the first key, whose weight is then 0."""
    rows = group.share(len(keys))
    return keys[rows.start : rows.stop] if len(rows) else keys[:1]


SINGLE_PROCESS = ProcessGroup()
