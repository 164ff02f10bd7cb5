"""`from_snntorch`: a trained snnTorch network that is a chain becomes a :class:`Network`.

What snnTorch 1.0 computes in a step, and what the chip does with it (``Leaky``: ``snntorch/_neurons/leaky.py``, ``Synaptic``: ``synaptic.py``):

- ``Leaky``, reset ``zero``: ``mem ← β·mem·(1 − reset) + input``, spike where ``mem > threshold``: the chip's neuron with ``du`` 4095 and ``dv`` =
  round(4096·(1 − β)). With ``reset_delay`` (snnTorch's default) ``mem`` is shown before it is reset and is zero one step later; the spikes
  are the same with and without.
- ``Synaptic``: ``syn ← α·syn + input``, ``mem ← β·mem + syn``: ``du`` = round(4096·(1 − α)) − 1. Reset ``zero`` with ``reset_delay`` also clears what
  ``mem`` gets in the step after a spike: one refractory step, in which ``syn`` goes on.
- reset ``subtract`` (snnTorch's default): ``mem ← β·mem + input − threshold·reset``, one step after the spike with ``reset_delay``, else at once. Then
  snnTorch takes the threshold off again from a neuron that is still above it, which the chip's does not: such a network differs in the check.
- reset ``none``: spikes change nothing; a last layer of this kind is read by its potential.
- ``RLeaky``, ``RSynaptic``: the neuron's own spikes of the step before come back through ``recurrent``: a connection of the population to itself. Reset ``zero`` with
  ``reset_delay`` is a refractory step in both. ``RSynaptic`` with ``reset_delay=False`` resets nothing at all in snnTorch 1.0: refused.
- ``MaxPool2d`` behind spikes is an OR: a population of its own, one step. ``Alpha`` has no membrane (its potential is the difference of two currents,
  and its reset clears both): refused.

snnTorch usually shows the image itself to the first Linear at each step. On the chip that layer sits behind input neurons that spike, so the
drive is a spike train of the same mean (:class:`neurofault.convert.chain.PixelCoding`). A network that is trained on
spikes takes them as they are with ``coding=None`` and ``Inputs(events=…)``.

What was read is checked against the module's own forward in every step (:mod:`neurofault.convert.check`): once as it is, and once with random spikes in the
place of its neurons' (:mod:`neurofault.convert.listening`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurofault.arrays import as_array, not_finite
from neurofault.convert.asked import PixelCoding
from neurofault.convert.chain import network_of
from neurofault.convert.listening import FORMS, Form, LayerCall, Run, check_flow, listen, of_module, one_step
from neurofault.convert.prelude import prelude_of
from neurofault.convert.running import dtype_of, readable
from neurofault.convert.samples import as_fractions, images_of
from neurofault.convert.snntorch_check import check_network
from neurofault.convert.spiking_layers import SILENT, Operation, windows_of
from neurofault.convert.spiking_neurons import SpikingNeurons, current_decay, membrane_decay
from neurofault.convert.tracing import KNOWN
from neurofault.errors import ConversionError, UnsupportedError
from neurofault.graph import Network
from neurofault.graph.readout import How

_EVENT_RATE = 0.3
_BUDGET = 2**24
"""Values that layers take in a run which is kept, about 300 MB: large networks are heard on fewer samples, down to 2, then in fewer steps."""


def is_snntorch(model: nn.Module) -> bool:
    """Return whether a module holds snnTorch neurons (without importing snnTorch)."""
    return any(_is_neuron(module) for module in model.modules())


def from_snntorch(
    model: nn.Module,
    in_shape: Sequence[int],
    *,
    timesteps: int,
    name: str = "snntorch",
    coding: PixelCoding | None = PixelCoding(),  # noqa: B008  (frozen)
    readout: How | None = None,
    calibration: NDArray[np.generic] | Tensor | None = None,
) -> Network:
    """Convert an snnTorch network: a chain of layers, whose neurons may be recurrent.

    >>> import snntorch
    >>> model = nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero", output=True))
    >>> net = from_snntorch(model, (4,), timesteps=8)
    >>> [(one.name, one.shape) for one in net.populations], net.readout.how
    ([('input', (4,)), ('output', (3,))], 'count')

    The module is called in eval mode with a few samples, and the order in which its layers are called is the chain: ``nn.Sequential`` with
    ``init_hidden=True`` and classes whose ``forward`` loops over the steps, [N, …], [T, N, …] or [N, T, …], are taken. Layers: Leaky, Synaptic, RLeaky, RSynaptic;
    Linear, Conv2d, BatchNorm, AvgPool2d, MaxPool2d of spikes, Flatten, Dropout, Identity; a gain and shift of the sample in front of them (folded into the first). Its parameters, states
    and mode are left as they were.

    Args:
        model: the module, in any floating type, on any device.
        in_shape: of one sample in one step, (n,) or (channels, height, width).
        timesteps: T, steps that a sample will be shown, at least 1.
        name: for display.
        coding: how pixels in [0, 1] become spikes; None: the network takes ``Inputs(events=…)``.
        readout: ``count`` (spikes of the last layer; the default where it fires), ``potential`` (its ``mem`` at the end; it then never fires), or
            ``largest`` or ``mean`` of its ``mem`` over the steps, where it fires and resets as it does (``mem_rec.max(0)``, ``mem_rec.mean(0)``;
            steps of their own: :meth:`neurofault.graph.Network.with_readout`).
        calibration: samples for the check, images [N, …] or events [N, T, …]; None: random ones. The first few are used.

    Raises:
        ConversionError: something in it has no counterpart on the chip, or the converted network does not do what its forward does; the text names the layer.
        UnsupportedError: snnTorch is not installed.
    """
    try:
        import snntorch
    except ImportError as error:
        raise UnsupportedError("snnTorch is not installed; pip install 'neurofault[snntorch]'") from error
    model = readable(model, double=False)  # the spikes of snnTorch are float32, and so are the samples that it runs on
    for each, module in model.named_modules():
        if _is_neuron(module) and not isinstance(module, tuple(getattr(snntorch, kind) for kind in TAKEN)):
            raise ConversionError(f"layer {each!r}: {_why_not(type(module).__name__)}; taken: {', '.join(TAKEN)}")
        if _is_neuron(module) and _is_recurrent(module) and _has_current(module) and not module.reset_delay:
            raise ConversionError(
                f"layer {each!r}: RSynaptic with reset_delay=False is never reset in snnTorch 1.0 (its forward changes a local mem); use reset_delay=True"
            )
    if not is_snntorch(model):
        raise ConversionError(f"network {name!r} holds no snnTorch neurons; use from_torch")
    shape = tuple(int(size) for size in in_shape)
    samples = _samples(shape, timesteps, coding is None, dtype_of(model), calibration)
    form, runs = _heard(model, samples)
    chain = one_step(runs[0].calls, _is_neuron)
    for run in runs:
        if [call.name for call in one_step(run.calls, _is_neuron)] != [call.name for call in chain]:
            raise ConversionError("which layers the network calls depends on the data; only a chain of layers is taken")
        check_flow(chain, run, _is_neuron)
    chain = chain[next((index for index, call in enumerate(chain) if not _may_stand_before(call.module)), 0) :]
    shape = tuple(_entering(runs[0], chain[0]).shape[1:])
    before = prelude_of(chain[0].name, lambda x: _entering(_again(model, x, form, timesteps), chain[0]), runs[0].shown[0])
    neurons: dict[str, SpikingNeurons] = {}
    operations: list[tuple[str, Operation]] = []
    for index, call in enumerate(chain):
        if index and len(call.given.shape) == 2 < len(chain[index - 1].passed.shape):
            operations.append((f"in front of {call.name}", nn.Flatten()))  # written as a function or a view
        if _is_neuron(call.module):
            last = all(isinstance(later.module, SILENT) for later in chain[index + 1 :])
            neurons[call.name] = _neuron(call.name, call.module, last=last, read=last and readout in ("largest", "mean"))
        operations.append((call.name, neurons[call.name] if _is_neuron(call.module) else _operation(call)))
    network = network_of(name, operations, shape, timesteps=timesteps, coding=coding, readout=readout, before=before)
    for run in runs:
        check_network(network, neurons, chain, run, coding)
    return network


def _may_stand_before(module: nn.Module) -> bool:
    """Whether a module in front of the first layer is measured with all that forward does there: a silent one, or one of the user's own."""
    return isinstance(module, SILENT) or not (
        _is_neuron(module) or isinstance(module, KNOWN) or type(module).__module__.startswith("torch.nn")
    )


def _is_neuron(module: nn.Module) -> bool:
    """Whether a module is a neuron of snnTorch, or of a class made of one."""
    kinds = [base for base in type(module).__mro__ if base.__module__.startswith("snntorch._neurons")]
    return bool(kinds) and kinds[0].__name__ != "RecurrentOneToOne"  # a part of one


TAKEN = ("Leaky", "Synaptic", "RLeaky", "RSynaptic")


def _operation(call: LayerCall) -> Operation:
    """Return a layer as the chain takes it: max pooling by its windows."""
    return windows_of(call.name, call.module) if isinstance(call.module, nn.MaxPool2d) else call.module


def _why_not(kind: str) -> str:
    if "LSTM" in kind:
        return f"{kind} cells have gates, which multiply; the chip's neurons only add"
    if kind == "Alpha":
        return "Alpha neurons have no membrane: their potential is the difference of two currents, and their reset clears both"
    return f"{kind} neurons have no counterpart on the chip"


def _neuron(name: str, module: Any, *, last: bool, read: bool) -> SpikingNeurons:
    """Return a Leaky or Synaptic module as the chip's neuron; ``read``: its potentials of all steps count, not its spikes alone."""
    kind = type(module).__name__
    if module.inhibition:
        raise ConversionError(
            f"layer {name!r}: {kind} with inhibition lets one neuron of the layer fire; the chip's neurons do not see each other"
        )
    if module.state_quant:
        raise ConversionError(f"layer {name!r}: {kind} with state_quant has another state grid than the chip; convert without it")
    if not torch.all(module.graded_spikes_factor == 1):
        raise ConversionError(
            f"layer {name!r}: {kind} with graded_spikes_factor: spikes are 0 or 1 here; fold the factor into the next layer's weights"
        )
    reset, delayed = module.reset_mechanism, bool(module.reset_delay)
    synaptic, recurrent = _has_current(module), _is_recurrent(module)
    du = current_decay(name, _array(name, "alpha", module.alpha)) if synaptic else 4095
    threshold = None if reset == "none" and last else _array(name, "threshold", module.threshold)
    if read and delayed and reset == "zero" and (synaptic or recurrent):
        raise ConversionError(
            f"layer {name!r}: {kind} that is reset to zero a step late holds what made it fire until the next step, and the chip's refractory neuron is 0 "
            "there, so the potentials of all steps are not the same; use reset_mechanism='subtract' or 'none', or readout 'count'"
        )
    return SpikingNeurons(
        threshold,
        du,
        membrane_decay(_array(name, "beta", module.beta)),
        reset=reset,
        reset_delay=int(delayed and (reset == "subtract" or (read and reset == "zero"))),  # to zero it is the same spikes at once
        refractory=int(delayed and reset == "zero" and (synaptic or recurrent)),
        recurrent=_back(name, module.recurrent) if recurrent else None,
    )


def _has_current(module: nn.Module) -> bool:
    """Whether a neuron has a synaptic current, which α keeps."""
    return any(name == "alpha" for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)))


def _is_recurrent(module: nn.Module) -> bool:
    return any(base.__name__ in ("RLeaky", "RSynaptic") for base in type(module).__mro__)


def _back(name: str, recurrent: nn.Module) -> nn.Linear | nn.Conv2d | NDArray[np.float64]:
    """Return what a neuron's own spikes are multiplied by."""
    match recurrent:
        case nn.Linear() | nn.Conv2d():
            for field, value in recurrent.named_parameters():
                _array(name, f"recurrent.{field}", value)
            return recurrent
        case _:
            weights: NDArray[np.float64] = _array(name, "V", torch.as_tensor(recurrent.V))
            return weights


def _array(name: str, field: str, value: Tensor) -> Any:
    array = value.detach().double().numpy()
    problem = not_finite(array)
    if problem is not None:
        raise ConversionError(f"layer {name!r}: {field}: {problem}; did training diverge?")
    return array


# --- the module's own run ---------------------------------------------------------------------------------------------------------


def _samples(
    shape: tuple[int, ...], timesteps: int, events: bool, dtype: torch.dtype, calibration: NDArray[np.generic] | Tensor | None
) -> list[Tensor]:
    """Return samples [T, N, …] for a run as it is, and for a probe."""
    count = next(n for n in ((7, 11, 13) if np.prod(shape) <= 1024 else (5, 7, 11)) if n not in (timesteps, *shape))
    made = []
    for seed in (0, 1):
        drawn = torch.rand((timesteps, count, *shape), generator=torch.Generator().manual_seed(seed), dtype=dtype)
        made.append((drawn < _EVENT_RATE).to(dtype) if events else drawn)
    if calibration is None:
        return made
    if events:
        given = torch.from_numpy(as_array(calibration, "calibration").astype(np.float64))
        if tuple(given.shape[1:]) != (timesteps, *shape) or not torch.all((given == 0) | (given == 1)):
            raise ConversionError(f"calibration must be events [N, {timesteps}, {', '.join(map(str, shape))}] of 0 and 1")
        return [given[:count].transpose(0, 1).to(dtype), made[1]]
    images = as_fractions(images_of(calibration)[:count])
    if images[0].size != np.prod(shape):
        raise ConversionError(f"calibration has samples of shape {images.shape[1:]}; the network takes {shape}")
    still = torch.from_numpy(images.reshape(-1, *shape)).to(dtype)
    return [still.expand(timesteps, *still.shape), made[1]]


def _heard(model: nn.Module, samples: Sequence[Tensor]) -> tuple[Form, list[Run]]:
    """Run the module as it is and as a probe, in the first form in which its neurons see the batch of samples.

    Raises:
        ConversionError: it takes the samples in no form.
    """
    plain, probed = samples
    problem: ConversionError | None = None
    for form in FORMS:
        try:
            first = listen(model, _is_neuron, plain[:1] if form == "one step" else plain, form)[0]
            neurons = [call for call in first.calls if _is_neuron(call.module)]
            if not neurons or len(neurons[0].given) != plain.shape[1] or len(neurons[0].given.shape) < 2:
                continue
            steps, count = _affordable(first, plain)
            probe = torch.Generator().manual_seed(2)
            return form, [
                *listen(model, _is_neuron, plain[:steps, :count], form),
                *listen(model, _is_neuron, probed[:steps, :count], form, probe=probe),
            ]
        except ConversionError as error:
            problem = problem or error
    raise problem or ConversionError(
        f"the network's neurons do not see a batch of samples of shape {tuple(plain.shape[2:])}; forward takes [N, …], [T, N, …] or [N, T, …]"
    )


def _affordable(first: Run, samples: Tensor) -> tuple[int, int]:
    """Return (steps, samples) that can be kept in memory; a forward that loops by itself takes all its steps."""
    steps, count = samples.shape[:2]
    a_step = sum(call.given[0].numel() for call in first.calls) // len(first.shown)
    fewer = max(2, min(count, _BUDGET // (a_step * steps)))
    return (max(2, min(steps, _BUDGET // (a_step * fewer))) if len(first.shown) == 1 < steps else steps), fewer


def _again(model: nn.Module, x: Tensor, form: Form, timesteps: int) -> Run:
    """Run the module on samples [N, …], the same in every step."""
    return listen(model, _is_neuron, x.expand(1 if form == "one step" else timesteps, *x.shape), form)[0]


def _entering(run: Run, first: LayerCall) -> Tensor:
    """Return what the first layer takes in the first step, [N, …]."""
    given = of_module(run.calls, first.module)[0].given
    steps, count = run.shown.shape[:2]
    if tuple(given.shape[:2]) == (steps, count) and len(given.shape) > 2:
        return given[0]
    if tuple(given.shape[:2]) == (count, steps) and len(given.shape) > 2 and steps > 1:
        return given[:, 0]
    return given
