"""Cores that each hold one whole population, and whose limits differ (DYNAP-CNN, Speck): the section ``core.layers`` of a profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from neurofault.deploy.quantity import RECORD, Flag, Positive, Quantity, not_given

Each = Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]


class LayerCores(BaseModel):
    """Limits of each core of a chip on which a population is never cut and never shares a core; null: not checked.

    Attributes:
        neurons, synapse_bits: of each core, in the order of their ids.
        biases: of each core, biases that it stores: one an output channel of a convolution, one a neuron of other populations.
        destinations: cores that a core may send to.
        padded: whether channels, rows and columns are fields of an address, so that sizes round up to powers of two (sinabs
            ``DynapcnnLayer.memory_summary``): f·2^(⌈log₂ h⌉+⌈log₂ w⌉) neurons, c·2^(⌈log₂ kh·kw⌉+⌈log₂ f⌉) weights.
        sum_pools: widths of the windows whose spikes a core may send on as those of one place (Speck: 1, 2 and 4): a kernel that is the same all
            over such windows is stored once a window; null: none.
    """

    model_config = RECORD

    neurons: Quantity[Each, Literal["neurons"]] = not_given()
    synapse_bits: Quantity[Each, Literal["bits"]] = not_given()
    biases: Quantity[Each, Literal["biases"]] = not_given()
    destinations: Quantity[Positive, Literal["cores"]] = not_given()
    padded: Flag = not_given()
    sum_pools: Quantity[Each, Literal["1"]] = not_given()

    def lengths(self) -> set[int]:
        """Return for how many cores limits are given."""
        return {len(one.value) for one in (self.neurons, self.synapse_bits, self.biases) if one.value is not None}
