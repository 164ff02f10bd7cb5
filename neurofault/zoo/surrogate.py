"""Training of spiking networks on events, with the chip's neurons, by surrogate gradients through time.

How to use it::

    model = SpikingModel(8, (LayerSpec(128, recurrent=True, tau_v=(2, 200)), LayerSpec(6, tau_v=(5, 50), fires=False)), seed=1)
    fit(model, data.train, data.validation, Training(epochs=60, loss="step"), progress=progress)   # labels [N, T]: an answer in every step
    network = network_of(model, "ecg-rnn", data.shape, data.timesteps)   # a neurofault.Network, to be deployed

A layer is all-to-all, with the spikes of the layer before and, if it is recurrent, its own spikes of the step before; the last layer never fires and
is read by its potential (``loss="step"``: in every step, ``"last"``: after the last step). Its neurons are those of
:class:`neurofault.CubaLif`, reset to zero, with decays of each neuron that are whole 4096ths in training already, and are trained too, the rounding
passed straight through (Bengio et al. 2013, arXiv:1308.3432). A spike's derivative is that of a fast sigmoid (Zenke and Ganguli 2018); the reset has none.
Backpropagation goes through all T steps; the loop over the steps is written out by hand, forward and back, because torch's own record of a few small operations in
each of a thousand steps takes several times as long.

The same seed gives the same weights on one kind of processor: one thread, deterministic sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurofault.data.splits import Split
from neurofault.graph import Connection, CubaLif, Dense, Network, Population, Readout, Source
from neurofault.inputs import Spikes
from neurofault.progress import Progress
from neurofault.zoo.hardening import Hits, Strike
from neurofault.zoo.hurt import damaged_loss, read_back
from neurofault.zoo.surrogate_kernels import run_back, run_steps
from neurofault.zoo.surrogate_specs import LayerSpec, Training

_ONE = 4096
SLOPE, DAMPING = 10.0, 0.3
"""Of the surrogate: how steep it is around the threshold, and its height."""
_TRIED = 4
"""Broken networks that are looked at after each epoch."""
_RATE = 0.1
"""Spikes a step of a neuron that initial weights are made for: they give a potential of about the threshold."""


class _Rounded(torch.autograd.Function):
    """Whole numbers, with the gradient of what was rounded."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def _rounded(value: Tensor) -> Tensor:
    return cast(Tensor, _Rounded.apply(value))  # type: ignore[no-untyped-call]  # untyped in torch


class _Steps(torch.autograd.Function):
    """T steps of a layer: (drive [T, N, n], recurrent [n, n] or None, bias, what is kept of u and v [n]) → spikes, and v before the reset, [T, N, n]."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, recurrent: Tensor | None, bias: Tensor, keep_u: Tensor, keep_v: Tensor, fires: bool
    ) -> tuple[Tensor, Tensor]:
        us, vs, spikes = torch.empty_like(drive), torch.empty_like(drive), torch.zeros_like(drive)
        by_source = drive.new_empty(0, drive.shape[2]) if recurrent is None else recurrent.T
        run_steps(
            _plain(drive), _plain(by_source), _plain(bias), _plain(keep_u), _plain(keep_v), fires, _plain(us), _plain(vs), _plain(spikes)
        )  # fmt: skip
        ctx.save_for_backward(us, vs, spikes, recurrent, keep_u, keep_v)
        ctx.fires = fires
        return spikes, vs

    @staticmethod
    def backward(ctx: Any, of_spikes: Tensor, of_v: Tensor) -> tuple[Tensor | None, ...]:
        us, vs, spikes, recurrent, keep_u, keep_v = ctx.saved_tensors
        by_target = us.new_empty(0, us.shape[2]) if recurrent is None else recurrent
        of_drive, of_recurrent = torch.empty_like(us), torch.zeros_like(by_target)
        of_rest = torch.zeros(3, us.shape[2], dtype=torch.float64)
        run_back(
            _plain(of_spikes), _plain(of_v), _plain(us), _plain(vs), _plain(spikes), _plain(by_target), _plain(keep_u), _plain(keep_v),
            ctx.fires, SLOPE, DAMPING, _plain(of_drive), _plain(of_recurrent), _plain(of_rest),
        )  # fmt: skip
        return of_drive, None if recurrent is None else of_recurrent.T, *of_rest.to(us.dtype), None


def _plain(tensor: Tensor) -> NDArray[Any]:
    """Return the numbers of a tensor, row by row."""
    return tensor.detach().contiguous().numpy()


class SpikingLayer(nn.Module):
    """One layer of :class:`SpikingModel`.

    Weights are ``unit`` times what is trained, so that a step of the optimiser is as large beside what it changes for neurons with a long memory, whose
    weights are small, as for those with a short one.
    """

    unit: Tensor

    def __init__(self, fan_in: int, spec: LayerSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.free = nn.Parameter(torch.randn(spec.size, fan_in, generator=generator) / (fan_in * _RATE) ** 0.5)
        own = torch.randn(spec.size, spec.size, generator=generator) / (spec.size * _RATE) ** 0.5 if spec.recurrent else None
        self.own = None if own is None else nn.Parameter(own * 0.5)
        self.rest = nn.Parameter(torch.zeros(spec.size))
        self.raw_u, self.raw_v = _raw(spec.tau_u, spec.size), _raw(spec.tau_v, spec.size)
        keep_u, keep_v = torch.sigmoid(self.raw_u.detach()), torch.sigmoid(self.raw_v.detach())
        self.register_buffer("unit", (1 - keep_u) * (1 - keep_v.clamp(max=0.9999) ** 2).sqrt())

    @property
    def weight(self) -> Tensor:
        """[n, n_in]."""
        return self.free * self.unit[:, None]

    @property
    def recurrent(self) -> Tensor | None:
        """[n, n], or None."""
        return None if self.own is None else self.own * self.unit[:, None]

    @property
    def bias(self) -> Tensor:
        """[n]."""
        return self.rest * self.unit * 0.1

    @property
    def kept(self) -> tuple[Tensor, Tensor]:
        """What is kept of u and of v from step to step, in 4096ths: whole numbers, 0 to 4095 and 1 to 4096, float32 [n]."""
        return _rounded(torch.sigmoid(self.raw_u) * _ONE).clamp(0, _ONE - 1), _rounded(torch.sigmoid(self.raw_v) * _ONE).clamp(
            1, _ONE
        )

    def forward(self, drive: Tensor, recurrent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return spikes and v before the reset, [T, N, n].

        Args:
            drive: Σ w·s of the layer before, likewise.
            recurrent: weights [n, n] in the place of the layer's own; None: those.
        """
        keep_u, keep_v = self.kept
        return cast(
            tuple[Tensor, Tensor],
            _Steps.apply(
                drive, self.recurrent if recurrent is None else recurrent, self.bias, keep_u / _ONE, keep_v / _ONE, self.spec.fires
            ),  # type: ignore[no-untyped-call]  # torch has no types for it
        )


def _raw(taus: tuple[float, float], size: int) -> nn.Parameter:
    """Return the logits of exp(−1/τ); of no memory and of no leak they are ±∞, which no gradient moves."""
    low, high = taus
    if low == high:
        tau = torch.full((size,), float(low))
    else:
        tau = torch.exp(torch.linspace(float(np.log(low)), float(np.log(high)), size))
    return nn.Parameter(torch.logit(torch.exp(-1 / tau)), requires_grad=low > 0 and high < float("inf"))


class SpikingModel(nn.Module):
    """Layers of spiking neurons behind one input of events.

    Args:
        lines: of the input.
        layers: at least one; the last is the readout.
        seed: of the initial weights.

    Attributes:
        peak: largest potential of the readout that training samples gave; 0: untrained.
    """

    peak: Tensor

    def __init__(self, lines: int, layers: Sequence[LayerSpec], *, seed: int) -> None:
        super().__init__()
        self.register_buffer("peak", torch.zeros(()))
        generator = torch.Generator().manual_seed(seed)
        widths = [lines, *(layer.size for layer in layers)]
        self.layers = nn.ModuleList(SpikingLayer(fan_in, spec, generator) for fan_in, spec in zip(widths[:-1], layers, strict=True))

    def forward(self, events: Spikes, draw: Strike | None = None) -> tuple[Tensor, list[Tensor]]:
        """Show N samples; return v of the last layer, [T, N, n_out], and the spikes of the layers before, [T, N, n] each.

        Args:
            events: the samples.
            draw: what is broken: neurons that send nothing, bits that are flipped; None: nothing.
        """
        shape = (events.timesteps, len(events))
        seen: Tensor = _by_step(events)
        sent: list[Tensor] = []
        v = seen
        for place, layer in enumerate(self._layers()):
            weight, recurrent = (layer.weight, None) if draw is None else _broken(layer, draw, place)
            drive = torch.sparse.mm(seen, weight.T) if not place else seen @ weight.T
            spikes, v = layer(drive.reshape(*shape, -1), recurrent)
            if draw is not None and place < len(draw.passed):
                spikes = spikes * torch.from_numpy(draw.passed[place])
            sent.append(spikes)
            seen = spikes
        return v, sent[:-1]

    def _layers(self) -> Iterator[SpikingLayer]:
        return (cast(SpikingLayer, layer) for layer in self.layers)


def _broken(layer: SpikingLayer, draw: Strike, place: int) -> tuple[Tensor, Tensor | None]:
    """Return a layer's weights and recurrent weights as a draw leaves them; dead neurons send nothing to each other."""
    own = layer.recurrent
    inputs = layer.weight.shape[1]
    joined = read_back(layer.weight if own is None else torch.cat([layer.weight, own], 1), draw, place, rows=layer.spec.fires)
    if own is None:
        return joined, None
    alive = torch.from_numpy(draw.alive[place].astype(np.float32)) if place < len(draw.alive) else 1
    return joined[:, :inputs], joined[:, inputs:] * alive


def _by_step(events: Spikes) -> Tensor:
    """Return the events as a sparse matrix [T · N, n_in], a row for each step of each sample."""
    window = slice(int(events.starts[0]), int(events.starts[-1]))
    sample = np.repeat(np.arange(len(events)), np.diff(events.starts))
    rows = events.steps[window].astype(np.int64) * len(events) + sample
    places = torch.from_numpy(np.stack([rows, events.neurons[window].astype(np.int64)]))
    size = (events.timesteps * len(events), events.size)
    return torch.sparse_coo_tensor(places, torch.ones(places.shape[1]), size, check_invariants=False).coalesce()


def fit(
    model: SpikingModel,
    train: Split,
    validation: Split,
    training: Training,
    *,
    hits: Hits | None = None,
    progress: Progress | None = None,
) -> float:
    """Train ``model`` in place on the events of ``train``; return the best accuracy on ``validation``, of the epoch that was kept.

    Args:
        model: untrained.
        train: events to fit.
        validation: events that choose the epoch.
        training: how.
        hits: what it is trained for (:mod:`neurofault.zoo.hurt`); the epoch that is kept is then the best in the mean of the healthy and of broken networks.
        progress: called after every epoch.
    """
    order = torch.Generator().manual_seed(training.seed)
    with _one_thread(), torch.enable_grad():
        optimiser = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=training.weight_decay)
        batches = max(1, len(train) // training.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, training.learning_rate, total_steps=training.epochs * batches, pct_start=0.2
        )
        best, kept = -1.0, deepcopy(model.state_dict())
        for epoch in range(training.epochs):
            shuffled = torch.randperm(len(train), generator=order).numpy()
            for chosen in np.array_split(shuffled, batches):
                answers = partial(_answered, model, train.events.take(chosen), train.labels[chosen], training.loss)
                loss = damaged_loss(answers, hits, len(chosen)) if hits else functional.cross_entropy(*answers(), ignore_index=-1)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
                nn.utils.clip_grad_norm_(model.parameters(), training.clip)
                optimiser.step()
                schedule.step()
            reached = model_accuracy(model, validation, training.loss, training.batch)
            if hits and hits.asked.breaks:
                broken = [model_accuracy(model, validation, training.loss, training.batch, draw) for draw in hits.tried(_TRIED)]
                reached = (reached + float(np.mean(broken))) / 2
            if reached > best:
                best, kept = reached, deepcopy(model.state_dict())
            if progress is not None:
                progress("training", epoch + 1, training.epochs, f"loss {loss.item():.3f}, validation {reached:.2%}")
        model.load_state_dict(kept)
        with torch.no_grad():
            model.peak.copy_(model(train.events[:100])[0].abs().max())
    return best


def model_accuracy(model: SpikingModel, split: Split, loss: str, batch: int = 64, draw: Strike | None = None) -> float:
    """Return the fraction of the labels that are right, of a model that ``draw`` broke; of labels of steps, −1 does not count."""
    right = counted = 0
    with torch.no_grad():
        for start in range(0, len(split), batch):
            window = slice(start, start + batch)
            scores, labels = _answered(model, split.events[window], split.labels[window], loss, draw)
            right += int(((scores.argmax(1) == labels) & (labels >= 0)).sum())
            counted += int((labels >= 0).sum())
    return right / max(counted, 1)


def _answered(
    model: SpikingModel, events: Spikes, labels: NDArray[np.int64], loss: str, draw: Strike | None = None
) -> tuple[Tensor, Tensor]:
    """Return the scores of each answer, [answers, n_out], of a model that ``draw`` broke, and its label."""
    v, _ = model(events, draw)
    if loss == "last":
        return v[-1], torch.from_numpy(np.array(labels))
    return v.flatten(0, 1), torch.from_numpy(np.ascontiguousarray(labels.T)).flatten()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    np.finfo(np.float32), np.finfo(np.float64)  # NumPy looks at the smallest numbers once, and would warn of what follows
    torch.set_flush_denormal(True)  # gradients fade over a thousand steps, and numbers near 0 are slow
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def network_of(model: SpikingModel, name: str, shape: tuple[int, ...], timesteps: int) -> Network:
    """Return a trained model as a graph: ``input``, ``hidden1`` … and ``output``; a recurrent connection has its population's name and ``.rec``.

    Args:
        model: the trained model.
        name: of the network.
        shape: of the lines of the input.
        timesteps: T.
    """
    populations = [Population("input", shape, Source())]
    connections: list[Connection] = []
    before = "input"
    for place, layer in enumerate(model._layers(), 1):
        last = place == len(model.layers)
        own = "output" if last else f"hidden{place}"
        kept_u, kept_v = (each.detach().numpy().astype(np.int32) for each in layer.kept)
        weight, recurrent, bias, threshold = _stretched(layer)
        neuron = CubaLif(threshold, bias, _ONE - 1 - kept_u, _ONE - kept_v)
        connections.append(Connection(own, before, own, Dense(weight)))
        if recurrent is not None:
            connections.append(Connection(f"{own}.rec", own, own, Dense(recurrent)))
        populations.append(Population(own, (layer.spec.size,), neuron))
        before = own
    peak = float(model.peak) or None
    return Network(name, tuple(populations), tuple(connections), timesteps, Readout("output", "potential"), peak)


def _stretched(
    layer: SpikingLayer,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64], NDArray[np.float64] | None]:
    """Return weights, recurrent weights, biases and thresholds.

    A neuron that is reset to zero fires as before if all of these are multiplied by a number of its own; that by which its largest weight becomes 1
    lets its weights take the whole range of the chip's field.
    """
    weight, bias = _array(layer.weight), _array(layer.bias)
    recurrent = None if layer.recurrent is None else _array(layer.recurrent)
    if not layer.spec.fires:
        return weight, recurrent, bias, None
    joined = weight if recurrent is None else np.concatenate([weight, recurrent], axis=1)
    largest = np.maximum(np.abs(joined).max(axis=1), 1e-6)
    return weight / largest[:, None], None if recurrent is None else recurrent / largest[:, None], bias / largest, 1 / largest


def _array(weight: Tensor) -> NDArray[np.float64]:
    return weight.detach().numpy().astype(np.float64)
