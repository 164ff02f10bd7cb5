"""The stored synapses of a connection, counted: core by core, in the order in which a core stores them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.faults.places import kernel_word, row_starts, shares_kernels, synapse_blocks, synapses_at
from neurofault.graph import Conv, Dense


class StoredNumbers:
    """Between a connection's synapses (source, target) and the numbers of the stored ones that they read.

    Args:
        deployment: the chip.
        connection: its name.

    Attributes:
        blocks: what each core stores.
        firsts: int64 [blocks + 1], number of the first stored synapse of each, and how many there are.
    """

    def __init__(self, deployment: Deployment, connection: str) -> None:
        self._deployment, self._own = deployment, deployment.connection(connection)
        self.blocks = tuple(synapse_blocks(deployment, [connection]))
        self.firsts = np.cumsum([0, *(block.size for block in self.blocks)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.firsts[-1])

    @cached_property
    def cores(self) -> NDArray[np.int64]:
        """Int64 [blocks]: core of each block."""
        return np.array([block.core for block in self.blocks], np.int64)

    def core_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 [k]: where stored synapses are."""
        return self.cores[np.searchsorted(self.firsts, numbers, "right") - 1]

    @cached_property
    def _seat(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Block and place in it of each target neuron."""
        block_of = np.zeros(self._own.synapses.n_out, np.int64)
        place = np.zeros(self._own.synapses.n_out, np.int64)
        for index, block in enumerate(self.blocks):
            block_of[block.neurons], place[block.neurons] = index, np.arange(len(block.neurons))
        return block_of, place

    @cached_property
    def _listed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every synapse as target · n_in + source, sorted, and the number of the stored one that it reads."""
        _, sources, targets, numbers = self.readers(np.arange(len(self)))
        keys = targets * self._own.synapses.n_in + sources
        order = np.argsort(keys, kind="stable")
        return keys[order], numbers[order]

    def of(self, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 [k]: the stored synapse that each of some synapses reads; every pair must be one."""
        synapses = self._own.synapses
        block, place = self._seat
        if isinstance(synapses, Dense):
            width = np.array([len(one.neurons) for one in self.blocks], np.int64)
            return self.firsts[block[targets]] + sources * width[block[targets]] + place[targets]
        if isinstance(synapses, Conv) and shares_kernels(self._deployment):
            return self._kernel_numbers(synapses, sources, targets)
        keys, numbers = self._listed
        return numbers[np.searchsorted(keys, targets * synapses.n_in + sources)]

    def _kernel_numbers(self, conv: Conv, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
        _, height, width = conv.out_shape
        found = np.zeros(len(targets), np.int64)
        word = kernel_word(conv, sources, targets)[1]
        for index, block in enumerate(self.blocks):
            here = self._seat[0][targets] == index
            if here.any():
                channels = np.unique(block.neurons // (height * width))
                words = int(row_starts(self._deployment, block)[1])
                channel = np.searchsorted(channels, targets[here] // (height * width))
                found[here] = self.firsts[index] + channel * words + word[here] % words
        return found

    def readers(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the synapses that read stored ones.

        Args:
            numbers: int64 [k], sorted.

        Returns:
            (which, sources, targets, numbers), int64 [m]: synapse i reads ``numbers[which[i]]``, which is its ``numbers``.
        """
        at = np.searchsorted(self.firsts, numbers, "right") - 1
        found: list[tuple[NDArray[np.int64], ...]] = [(np.empty(0, np.int64),) * 3]
        for index in np.unique(at):
            here = np.flatnonzero(at == index)
            which, sources, targets = synapses_at(self._deployment, self.blocks[index], numbers[here] - self.firsts[index])
            found.append((here[which], sources, targets))
        which, sources, targets = (np.concatenate(column) for column in zip(*found, strict=True))
        return which, sources, targets, numbers[which]

    def rows(self) -> NDArray[np.int64]:
        """Return int64 [len]: the row of each stored synapse, counted over all blocks (an axon's synapses on a core, or a channel's kernel)."""
        counts, before = [], 0
        for block in self.blocks:
            starts = row_starts(self._deployment, block)
            counts.append(before + np.repeat(np.arange(len(starts) - 1), np.diff(starts)))
            before += len(starts) - 1
        return np.asarray(np.concatenate([np.empty(0, np.int64), *counts]), np.int64)
