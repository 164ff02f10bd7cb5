"""Synapses of a connection: dense, convolutional, or listed one by one.

Flattened populations are in torch's C, H, W order. A synapse may carry a delay of its own, in steps on top of its connection's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.errors import ConversionError
from neurofault.numerals import plural

SignMode = Literal["mixed", "excitatory", "inhibitory", "signed"]
MOST_DELAY = 63
"""Largest extra delay of a synapse (six bits, Loihi 2)."""


@dataclass(frozen=True, eq=False)
class Dense:
    """All-to-all synapses.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> weights = nf.Dense(np.array([[1.0, 0.0, -0.5], [0.0, 2.0, 0.0]]))
    >>> weights.n_in, weights.n_out
    (3, 2)

    Attributes:
        weight: [n_out, n_in]; float64, or an integer type in a network that carries integers.
        delay: [n_out, n_in] extra steps, int, 0 to 63 (0: only the connection's delay); None for no delays.
    """

    weight: NDArray[np.generic]
    delay: NDArray[np.int64] | None = None

    __repr__ = brief

    @property
    def n_in(self) -> int:
        """Number of source neurons."""
        return int(self.weight.shape[1])

    @property
    def n_out(self) -> int:
        """Number of target neurons."""
        return int(self.weight.shape[0])

    def mistake(self) -> str | None:
        """Return what is wrong with its arrays, or None.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> nf.Dense(np.ones(3)).mistake()
        'weight has the shape (3,); [n_out, n_in] is taken'
        """
        if self.weight.ndim != 2:
            return f"weight has the shape {self.weight.shape}; [n_out, n_in] is taken"
        return None


@dataclass(frozen=True, eq=False)
class Conv:
    """A 2-D convolution as torch computes it (cross-correlation, zero padding).

    >>> import numpy as np
    >>> import neurofault as nf
    >>> one = nf.Conv(np.ones((4, 1, 3, 3)), in_shape=(1, 8, 8))
    >>> one.out_shape
    (4, 6, 6)

    Attributes:
        weight: kernel [c_out, c_in/groups, k_h, k_w]; float64 or an integer type.
        in_shape: (c_in, height, width) of the source population.
        stride, padding, dilation: (vertical, horizontal).
        groups: number of groups; divides c_in and c_out.
        delay: of the kernel's shape, extra steps of every synapse that reads this word, int, 0 to 63; None for no delays.
    """

    weight: NDArray[np.generic]
    in_shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    delay: NDArray[np.int64] | None = None

    __repr__ = brief

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """(c_out, height, width) of the target population."""
        size = [
            (self.in_shape[1 + axis] + 2 * self.padding[axis] - self.dilation[axis] * (self.weight.shape[2 + axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        ]
        return int(self.weight.shape[0]), size[0], size[1]

    @property
    def n_in(self) -> int:
        """Number of source neurons."""
        return math.prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Number of target neurons."""
        return math.prod(self.out_shape)

    def mistake(self) -> str | None:
        """Return what is wrong with its arrays, or None.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> one = nf.Conv(np.ones((4, 1, 3, 3)), in_shape=(1, 8, 8))
        >>> one.mistake() is None
        True
        """
        if self.weight.ndim != 4:
            return f"weight has the shape {self.weight.shape}; [c_out, c_in/groups, k_h, k_w] is taken"
        outputs, per_group = self.weight.shape[:2]
        if self.groups < 1 or outputs % self.groups or per_group * self.groups != self.in_shape[0]:
            return (
                f"a kernel of {outputs} by {per_group} channels in {plural(self.groups, 'group')} does not fit {self.in_shape[0]} input channels; "
                "the groups divide both, and a kernel's second size is c_in/groups"
            )
        return None


@dataclass(frozen=True, eq=False)
class Sparse:
    """Synapses one by one, in the rows of a CSR matrix: the synapses of target i are [starts[i], starts[i + 1]).

    >>> import numpy as np
    >>> import neurofault as nf
    >>> two = nf.Sparse.of(2, 3, np.array([0, 1]), np.array([2, 0]), np.array([0.5, -1.0]))
    >>> two.n_in, two.n_out, two.targets.tolist()
    (3, 2, [0, 1])

    Attributes:
        n_in: number of source neurons.
        starts: int64 [n_out + 1], rising from 0.
        sources: int64 [k], source neuron of each synapse, rising within a row, each pair once.
        weight: [k]; float64 or an integer type. A weight of 0 is stored like any other.
        delay: [k] extra steps, int, 0 to 63; None for no delays.

    Other integers than int64 are taken, and kept as int64.
    """

    n_in: int
    starts: NDArray[np.int64]
    sources: NDArray[np.int64]
    weight: NDArray[np.generic]
    delay: NDArray[np.int64] | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        for name in ("starts", "sources", "delay"):
            held = getattr(self, name)
            if held is not None and held.dtype != np.int64 and held.dtype.kind in "iu":
                object.__setattr__(self, name, held.astype(np.int64))

    @property
    def n_out(self) -> int:
        """Number of target neurons."""
        return len(self.starts) - 1

    @property
    def targets(self) -> NDArray[np.int64]:
        """Int64 [k]: target neuron of each synapse."""
        return np.repeat(np.arange(self.n_out, dtype=np.int64), np.diff(self.starts))

    @classmethod
    def of(
        cls,
        n_out: int,
        n_in: int,
        targets: NDArray[np.integer],
        sources: NDArray[np.integer],
        weight: NDArray[np.generic],
        delay: NDArray[np.integer] | None = None,
    ) -> Sparse:
        """Return synapses given in any order, [k] each, each pair once.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> two = nf.Sparse.of(2, 3, np.array([0, 1]), np.array([2, 0]), np.array([0.5, -1.0]))
        >>> two.sources.tolist(), two.weight.tolist()
        ([2, 0], [0.5, -1.0])
        """
        order = np.lexsort((sources, targets))
        starts = np.searchsorted(targets[order], np.arange(n_out + 1)).astype(np.int64)
        own = None if delay is None else delay[order].astype(np.int64)
        return cls(n_in, starts, sources[order].astype(np.int64), weight[order], own)

    def mistake(self) -> str | None:
        """Return what is wrong with its arrays, or None.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> two = nf.Sparse.of(2, 3, np.array([0, 1]), np.array([2, 0]), np.array([0.5, -1.0]))
        >>> two.mistake() is None
        True
        """
        if self.starts.ndim != 1 or len(self.starts) < 1 or self.starts[0] != 0 or np.any(np.diff(self.starts) < 0):
            return "starts must rise from 0"
        if not len(self.sources) == len(self.weight) == self.starts[-1]:
            return f"starts end at {self.starts[-1]}, but there are {len(self.sources)} sources and {len(self.weight)} weights"
        if self.sources.size and not 0 <= int(self.sources.min()) <= int(self.sources.max()) < self.n_in:
            return f"sources lie in {self.sources.min()} … {self.sources.max()}; allowed: 0 to {self.n_in - 1}"
        keys = self.targets * self.n_in + self.sources
        if np.any(np.diff(keys) <= 0):
            return "sources must rise within a row, each pair of neurons once (Sparse.of sorts them)"
        return None


Synapses = Dense | Conv | Sparse
"""What deployment, faults and engines know. Any other kind is taken as what it lists: see :class:`Listing`."""


class Listing(Protocol):
    """A kind of synapses of one's own: a class that lists them.

    A :class:`~neurofault.graph.populations.Connection` takes it as that list, so each synapse is stored by itself, and everything that takes
    :class:`Sparse` takes it.
    """

    def listed(self) -> Sparse:
        """Return its synapses one by one."""
        ...


def known(synapses: Synapses | Listing) -> Synapses:
    """Return synapses as deployment, faults and engines know them.

    Raises:
        ConversionError: they are of no such kind and do not list themselves.
    """
    lists = callable(getattr(synapses, "listed", None))
    if isinstance(synapses, Dense | Conv | Sparse) and not lists:
        return synapses
    found = synapses.listed() if lists else None  # type: ignore[union-attr]  # lists says so
    if not isinstance(found, Sparse):
        raise ConversionError(
            f"synapses are Dense, Conv or Sparse, or of a class whose method listed() returns a Sparse; these are {type(synapses).__name__}"
        )
    return found


@dataclass(frozen=True)
class Stored:
    """How a connection's integers are to be read, for networks that already carry integers (Lava graphs, exports).

    Attributes:
        weight_exponent: e; one weight unit adds 2**(6 + e) to ``u``; −8 to 16.
        weight_bits: stored bits a weight (Lava ``num_weight_bits``), 1 to 8.
        sign_mode: which signs the stored field can hold.
    """

    weight_exponent: int = 0
    weight_bits: int = 8
    sign_mode: SignMode = "mixed"


def with_weight(synapses: Synapses, weight: NDArray[np.generic]) -> Synapses:
    """Return the same synapses with other weights, of the shape of ``synapses.weight``."""
    return replace(synapses, weight=weight)


def longest_delay(synapses: Synapses) -> int:
    """Return the largest extra delay of a synapse."""
    return 0 if synapses.delay is None else int(synapses.delay.max(initial=0))
