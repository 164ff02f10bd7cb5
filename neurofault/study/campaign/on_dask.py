"""Trials on a Dask cluster; needs the extra ``dask`` (dask.distributed)."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError
from neurofault.study.campaign.interrupts import without_interrupts
from neurofault.study.campaign.rows import Row
from neurofault.study.campaign.trial import Task, WorkerBench, blank

_BENCHES: dict[str, WorkerBench] = {}
_AHEAD = 4


def run_dask(
    tasks: Iterator[Task | None], chips: bytes, address: str, workers: int, *, patience: Callable[[], bool] = lambda: False
) -> Generator[Row, None, None]:
    """Yield a row for each task, in the order in which they end. A task whose worker is lost goes to another one.

    Args:
        tasks: what to do; None: nothing until the next row is out.
        chips: the pickled chips.
        address: ``tcp://host:port`` of a scheduler; the file that it wrote (``dask scheduler --scheduler-file FILE.json``), a name that ends in ``.json``; or
            ``local`` for ``workers`` processes here.
        workers: processes of ``local``.
        patience: asked between rows; True: take no more tasks and end.

    Raises:
        UsageError: dask.distributed is missing, or there is no scheduler, or its file is not there or is not one.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError:
        raise UsageError("--dask needs dask.distributed: pip install 'neurofault[dask]'") from None
    cluster = None
    if address.endswith(".json"):
        address = _address_in(Path(address))
    try:
        if address == "local":
            with without_interrupts():
                cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            client = Client(cluster)
        else:
            client = Client(address, timeout=10)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"--dask {address}: no scheduler answers ({error})") from None
    try:
        held = client.scatter(chips, broadcast=True)
        name = held.key

        def send(task: Task) -> Any:
            future = client.submit(_row, held, str(name), task, pure=False, retries=3)
            sent[future.key] = task
            return future

        sent: dict[str, Task] = {}
        room = _AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        open_ = as_completed()

        def fill() -> None:
            while len(sent) < room and not patience():
                task = next(tasks, None)
                if task is None:
                    return
                open_.add(send(task))

        fill()
        for future in open_:
            task = sent.pop(future.key)
            if future.status == "finished":
                yield future.result()
            else:
                yield {**blank(task), "status": "died", "message": str(future.exception())}
            fill()
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def _address_in(file: Path) -> str:
    """Return the address of the scheduler that wrote a file.

    Raises:
        UsageError: there is no such file, or no address in it.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["address"]
    except OSError as error:
        raise UsageError(
            f"--dask {file}: {error.strerror}; a scheduler writes it: dask scheduler --scheduler-file {file}"
        ) from None
    except (ValueError, LookupError, TypeError):
        raise UsageError(f"--dask {file}: not the file of a scheduler, which has an address in it") from None
    return str(found)


def _row(chips: bytes, name: str, task: Task) -> Row:
    """Run on a worker: a bench is made once for all trials of a campaign."""
    import socket

    from distributed import get_worker

    if name not in _BENCHES:
        _BENCHES.clear()
        _BENCHES[name] = WorkerBench(pickle.loads(chips))
    return {**_BENCHES[name].row(task), "host": socket.gethostname(), "worker": str(get_worker().name)}
