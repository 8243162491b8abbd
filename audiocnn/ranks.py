"""Several processes that train one network: who is who, and what they tell each other.

`torchrun` starts them and says in the environment which one each is (RANK, WORLD_SIZE, LOCAL_RANK). Each makes its
share of the same batch; gradients are averaged by torch's DistributedDataParallel. Rank 0 alone reads what was named,
writes and speaks; what it finds out it hands to the others, errors too. One process alone has nobody to talk to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from audiocnn.errors import AudiocnnError, UsageError

Found = TypeVar("Found")
# While one reads recordings for hours the others wait; who is gone is noticed by its connection, not by the time.
PATIENCE = timedelta(days=7)
LOST = ("connection", "peer", "gloo", "nccl", "timed out", "socket", "broken pipe")  # in what torch says of it


@dataclass(frozen=True)
class Ranks:
    """This process among all. local: its number on its machine, that of its GPU."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def rows(self, total: int) -> range:
        """Which of so many rows are this process's."""
        return range(total * self.rank // self.world, total * (self.rank + 1) // self.world)

    def first(self, work: Callable[[], Found]) -> Found:
        """What rank 0 finds out, in every process; what it raises, too."""
        if self.world == 1:
            return work()
        box: list[object] = [None, None]
        if self.leads:
            try:
                box = [work(), None]
            except Exception as problem:  # noqa: BLE001 - the others wait for an answer, whatever it is
                box = [None, problem]
        sent = box if box[1] is None or not self.leads else [None, sendable(box[1])]
        distributed.broadcast_object_list(sent, src=0, device=torch.device("cpu"))
        if (failed := box[1] if self.leads else sent[1]) is not None:
            assert isinstance(failed, BaseException)
            raise failed
        return box[0] if self.leads else sent[0]  # type: ignore[return-value]

    def total(self, *values: float) -> list[float]:
        """The sums over all processes."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def mean(self, values: Tensor) -> Tensor:
        """The mean of what all processes have, (), as one process with all of it would say."""
        if self.world == 1:
            return values.mean()
        total, count = self.total(float(values.double().sum()), float(values.numel()))
        return torch.tensor(total / max(1.0, count), dtype=values.dtype, device=values.device)

    def together(self, module: nn.Module, device: torch.device) -> nn.Module:
        """A module whose gradients are the mean over all processes."""
        if self.world == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, [device] if device.type == "cuda" else None)

    def says(self, text: str) -> bool:
        """Whether this process is the first to say this: where all find the same fault, one line is enough."""
        if self.world == 1 or not distributed.is_initialized():
            return self.leads
        try:
            store = distributed.distributed_c10d._get_default_store()
            return int(store.add(f"audiocnn said {text}", 1)) == 1
        except (RuntimeError, AttributeError):
            return self.leads


def sendable(problem: object) -> Exception:
    """An error as other processes can take it."""
    if isinstance(problem, AudiocnnError) or not isinstance(problem, Exception):
        return AudiocnnError(str(problem))
    return problem if type(problem).__module__.startswith("audiocnn") else RuntimeError(str(problem))


def ranks_of(environ: Mapping[str, str]) -> Ranks:
    """What the environment says of this process, without joining the others. UsageError: it contradicts itself."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = [environ.get(name, "") for name in names]
    if not given[0] or not given[1]:
        return Ranks()
    rank, world, local = (int(value) if value.isdecimal() else -1 for value in (*given[:2], given[2] or given[0]))
    if not 0 <= rank < world or local < 0:
        said = ", ".join(f"{name}={value}" for name, value in zip(names, given, strict=True))
        raise UsageError(f"{said}: not those of one process of several; start them with torchrun")
    return Ranks(rank, world, local)


def join(ranks: Ranks) -> None:
    """Meet the others. Processor: gloo; GPUs: NCCL."""
    if ranks.world > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE, rank=ranks.rank, world_size=ranks.world)


def leave() -> None:
    """Part from the others, where all went well."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def is_lost(problem: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    said = str(problem).lower()
    return isinstance(problem, RuntimeError | distributed.DistError) and any(word in said for word in LOST)


def rows_or_one(keys: Sequence[Found], ranks: Ranks) -> Sequence[Found]:
    """A process's share of a batch; where there is none for it, the first, which then counts for nothing."""
    rows = ranks.rows(len(keys))
    return keys[rows.start : rows.stop] if len(rows) else keys[:1]
