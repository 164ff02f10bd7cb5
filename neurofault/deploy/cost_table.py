"""Published costs of a chip's events: energy and time of each."""

from __future__ import annotations

from pydantic import BaseModel, Field

from neurofault.deploy.quantity import RECORD, Joule, Second, Watt, not_given

ESSENTIAL = ("synaptic_operation", "neuron_update_active")
"""Events without whose cost a sum is not known."""


class EnergyCosts(BaseModel):
    """Energy of each event; null: not known, not counted and said so.

    Attributes:
        synaptic_operation: one spike at one synapse.
        neuron_update_active: a neuron's step in which synaptic input arrives.
        neuron_update_inactive: a neuron's step in which none arrives.
        neuron_spike: extra for a neuron's step that ends in a spike.
        spike_in_tile: a spike message inside its tile.
        hop_east_west: a message's way to the next tile of a mesh, in its row.
        hop_north_south: a message's way to the next tile of a mesh, in its column.
        hop_tree: a message's way over one link of a tree, within a chip; left out on other chips.
        hop_inter_chip: a message's way from a chip to the next; left out: the table does not speak of it, and it is not counted.
        axon_out_message: a message that leaves a core.
        axon_in_message: a message that enters a core.
        synaptic_write: one learning update of one synapse.
        static_power: of a whole chip, all the time.
    """

    model_config = RECORD

    synaptic_operation: Joule = not_given()
    neuron_update_active: Joule = not_given()
    neuron_update_inactive: Joule = not_given()
    neuron_spike: Joule = not_given()
    spike_in_tile: Joule = not_given()
    hop_east_west: Joule = not_given()
    hop_north_south: Joule = not_given()
    axon_out_message: Joule = not_given()
    axon_in_message: Joule = not_given()
    synaptic_write: Joule = not_given()
    static_power: Watt = not_given()
    hop_tree: Joule | None = None
    hop_inter_chip: Joule | None = None


class TimeCosts(BaseModel):
    """Time of each event; the events are those of :class:`EnergyCosts`. Null: not known.

    Attributes:
        barrier_min: synchronisation at the end of a step, with one tile in use.
        barrier_max: synchronisation at the end of a step, with all tiles of a chip in use.
    """

    model_config = RECORD

    synaptic_operation: Second = not_given()
    neuron_update_active: Second = not_given()
    neuron_update_inactive: Second = not_given()
    neuron_spike: Second = not_given()
    spike_in_tile: Second = not_given()
    hop_east_west: Second = not_given()
    hop_north_south: Second = not_given()
    axon_out_message: Second = not_given()
    axon_in_message: Second = not_given()
    synaptic_write: Second = not_given()
    barrier_min: Second = not_given()
    barrier_max: Second = not_given()
    hop_tree: Second | None = None
    hop_inter_chip: Second | None = None


class CostTable(BaseModel):
    """One published set of costs.

    Attributes:
        title: what the table is, for display.
        energy, time: costs of each event.
    """

    model_config = RECORD

    title: str
    energy: EnergyCosts = Field(default_factory=EnergyCosts)
    time: TimeCosts = Field(default_factory=TimeCosts)
