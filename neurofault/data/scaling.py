"""Real values of any range on the 256 levels that an input neuron has: scaled by the training range, and what that rounds and cuts off."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.data.splits import DataSet, Split
from neurofault.errors import DataError, NeurofaultWarning, UsageError, nearest

if TYPE_CHECKING:
    from torch import Tensor

Signed = Literal["bias", "lines"]
"""How negative values are shown: by a shift that the first layer's bias takes back, or as a second line each."""

SIGNED: Final[tuple[Signed, ...]] = ("bias", "lines")


@dataclass(frozen=True)
class Scaling:
    """How real values became levels 0 to 255.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> scaling = nf.Scaling.of(np.array([[-1.0, 0.0], [1.0, 0.5]]))
    >>> scaling.levels(np.array([[-1.0, 1.0]])).dtype
    dtype('uint8')

    Attributes:
        low, high: smallest and largest value that is shown: of the training samples, with 0 between or at them.
        signed: ``bias``: level = 255 · (x − low) / (high − low), so ``low`` is no current at all, and a constant in the first layer takes the shift
            back; ``lines``: two lines a value, for what is above 0 and what is below, level = 255 · abs(x) / max(−low, high).
        clipped: share of the test values that lie outside and are cut off.
    """

    low: float
    high: float
    signed: Signed
    clipped: float

    @staticmethod
    def of(values: NDArray[np.generic] | Tensor | Sequence[Any], signed: str = "bias") -> Scaling:
        """Return the scaling by the range of training samples.

        >>> scaling = Scaling.of([[-1.0, 0.5], [3.0, 0.0]])
        >>> scaling.low, scaling.high, scaling.levels([[-1.0, 1.0]]).tolist()
        (-1.0, 3.0, [[0, 128]])

        Args:
            values: training samples [N, …], array or tensor of finite real numbers of any range.
            signed: ``bias`` or ``lines``, as in :class:`Scaling`.

        Raises:
            UsageError: another word, or no array of finite numbers.
            DataError: every value is 0.
        """
        train = _finite(values)
        return _of_range(train, _way(signed), 0.0, "the values")

    @property
    def unit(self) -> float:
        """What 255 levels stand for."""
        return self.high - self.low if self.signed == "bias" else max(-self.low, self.high)

    @property
    def rounding(self) -> float:
        """Most by which a value is rounded: half a level."""
        return self.unit / 510

    def levels(self, values: NDArray[np.generic] | Tensor | Sequence[Any]) -> NDArray[np.uint8]:
        """Return values [N, …], array or tensor, as uint8 [N, …], or [N, 2, …] as two lines: above 0, below 0.

        Warns:
            NeurofaultWarning: values beyond ``low … high`` are cut off, and how many.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> scaling = nf.Scaling.of(np.array([[-1.0, 0.0], [1.0, 0.5]]))
        >>> scaling.levels(np.array([[-1.0, 1.0]])).shape
        (1, 2)

        Raises:
            UsageError: no array of finite numbers.
        """
        given = _finite(values)
        cut = float(np.mean((given < self.low) | (given > self.high))) if given.size else 0.0
        if cut:
            warnings.warn(
                f"{cut:.2%} of the values lie outside {self.low:.6g} … {self.high:.6g}, the training samples' range, and are cut off",
                NeurofaultWarning,
                stacklevel=2,
            )
        return self.cut_off(given)

    def cut_off(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return the same as :meth:`levels`, of finite numbers, and say nothing of what is cut off.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> scaling = nf.Scaling.of(np.array([[-1.0, 0.0], [1.0, 0.5]]))
        >>> int(scaling.cut_off(np.array([1e9])).max())
        255
        """
        exact = values.astype(np.float64)
        if self.signed == "bias":
            return _rounded((exact - self.low) / self.unit)
        return _rounded(np.stack([exact, -exact], axis=1) / self.unit)

    def to_json(self) -> Mapping[str, Any]:
        """Return it as JSON-ready types.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> scaling = nf.Scaling.of(np.array([[-1.0, 0.0], [1.0, 0.5]]))
        >>> sorted(scaling.to_json())
        ['high', 'levels', 'low', 'signed', 'test_values_cut_off']
        """
        return {"low": self.low, "high": self.high, "levels": 256, "signed": self.signed, "test_values_cut_off": self.clipped}

    def __str__(self) -> str:
        """Say it in one line."""
        how = (
            f"values {self.low:.6g} … {self.high:.6g} (the training samples') in 256 levels, rounded by at most {self.rounding:.3g}"
        )
        if self.signed == "lines":
            how += ", two lines a value: above 0 and below"
        elif self.low < 0:
            how += f"; {self.low:.6g} is no current, and the first layer's bias takes the shift back"
        return how + (f"; {self.clipped:.2%} of the test values lie outside and are cut off" if self.clipped else "")


def scaling_of(data: DataSet, signed: str = "bias") -> Scaling | None:
    """Return how a data set's real values are shown; None if they are uint8, which are shown as they are, or events.

    Args:
        data: the data set.
        signed: ``bias`` or ``lines``, see :class:`Scaling`.

    Raises:
        UsageError: another word.
        DataError: every training value is 0.
    """
    way = _way(signed)
    if data.timesteps is not None or data.train.images.dtype == np.uint8:
        return None
    found = _of_range(data.train.images, way, 0.0, data.train.name)
    test = data.test.images.astype(np.float64)
    return replace(found, clipped=float(np.mean((test < found.low) | (test > found.high))))


def _way(signed: str) -> Signed:
    way: Signed | None = next((each for each in SIGNED if each == signed), None)
    if way is None:
        raise UsageError(f"signed: {signed!r}; allowed: {', '.join(SIGNED)}{nearest(signed, SIGNED)}")
    return way


def _of_range(train: NDArray[np.generic], signed: Signed, clipped: float, name: str) -> Scaling:
    low, high = min(0.0, float(train.min())), max(0.0, float(train.max()))
    if low == high:
        raise DataError(f"{name}: every value is 0, so there is nothing to show")
    return Scaling(low, high, signed, clipped)


def _finite(values: object) -> NDArray[np.float64]:
    found = as_array(values, "values")
    if not found.size or found.ndim < 2:
        raise UsageError(f"values have the shape {found.shape}; samples are [N, …], N and every axis at least 1")
    if (problem := not_finite(found)) is not None:
        raise UsageError(f"values: {problem}")
    return found.astype(np.float64)


def in_levels(data: DataSet, scaling: Scaling) -> DataSet:
    """Return a data set of real values with its samples as levels."""
    return replace(data, **{role: _in_levels(data.split(role), scaling) for role in ("train", "validation", "test")})  # type: ignore[arg-type]  # each is a split


def _in_levels(split: Split, scaling: Scaling) -> Split:
    levels = scaling.cut_off(split.images)
    levels.setflags(write=False)
    return replace(split, samples=levels)


def _rounded(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
