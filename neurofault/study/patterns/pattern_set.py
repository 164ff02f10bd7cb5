"""A test as one file: the samples as the chip takes them, what the healthy chip answers, and which chip that is.

The file is a NumPy archive (``.npz``) of plain numbers, nothing packed and nothing pickled, with one JSON text. Whoever has it needs neither the data set nor the
chip's file to show the samples and to compare the answers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief, html_table
from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.digest import digest_of
from neurofault.errors import DataError, UsageError
from neurofault.files import read_arrays, write_arrays
from neurofault.inputs import Inputs
from neurofault.numerals import plural
from neurofault.plotting import COLOURS, axes_or_new
from neurofault.study.input_arrays import input_arrays, inputs_of
from neurofault.study.patterns.seen import OBSERVATIONS, Observe, seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = 1
"""Raised when a file could not be read by an older version."""
_TEXT = "test"
_MOST = 1 << 31


@dataclass(frozen=True, eq=False)
class PatternSet:
    """Samples and the answers of the healthy chip.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> made = nf.choose_patterns(chip, x, faults=["synapse_dead"])
    >>> len(made.patterns), made.patterns.says(0)
    (1, 'sample 1 of candidates')

    Attributes:
        network: its name.
        chip: 32 hexadecimal digits by which the healthy chip is known (:func:`chip_digest`).
        observe: what of an answer is compared.
        faults: kinds of the faults that it was made for.
        data: where the samples are from, in words.
        timesteps: T.
        inputs: the K samples, encoded.
        indices: int64 [K], where each stands in the set it is from; of an input that was made −1, −2 ….
        scores: int64 [K, n_out], of the healthy chip, as of :class:`neurofault.Activity`.
        sample_spikes: int64 [K], likewise.
        exposed: of the faults that matter and that some candidate exposes, how many the first 1, 2 … K samples expose; empty: not known, as of a file of an older version.
        aimed: how many of these faults there are; 0: not known.
    """

    network: str
    chip: str
    observe: Observe
    faults: tuple[str, ...]
    data: str
    timesteps: int
    inputs: Inputs
    indices: NDArray[np.int64]
    scores: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]
    exposed: tuple[int, ...] = ()
    aimed: int = 0

    __repr__ = brief

    def _repr_html_(self) -> str:
        """Return the samples and the healthy chip's answers, as notebooks show them."""
        rows = [(self.says(sample), f"{self.sample_spikes[sample]:,}") for sample in range(len(self))]
        return html_table(
            f"test of {self.network!r} for {', '.join(self.faults)}, compares {self.observe}", ("sample", "spikes"), rows
        )

    def __len__(self) -> int:
        return len(self.indices)

    def says(self, sample: int) -> str:
        """Return in words which sample of the test this is: ``sample 17 of digits/train``, ``made input 2``.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> made = nf.choose_patterns(chip, x, faults=["synapse_dead"])
        >>> made.patterns.says(0)
        'sample 1 of candidates'
        """
        index = int(self.indices[sample])
        return f"sample {index} of {self.data}" if index >= 0 else f"made input {-index}"

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw coverage by the number of samples: the share in percent of the faults that matter, and that some candidate exposes, that the first 1, 2 … samples expose.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> made = nf.choose_patterns(chip, x, faults=["synapse_dead"])
        >>> made.patterns.plot().lines[0].get_xydata().tolist()
        [[0.0, 0.0], [1.0, 100.0]]

        Args:
            axes: of matplotlib, to draw into; None: new ones.

        Returns:
            The axes.

        Raises:
            UsageError: matplotlib is not installed, or the test is from a file of an older version, which does not say what its samples expose.
        """
        if not self.exposed:
            raise UsageError(
                "nothing to draw: the file of this test is of an older version and does not say how many faults its samples expose; choose it anew"
            )
        axes = axes_or_new(axes)
        label = f"{', '.join(self.faults)}: {self.exposed[-1]:,} of {plural(self.aimed, 'fault')}"
        shares = [100 * count / self.aimed for count in (0, *self.exposed)]
        axes.plot(range(len(shares)), shares, marker="o", color=COLOURS[0], label=label)
        axes.set_xlabel("samples of the test, in its order")
        axes.set_ylabel("faults exposed (%)")
        axes.set_ylim(0, 105)
        axes.legend(loc="lower right")
        return axes

    @property
    def answers(self) -> NDArray[np.int64]:
        """What is seen of the healthy chip, int64 [K, k]."""
        return seen(self.observe, self.scores, self.sample_spikes)


def chip_digest(chip: Deployment) -> str:
    """Return 32 hexadecimal digits of all that the healthy chip's answers follow from; where it sits is no part of it, nor what is broken."""
    whole = chip.with_damage(Damage())
    readout = whole.readout
    return digest_of(
        list(whole.populations), list(whole.connections), [readout.population, str(readout)], whole.timesteps, whole.reset
    )


def save_patterns(patterns: PatternSet, path: str | Path) -> None:
    """Write a test to a file that :func:`load_patterns` reads back.

    >>> import tempfile
    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.tile(np.array([[[1, 0]], [[0, 1]]]), (1, 4, 1)))
    >>> made = nf.choose_patterns(chip, shown, faults=["synapse_dead"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nf.save_patterns(made.patterns, f"{folder}/test.npz")
    ...     print(nf.load_patterns(f"{folder}/test.npz").answers.ravel().tolist())
    [1]

    Args:
        patterns: the test.
        path: replaced if it exists; ``.npz`` by custom.

    Raises:
        UsageError: the file cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {
        "indices": patterns.indices,
        "scores": patterns.scores,
        "sample_spikes": patterns.sample_spikes,
    }
    inputs, own = input_arrays(patterns.inputs)
    arrays |= own
    text = {
        "format": FORMAT, "network": patterns.network, "chip": patterns.chip, "observe": patterns.observe, "faults": list(patterns.faults),
        "data": patterns.data, "timesteps": patterns.timesteps, "inputs": inputs, "exposed": list(patterns.exposed), "aimed": patterns.aimed,
    }  # fmt: skip
    arrays[_TEXT] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    try:
        write_arrays(Path(path), arrays)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def load_patterns(path: str | Path) -> PatternSet:
    """Read a test that :func:`save_patterns` wrote.

    >>> load_patterns("missing.npz")
    Traceback (most recent call last):
    neurofault.errors.UsageError: missing.npz: no such file

    Args:
        path: the file.

    Raises:
        UsageError: it is missing, damaged, of another format, or holds what no test does; one line.
    """
    try:
        arrays = read_arrays(Path(path))
    except DataError as error:
        raise UsageError(f"{error}") from None
    try:
        return _read(path, arrays)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        _damaged(path, f"{error}" or type(error).__name__)
    except UsageError as error:
        _damaged(path, str(error).removeprefix(f"{path}: "))


def _damaged(path: str | Path, why: str) -> NoReturn:
    raise UsageError(f"{path}: not a saved test, or a damaged one ({' '.join(why.split())[:200]})") from None


def _read(path: str | Path, arrays: dict[str, NDArray[np.generic]]) -> PatternSet:
    if _TEXT not in arrays or arrays[_TEXT].dtype != np.uint8:
        raise ValueError("it has no text of a test")
    data = json.loads(arrays[_TEXT].tobytes().decode())
    if not isinstance(data, dict) or data.get("format") != FORMAT or isinstance(data["format"], bool):
        raise ValueError("its format is not known; this version reads 1")
    network, chip, observe, origin = (_text(data, name) for name in ("network", "chip", "observe", "data"))
    found = next((each for each in OBSERVATIONS if each == observe), None)
    if found is None:
        raise ValueError(f"observe is {observe!r}")
    timesteps, faults = data["timesteps"], data["faults"]
    if not isinstance(timesteps, int) or isinstance(timesteps, bool) or not 1 <= timesteps < _MOST:
        raise ValueError(f"timesteps is {timesteps!r}")
    if not isinstance(faults, list) or not all(isinstance(name, str) for name in faults):
        raise ValueError("faults are not a list of names")
    indices, spikes = (_whole(arrays, name, 1) for name in ("indices", "sample_spikes"))
    scores = _whole(arrays, "scores", 2)
    inputs = inputs_of(data["inputs"], arrays, timesteps, len(indices))
    if not len(indices) == len(spikes) == len(scores) == len(inputs) or not len(indices) or not scores.shape[1]:
        raise ValueError("its arrays are of different numbers of samples, or empty")
    counts, aimed = data.get("exposed", []), data.get("aimed", 0)
    if not isinstance(counts, list) or not all(type(one) is int for one in (*counts, aimed)):
        raise ValueError("exposed and aimed are not whole numbers")
    if counts and not (
        len(counts) == len(indices) and counts == sorted(counts) and 0 <= counts[0] <= counts[-1] <= aimed and aimed > 0
    ):
        raise ValueError("exposed is not one growing number a sample, up to aimed")
    return PatternSet(network, chip, found, tuple(faults), origin, timesteps, inputs, indices, scores, spikes, tuple(counts), aimed)


def _text(data: dict[str, Any], name: str) -> str:
    if not isinstance(data[name], str):
        raise TypeError(f"{name} is no text")
    return str(data[name])


def _whole(arrays: dict[str, NDArray[np.generic]], name: str, dimensions: int) -> NDArray[np.int64]:
    array = arrays[name]
    if array.dtype != np.int64 or array.ndim != dimensions:
        raise ValueError(f"array {name} is {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)
