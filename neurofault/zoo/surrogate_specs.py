"""What a spiking network that is trained on events is made of, and how it is trained; :mod:`neurofault.zoo.surrogate` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LayerSpec:
    """A layer of a spiking network.

    Attributes:
        size: neurons.
        recurrent: whether each also sees the layer's own spikes of the step before.
        tau_v: time constants of the potential that training starts from, in steps: from the first (of the first neuron) to the second, evenly
            on a logarithmic scale; infinity: no leak.
        tau_u: of the current, likewise; 0: no memory.
        fires: whether its neurons spike; only those of the last layer may not.
    """

    size: int
    recurrent: bool = False
    tau_v: tuple[float, float] = (20.0, 20.0)
    tau_u: tuple[float, float] = (0.0, 0.0)
    fires: bool = True


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        loss: ``step``: an answer in every step, labels [N, T], −1 where there is none; ``last``: after the last step, labels [N].
        epochs, batch, learning_rate: of AdamW under a one-cycle schedule; the epoch that is best on the validation samples is kept.
        weight_decay: of the weights.
        clip: largest norm of the gradient.
        seed: of the order of the samples.
    """

    loss: Literal["step", "last"] = "last"
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    seed: int = 2026
