"""Training for damage: how it is asked for, and which cores and bits of the chip are hit in a batch. NumPy alone; :mod:`neurofault.zoo.hurt` trains.

A network of the zoo is asked for with its hardening behind its name, wherever a network is named::

    mnist-mlp+cores=0.46            in every batch 46 % of the cores that hold hidden neurons are dead (6 of 13 at 8 neurons a core)
    mnist-mlp+bits=1e-3             in every batch each stored bit of a weight is flipped with probability 1e-3
    digits-events-mlp+cores=6,bits=1e-3,seed=7

Dead cores are whole: all neurons that the placement puts on one die together, and nothing is rescaled for those that are left, because nothing is on a chip either
(dropout, which is there to compare with, drops single neurons and rescales the others: Srivastava et al. 2014, JMLR 15).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import from_field, to_field
from neurofault.digest import canonical, digest_of
from neurofault.errors import UnsupportedError, UsageError, nearest
from neurofault.numerals import natural, plural, real
from neurofault.streams import generator, stream_key

HEALTHY, DISTILLED = 0.5, 2.0
"""Weights in the loss of what the healthy network answers (of what the broken one does: the rest), and of how far the broken one's answers are from it.
Chosen on validation samples of MNIST (``docs/hardening.md``)."""


@dataclass(frozen=True)
class Hardening:
    """What a network is trained for.

    Attributes:
        cores: dead in every batch, of the cores that hold hidden neurons: a share below 1, or a whole number of cores; 0: none.
        bits: probability that a stored bit of a weight is flipped in a batch, 0 to 0.5.
        dropout: share of hidden neurons that are dropped, anew for each sample, below 1.
        seed: of the training, in the place of the recipe's; None: the recipe's.

    Raises:
        UsageError: a number out of range.
    """

    cores: float = 0.0
    bits: float = 0.0
    dropout: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.cores < 0 or (self.cores >= 1 and self.cores != int(self.cores)):
            raise UsageError(f"harden: cores must be a share from 0 to below 1, or a whole number of cores, is {self.cores:g}")
        if not 0 <= self.bits <= 0.5:
            raise UsageError(f"harden: bits must be from 0 to 0.5, is {self.bits:g}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"harden: dropout must be from 0 to below 1, is {self.dropout:g}")
        if self.seed is not None and not 0 <= self.seed < 1 << 31:
            raise UsageError(f"harden: seed must be a whole number from 0 to {(1 << 31) - 1}, is {self.seed}")

    def __str__(self) -> str:
        """Return it as it is asked for.

        >>> str(Hardening(cores=0.46, bits=0.001))
        'cores=0.46,bits=0.001'
        """
        said = [
            f"{key}={value:.12g}" for key, value in (("cores", self.cores), ("bits", self.bits), ("dropout", self.dropout)) if value
        ]
        return ",".join([*said, *([] if self.seed is None else [f"seed={self.seed}"])])

    @property
    def breaks(self) -> bool:
        """Whether anything of the chip breaks: dropout and a seed break nothing."""
        return bool(self.cores or self.bits)

    @property
    def changes(self) -> bool:
        """Whether a batch is trained on otherwise than without hardening."""
        return self.breaks or bool(self.dropout)

    def dead(self, cores: int) -> int:
        """Return how many of ``cores`` cores are dead in a batch.

        >>> Hardening(cores=0.46).dead(13), Hardening(cores=6).dead(13)
        (6, 6)

        Raises:
            UsageError: none, or all of them.
        """
        count = round(self.cores * cores) if self.cores < 1 else int(self.cores)
        if not 0 < count < cores:
            raise UsageError(
                f"harden: cores={self.cores:g} is {count} of the {plural(cores, 'core')} that hold hidden neurons; at least one must die and one live: "
                "another number, or fewer neurons a core"
            )
        return count


def hardening_of(text: str, where: str | None = None) -> Hardening:
    """Return what ``KEY=NUMBER[,KEY=NUMBER…]`` asks for.

    >>> hardening_of("cores=0.2,bits=1e-3")
    Hardening(cores=0.2, bits=0.001, dropout=0.0, seed=None)

    Args:
        text: what is said.
        where: it is said, for messages; None: on the command line.

    Raises:
        UsageError: an unknown or repeated key, or no number in its range.
    """
    where = where or f"--harden {text}"
    known = [one.name for one in fields(Hardening)]
    found: dict[str, float | int] = {}
    for part in text.split(","):
        key, equals, number = (each.strip() for each in part.partition("="))
        if key not in known:
            raise UsageError(f"{where}: unknown {key!r}{nearest(key, known)}; allowed: {', '.join(known)}")
        value = natural(number) if key == "seed" else real(number)
        if not equals or value is None:
            raise UsageError(
                f"{where}: {key} takes a {'whole number' if key == 'seed' else 'number'}, as in {key}={'1' if key == 'seed' else '0.2'}"
            )
        if key in found:
            raise UsageError(f"{where}: {key} is said twice")
        found[key] = value
    return Hardening(**found)  # type: ignore[arg-type]  # of each key its own kind of number


def named(name: str) -> tuple[str, Hardening | None]:
    """Return a network's name without its hardening, and that; None where it has none.

    >>> named("mnist-mlp+cores=6"), named("runs/a+b=1.nir"), named("mnist-mlp")
    (('mnist-mlp', Hardening(cores=6.0, bits=0.0, dropout=0.0, seed=None)), ('runs/a+b=1.nir', None), ('mnist-mlp', None))

    Raises:
        UsageError: as :func:`hardening_of`.
    """
    base, plus, asked = name.partition("+")
    if not plus or any(mark in name for mark in (":", "/", "\\")) or name.endswith((".nir", ".net")):
        return name, None
    return base, hardening_of(asked, f"network {name!r}")


@dataclass(frozen=True, eq=False)
class HiddenPlaces:
    """The physical places of a network that is trained for damage.

    Attributes:
        cores: of each hidden population, in the order in which data meet them: the core that each neuron sits on, int [n].
        weight_bits: stored bits a weight; None: the chip stores a weight otherwise than in one field of two's complement.
    """

    cores: tuple[NDArray[np.int32], ...]
    weight_bits: int | None

    @property
    def hidden(self) -> NDArray[np.int32]:
        """Return the cores that hold hidden neurons."""
        return np.unique(np.concatenate(self.cores)) if self.cores else np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class Strike:
    """What is broken in one batch.

    Attributes:
        alive: of each hidden population the neurons on cores that live, bool [n].
        passed: what a neuron's output is multiplied by, float32 [1, n], with dropout [samples, n].
        rate: probability that a stored bit is flipped.
        weight_bits: stored bits a weight.
        seed: of the flips.
    """

    alive: tuple[NDArray[np.bool_], ...]
    passed: tuple[NDArray[np.float32], ...]
    rate: float
    weight_bits: int
    seed: int

    def read_back(self, weight: NDArray[np.float32], layer: int, *, rows: bool) -> NDArray[np.float32]:
        """Return weights as they are read from fields of two's complement of which some bits are flipped; the same in each call.

        Args:
            weight: [n_out, …].
            layer: which of the network's it is of.
            rows: whether the largest weight of each row takes the whole range of the field, or that of all rows.
        """
        rng = np.random.default_rng((self.seed, layer))
        edge = 1 << (self.weight_bits - 1)
        flat = weight.reshape(len(weight), -1)
        largest = np.abs(flat).max(axis=1, keepdims=True) if rows else np.abs(flat).max(keepdims=True)
        unit = np.maximum(largest, np.float32(1e-12)) / np.float32(edge - 1)
        field = to_field(np.rint(flat / unit).astype(np.int64), self.weight_bits, "signed").reshape(-1)
        sites = field.size * self.weight_bits
        struck = rng.choice(sites, rng.binomial(sites, self.rate), replace=False, shuffle=False)
        np.bitwise_xor.at(field, struck // self.weight_bits, np.int64(1) << (struck % self.weight_bits))
        read: NDArray[np.float32] = (from_field(field, self.weight_bits, "signed").reshape(flat.shape) * unit).astype(np.float32)
        return read.reshape(weight.shape)


class Hits:
    """What is hit, batch by batch.

    Args:
        asked: what the network is trained for.
        sites: its places.
        seed: of the draws.

    Raises:
        UsageError: the share of the cores is none or all of them.
        UnsupportedError: bits, of a chip that stores no fields.
    """

    def __init__(self, asked: Hardening, sites: HiddenPlaces, seed: int) -> None:
        self.asked, self.sites, self._rng = asked, sites, generator(seed, "harden")
        self.dead = asked.dead(len(sites.hidden)) if asked.cores else 0
        if asked.bits and sites.weight_bits is None:
            raise UnsupportedError(
                "harden: bits are flipped in weights that are stored in a field each; this chip stores the bits of a weight in places of their own"
            )

    def draw(self, samples: int = 1) -> Strike:
        """Draw what is broken in a batch of ``samples``."""
        killed = self._rng.permutation(self.sites.hidden)[: self.dead]
        alive = tuple(~np.isin(cores, killed) for cores in self.sites.cores)
        passed = tuple(own[None].astype(np.float32) for own in alive)
        if self.asked.dropout:
            left = 1 - self.asked.dropout
            passed = tuple(
                own * (self._rng.random((samples, own.size)) < left).astype(np.float32) / np.float32(left) for own in passed
            )
        return Strike(alive, passed, self.asked.bits, self.sites.weight_bits or 0, int(self._rng.integers(1 << 63)))

    def tried(self, draws: int, seed: int = 0) -> list[Strike]:
        """Return broken chips to measure on: the same draws whenever it is asked, without dropout, which no chip has."""
        other = Hits(replace(self.asked, dropout=0.0), self.sites, stream_key("tried", seed))
        return [other.draw() for _ in range(draws)]


def weights_key(name: str, recipe: str, data: str, harden: tuple[Hardening, HiddenPlaces] | None) -> str:
    """Return by what trained weights are shipped and kept: ``<name>-<recipe>-<data>``, and what they are trained for where that is anything.

    Args:
        name: of the recipe.
        recipe: its digest.
        data: that of its data set.
        harden: what it is trained for, and the places of its neurons.
    """
    return f"{name}-{recipe}-{data[:12]}" + ("" if harden is None else f"-{hardening_digest(*harden)}")


def hardening_digest(asked: Hardening, sites: HiddenPlaces) -> str:
    """Return 12 hexadecimal digits of what determines the weights beside recipe and data: what is asked for and the places that it takes.

    The seed is the recipe's own matter. Cores are numbered in their order, so a placement that moves them as a whole trains the same network.
    """
    ranks = np.unique(np.concatenate(sites.cores), return_inverse=True)[1].tolist() if asked.cores else []
    said = {
        "asked": str(replace(asked, seed=None)),
        "cores": ranks,
        "sizes": [len(one) for one in sites.cores],
        "weight_bits": sites.weight_bits if asked.bits else None,
    }
    return digest_of(canonical({**said, "loss": [HEALTHY, DISTILLED]}))[:12]
