"""Alarms in a file: their watchers with thresholds, and the samples that they are tried on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import DataError, UsageError
from neurofault.files import read_arrays, write_arrays
from neurofault.study.alarms.alarm_set import HEARTBEATS, PER, AlarmSet
from neurofault.study.alarms.watchers import MOST_THRESHOLD, WATCHER_KINDS, Watcher
from neurofault.study.input_arrays import input_arrays, inputs_of

FORMAT = 1
"""Raised when a file could not be read by an older version."""
_TEXT = "alarms"
_MOST = 1 << 31


def save_alarms(alarms: AlarmSet, path: str | Path) -> None:
    """Write alarms to a file that :func:`load_alarms` reads back.

    >>> import tempfile
    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
    >>> alarms = nf.choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"]).alarms
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nf.save_alarms(alarms, f"{folder}/alarms.npz")
    ...     print(nf.load_alarms(f"{folder}/alarms.npz").watchers == alarms.watchers)
    True

    Args:
        alarms: the alarms.
        path: replaced if it exists; ``.npz`` by custom.

    Raises:
        UsageError: the file cannot be written.
    """
    inputs, arrays = input_arrays(alarms.stream)
    text = {
        "format": FORMAT, "network": alarms.network, "chip": alarms.chip, "window": alarms.window, "timesteps": alarms.timesteps,
        "heartbeat": alarms.heartbeat, "stated": alarms.stated, "vouched": alarms.vouched, "by_class": alarms.by_class, "data": alarms.data,
        "watchers": [[one.kind, one.population, list(one.neurons), one.threshold, one.bias, one.weight] for one in alarms.watchers],
        "inputs": inputs, "samples": len(alarms.stream),
    }  # fmt: skip
    arrays[_TEXT] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    try:
        write_arrays(Path(path), arrays, packed=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def load_alarms(path: str | Path) -> AlarmSet:
    """Read alarms that :func:`save_alarms` wrote.

    >>> load_alarms("missing.npz")
    Traceback (most recent call last):
    neurofault.errors.UsageError: missing.npz: no such file

    Args:
        path: the file.

    Raises:
        UsageError: it is missing, damaged, of another format, or holds what no alarms do; one line.
    """
    try:
        arrays = read_arrays(Path(path))
    except DataError as error:
        raise UsageError(f"{error}") from None
    try:
        return _read(arrays)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        _damaged(path, f"{error}" or type(error).__name__)
    except UsageError as error:
        _damaged(path, str(error))


def _damaged(path: str | Path, why: str) -> NoReturn:
    raise UsageError(f"{path}: not saved alarms, or damaged ones ({' '.join(why.split())[:200]})") from None


def _read(arrays: dict[str, NDArray[np.generic]]) -> AlarmSet:
    if _TEXT not in arrays or arrays[_TEXT].dtype != np.uint8:
        raise ValueError("it has no text of alarms")
    data = json.loads(arrays[_TEXT].tobytes().decode())
    if not isinstance(data, dict) or data.get("format") != FORMAT or isinstance(data["format"], bool):
        raise ValueError("its format is not known; this version reads 1")
    network, chip, origin = (_of(data, name, str) for name in ("network", "chip", "data"))
    window, timesteps, vouched, samples = (_of(data, name, int) for name in ("window", "timesteps", "vouched", "samples"))
    stated, by_class = _of(data, "stated", float), _of(data, "by_class", bool)
    heartbeat = next((each for each in HEARTBEATS if each == data["heartbeat"]), None)
    if heartbeat is None:
        raise ValueError(f"heartbeat is {data['heartbeat']!r:.40}")
    if not 0 < stated <= PER or not all(1 <= one < _MOST for one in (window, timesteps, vouched, samples)):
        raise ValueError("a number is out of range")
    watchers = tuple(_watcher(row) for row in _of(data, "watchers", list))
    stream = inputs_of(data["inputs"], arrays, timesteps, samples)
    if not watchers or len(stream) != samples or samples < window:
        raise ValueError("it has no watchers, or fewer samples than a window")
    return AlarmSet(network, chip, watchers, window, timesteps, heartbeat, stated, vouched, by_class, origin, stream)


def _of(data: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = data[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def _watcher(row: Any) -> Watcher:
    kind, population, neurons, threshold, bias, weight = row
    found = next((each for each in WATCHER_KINDS if each == kind), None)
    if found is None or not isinstance(population, str) or not isinstance(neurons, list) or not neurons:
        raise ValueError(f"a watcher is {row!r:.80}")
    if not all(type(one) is int and abs(one) < _MOST for one in (*neurons, threshold, bias, weight)):
        raise ValueError(f"a watcher is {row!r:.80}")
    made = Watcher(found, population, tuple(neurons), threshold, bias, weight)
    if min(neurons) < 0 or sorted(set(neurons)) != neurons or (made.spiking and not 0 <= threshold <= MOST_THRESHOLD):
        raise ValueError(f"a watcher is {row!r:.80}")
    return made
