"""Published costs of a chip's events: energy and time of each."""

from __future__ import annotations

from pydantic import BaseModel

from neurofault.deploy.quantity import RECORD, Joule, Second, Watt


class EnergyCosts(BaseModel):
    """Energy of each event.

    Attributes:
        synaptic_operation: one spike at one synapse.
        neuron_update_active, neuron_update_inactive: a neuron's step, with and without synaptic input.
        neuron_spike: extra for a neuron's step that ends in a spike.
        spike_in_tile: a spike message inside its tile.
        hop_east_west, hop_north_south: a message's way to the next tile.
        axon_out_message, axon_in_message: a message leaving and entering a core.
        synaptic_write: one learning update of one synapse.
        static_power: of a whole chip, all the time.
    """

    model_config = RECORD

    synaptic_operation: Joule
    neuron_update_active: Joule
    neuron_update_inactive: Joule
    neuron_spike: Joule
    spike_in_tile: Joule
    hop_east_west: Joule
    hop_north_south: Joule
    axon_out_message: Joule
    axon_in_message: Joule
    synaptic_write: Joule
    static_power: Watt


class TimeCosts(BaseModel):
    """Time of each event; the events are those of :class:`EnergyCosts`.

    Attributes:
        barrier_min, barrier_max: synchronisation at the end of a step, with one tile and with all tiles of a chip.
    """

    model_config = RECORD

    synaptic_operation: Second
    neuron_update_active: Second
    neuron_update_inactive: Second
    neuron_spike: Second
    spike_in_tile: Second
    hop_east_west: Second
    hop_north_south: Second
    axon_out_message: Second
    axon_in_message: Second
    synaptic_write: Second
    barrier_min: Second
    barrier_max: Second


class CostTable(BaseModel):
    """One published set of costs.

    Attributes:
        title: what the table is, for display.
        energy, time: costs of each event.
    """

    model_config = RECORD

    title: str
    energy: EnergyCosts
    time: TimeCosts
