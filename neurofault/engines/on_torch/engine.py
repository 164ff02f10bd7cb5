"""Engine ``exact`` on a device of torch: the CPU's results, bit for bit, from batches of samples that go through the device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, scores_from
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import STREAM
from neurofault.engines.exact.engine import NOTHING, ExactEngine, RunSheet
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.engines.on_torch.devices import CPU, TORCH_CPU, check_device
from neurofault.errors import EngineError, UnsupportedError, UsageError
from neurofault.graph.law import unknown_feature
from neurofault.inputs import Inputs, State

if TYPE_CHECKING:
    import torch

_COMPARED = 16
_CPU_BYTES = 64 << 20
_SHARE = 0.25
"""Of a device's free memory, which a batch may take."""


@dataclass(frozen=True)
class TorchEngine:
    """Runs a deployment on a device, equal to :class:`neurofault.engines.exact.engine.ExactEngine`, whose name its results carry.

    Up to 16 samples of the first batch of a run, and one of each further batch, are run by the CPU's kernels too and compared. Populations with damage
    of their own that comes and goes in time, is no death of neurons and no change of weights, run on the CPU, step by step; the others here.

    Attributes:
        device: ``cuda``, ``cuda:1`` … or ``torch-cpu`` (:data:`neurofault.engines.on_torch.devices.DEVICES`).
        threads: of the CPU's kernels; None: one for each core that the process may use.
        batch: samples that are on the device at a time; None: what fits. Results do not depend on it.
        name: the engine's.
    """

    device: str
    threads: int | None = None
    batch: int | None = None
    name: str = "exact"

    def __post_init__(self) -> None:
        if self.device == CPU:
            raise UsageError("device cpu is engine exact itself (ExactEngine); of torch: cuda, torch-cpu")
        check_device(self.device)

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the population or connection."""
        from neurofault.engines.on_torch.neurons import FEATURES
        from neurofault.engines.on_torch.products import too_large

        reason = ExactEngine().supports(deployment)
        if reason is not None:
            return reason
        if deployment.reset == "never":
            return f"{STREAM} on device {self.device}"
        for one in deployment.populations:
            if (feature := unknown_feature(one.law, FEATURES)) is not None:
                return f"layer {one.name!r} on device {self.device}: {feature}"
        large = too_large(deployment)
        return None if large is None else f"{large}, on device {self.device}"

    def run(
        self,
        deployment: Deployment,
        inputs: Inputs,
        *,
        record: Collection[str] = (),
        state: State | None = None,
        stop: int | None = None,
    ) -> Activity:
        """Present every sample for T steps (see :class:`neurofault.engines.base.Engine`).

        Raises:
            StalledError: a hung core stops the chip.
            EngineError: the device computes otherwise than the CPU, fails, or has no room for one sample.
            UnsupportedError: a state or a stop is given, or it cannot run the deployment.
            UsageError: an input gets nothing.
        """
        if state is not None or stop is not None:
            raise UnsupportedError(
                f"device {self.device} runs samples as a whole: it takes no state and no stop; allowed: device cpu"
            )
        if (reason := self.supports(deployment)) is not None:
            raise UnsupportedError(f"engine 'exact' cannot run {reason}; allowed: device cpu")
        if not deployment.damage.plain:
            return StepwiseEngine(self).run(deployment, inputs, record=record)
        names = tuple(population.name for population in deployment.populations)
        return self.run_part(deployment, names, inputs.named(deployment.inputs), record)

    def run_part(
        self,
        deployment: Deployment,
        part: Collection[str],
        inputs: Inputs,
        record: Collection[str] = (),
        often: Mapping[str, NDArray[np.uint8]] = NOTHING,
    ) -> Activity:
        """Run some populations, as :meth:`neurofault.engines.exact.engine.ExactEngine.run_part` does; ``often`` is empty, see :meth:`supports`.

        Raises:
            EngineError: as of :meth:`run`.
        """
        import torch

        from neurofault.engines.on_torch.compared import compare
        from neurofault.engines.on_torch.devices import device_of
        from neurofault.engines.on_torch.present import ChipTensors, exact_arithmetic, run_batch

        device, samples = device_of(self.device), len(inputs)
        sheet = RunSheet.blank(deployment, part, samples, record)
        names = [population.name for population in deployment.populations if population.name in part]
        counts = {name: np.zeros(deployment.population(name).size, np.int64) for name in names}
        batch = self.batch or self._fitting(deployment, device)
        with exact_arithmetic(device):
            start = 0
            try:
                chip = ChipTensors.of(deployment, part, device)
            except RuntimeError as error:
                raise self._failed(error) from error
            while start < samples:
                window = slice(start, min(start + batch, samples))
                own, results = inputs[window], sheet.part(window)
                kept = _compared(len(own), first=not start)
                try:
                    found, seen = run_batch(chip, own, results, kept)
                except RuntimeError as error:
                    if batch == 1 or not isinstance(error, torch.cuda.OutOfMemoryError):
                        raise self._failed(error) from error
                    batch = -(-min(batch, samples) // 2)
                    continue
                compare(
                    self.device, deployment, part, own, kept, seen, results, record,
                    first_sample=inputs.first_sample + start, threads=self.threads,
                )  # fmt: skip
                for name, fired in found.items():
                    counts[name] += fired
                start = window.stop
        readout = deployment.readout
        dead = deployment.damage.silent(readout.population, deployment.output.size)
        return Activity(
            scores_from(sheet.potential, sheet.output_counts, readout.how, dead),
            counts,
            sheet.sample_spikes,
            {name: sheet.traces[name] for name in names} if record else {},
        )

    def _failed(self, error: RuntimeError) -> EngineError:
        """Return in one line what torch says of its device."""
        import torch

        if isinstance(error, torch.cuda.OutOfMemoryError):
            return EngineError(f"device {self.device} has no room for this network and one sample of it; allowed: --device cpu")
        return EngineError(f"device {self.device} failed: {str(error).strip().partition(chr(10))[0]}; allowed: --device cpu")

    def _fitting(self, deployment: Deployment, device: torch.device) -> int:
        """Return how many samples fit: a byte a neuron and step of all populations, and 24 of the largest."""
        import torch

        sizes = [population.size for population in deployment.populations]
        room = _CPU_BYTES if self.device == TORCH_CPU else int(_SHARE * torch.cuda.mem_get_info(device)[0])
        return max(1, room // (deployment.timesteps * (sum(sizes) + 24 * max(sizes))))


def exact_on(device: str, threads: int | None = None) -> ExactEngine | TorchEngine:
    """Return engine ``exact`` on a device (:data:`neurofault.engines.on_torch.devices.DEVICES`); ``threads``: of the CPU's kernels.

    Raises:
        UsageError: no such device.
        UnsupportedError: it is not there.
    """
    return ExactEngine(threads) if device == CPU else TorchEngine(device, threads)


def _compared(samples: int, *, first: bool) -> NDArray[np.int64]:
    """Return which samples of a batch are compared: of the first several from its first to its last, of the others the last."""
    number = min(samples, _COMPARED) if first else 1
    return np.unique(np.linspace(samples - 1, 0, number).astype(np.int64))
