"""What of a data set is shown to a chip: values as bias currents, or events as they are."""

from __future__ import annotations

from neurofault.data.splits import Split, said
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.inputs import Inputs, Spikes
from neurofault.numerals import plural


def shown(chip: Deployment, split: Split) -> Inputs:
    """Return the samples of a split as a chip takes them.

    Args:
        chip: one input population; it says whether it takes values (it has an encoding) or events.
        split: of uint8 values or real numbers in [0, 1], or of events.

    Raises:
        UsageError: it takes the other kind, several inputs, another number of values a sample, or other steps.
    """
    why = why_not(chip, split)
    if why is not None:
        raise UsageError(why)
    if isinstance(split.samples, Spikes):
        return Inputs(events=split.samples)
    return chip.encode(split.samples)


def why_not(chip: Deployment, split: Split) -> str | None:
    """Return why a chip cannot be shown the samples of a split, and what would do; None if it can."""
    if len(chip.inputs) != 1:
        return f"network {chip.name!r} has {len(chip.inputs)} inputs: {', '.join(chip.inputs)}; a data set is for one: run it from Python, with nf.run"
    inputs = chip.population(chip.inputs[0])
    match split.samples:
        case Spikes() as events:
            if inputs.encoding is not None:
                return (
                    f"network {chip.name!r} takes values (its input {inputs.name!r} has an encoding), but {split.name} holds events: {said(events)}; "
                    "give it images or real values, or a network whose input is a Source without encoding"
                )
            if events.size != inputs.size:
                return f"{split.name}: events of {plural(events.size, 'line')}, but input {inputs.name!r} of network {chip.name!r} has {plural(inputs.size, 'neuron')}"
            if events.timesteps != chip.timesteps:
                return f"{split.name}: events of {plural(events.timesteps, 'step')}, but network {chip.name!r} shows a sample for {chip.timesteps}"
        case images:
            if inputs.encoding is None:
                return (
                    f"network {chip.name!r} takes events (its input {inputs.name!r} has no encoding), but {split.name} holds values: {said(images)}; "
                    "give it events, or give its Source an Encoding"
                )
    return None
