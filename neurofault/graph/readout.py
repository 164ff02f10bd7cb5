"""`Readout`: which population answers, from which steps of a sample, and what of its neurons is the answer."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

from neurofault.errors import ConversionError, UnsupportedError, nearest

How = Literal["potential", "count", "largest", "mean"]


@dataclass(frozen=True)
class Readout:
    """What the answer is read from.

    >>> Readout("output", "mean", (10, 50)).steps(64)
    range(10, 50)

    Attributes:
        population: its name.
        how: what the score of each of its neurons is. ``potential``: ``v`` after a sample's last step; its neurons never fire, as a rule.
            ``count``: how many spikes it sends, ties by ``v`` after the last step that is read. ``largest``: the largest ``v`` after any
            step. ``mean``: the mean of ``v`` over the steps, kept as their sum, a whole number. ``v`` is that after the step, so 0 where
            a neuron that resets to zero fires.
        when: the steps of a sample that are read, first to stop − 1, counted from 0 in the population's own time; None: all. Of
            ``potential`` it is one step, (t, t + 1).

    Raises:
        ConversionError: another ``how``, or steps that are none.
    """

    population: str
    how: How = "potential"
    when: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        title, ways = f"readout of {self.population!r}", get_args(How)
        if self.how not in ways:
            raise ConversionError(f"{title}: how is {', '.join(ways)}, not {self.how!r:.80}{nearest(str(self.how), ways)}")
        if self.when is None:
            return
        given: Any = self.when
        whole = isinstance(given, tuple | list) and all(isinstance(one, Integral) and not isinstance(one, bool) for one in given)
        if not whole or len(given) != 2 or not 0 <= given[0] < given[1]:
            raise ConversionError(
                f"{title}: when is the steps that are read, two whole numbers (first, stop) with 0 <= first < stop, not {given!r:.80}"
            )
        object.__setattr__(self, "when", (int(given[0]), int(given[1])))
        if self.how == "potential" and given[1] - given[0] != 1:
            raise ConversionError(
                f"{title}: potential is v after one step, but when has {given[1] - given[0]}, {given[0]} to {given[1] - 1}; allowed: "
                f"({given[1] - 1}, {given[1]}), or how largest or mean"
            )

    @property
    def usual(self) -> bool:
        """Whether it is v after the last step, or the spikes of all steps."""
        return self.when is None and self.how in ("potential", "count")

    @property
    def potentials(self) -> bool:
        """Whether scores are potentials, or sums of potentials; else they are counts of spikes."""
        return self.how != "count"

    def steps(self, timesteps: int) -> range:
        """Return the steps that are read of a sample of T steps; those after the last for ``potential`` are read over.

        >>> import neurofault as nf
        >>> nf.Readout("hands", "count", (8, 16)).steps(16)
        range(8, 16)
        """
        return range(timesteps) if self.when is None else range(*self.when)

    def beyond(self, timesteps: int) -> str | None:
        """Return None if a sample of T steps has all steps that are read, else what is wrong.

        >>> import neurofault as nf
        >>> nf.Readout("hands", "count", (8, 16)).beyond(12)
        "its readout 'hands' reads steps 8 to 15, but a sample has steps 0 to 11"
        """
        if self.when is None or self.when[1] <= timesteps:
            return None
        return f"its readout {self.population!r} reads steps {self.when[0]} to {self.when[1] - 1}, but a sample has steps 0 to {timesteps - 1}"

    def __str__(self) -> str:
        """As :func:`readout_words` takes it."""
        return self.how if self.when is None else f"{self.how}:{self.when[0]}:{self.when[1]}"


def readout_words(text: str) -> tuple[How, tuple[int, int] | None]:
    """Return what a command line or a campaign says of a readout: how, and when.

    >>> readout_words("largest"), readout_words("mean:10:50")
    (('largest', None), ('mean', (10, 50)))
    >>> readout_words("means")
    Traceback (most recent call last):
    neurofault.errors.ConversionError: readout is count, largest, mean or potential, or one of them with the first step that is read and the first that is not, mean:10:50; not 'means' (did you mean 'mean'?)

    Raises:
        ConversionError: it says none.
    """
    how, *rest = text.split(":")
    bounds = tuple(int(part) for part in rest if part.isascii() and part.isdecimal() and len(part) < 10)
    if how not in get_args(How) or len(rest) not in (0, 2) or len(bounds) != len(rest):
        raise ConversionError(
            "readout is count, largest, mean or potential, or one of them with the first step that is read and the first that is not, "
            f"mean:10:50; not {text!r:.80}{nearest(how, get_args(How))}"
        )
    made = Readout("output", how, (bounds[0], bounds[1]) if rest else None)  # type: ignore[arg-type]  # one of the words
    return made.how, made.when


def usual_readout(readout: Readout, what: str) -> None:
    """Make sure that a readout is v after the last step or the spikes of all steps, for what knows no other.

    Args:
        readout: of a network or a deployment.
        what: what needs it, for the message.

    Raises:
        UnsupportedError: it is another; the text says which.
    """
    if (reason := unusual_readout(readout)) is not None:
        raise UnsupportedError(
            f"{what} takes the potential after a sample's last step or the spikes of all its steps; here {reason}"
        )


def unusual_readout(readout: Readout) -> str | None:
    """Return None if a readout is v after the last step or the spikes of all steps, else what it is."""
    if readout.usual:
        return None
    steps = "all steps" if readout.when is None else f"steps {readout.when[0]} to {readout.when[1] - 1}"
    return f"population {readout.population!r} is read by {readout.how} of {steps}"
