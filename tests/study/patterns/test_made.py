"""Inputs that are made for faults that no sample exposes: what they expose, run by run, for images and for events."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.damage.damage import Damage
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.graph.neurons import Encoding
from neurofault.inputs import Bias, Inputs, Spikes
from neurofault.progress import silent
from neurofault.study.patterns.fault_list import single_faults
from neurofault.study.patterns.made import made_inputs
from neurofault.study.patterns.seen import seen_of

STEPS = 12


def placed(images: bool, how: str = "potential") -> nf.Deployment:
    """Nine lines, six hidden neurons, three outputs."""
    rng = np.random.default_rng(3)
    eyes = nf.Source(encoding=Encoding.for_pixels(1.0, 0.5, STEPS)) if images else nf.Source()
    layers = [
        nf.Population("eyes", (9,), eyes),
        nf.Population("mind", (6,), nf.CubaLif(1.0)),
        nf.Population("hands", (3,), nf.CubaLif(2.0)),
    ]
    return nf.deploy(
        nf.chain("reflex", layers, [nf.Dense(rng.normal(0.1, 0.6, (6, 9))), nf.Dense(rng.normal(0.1, 0.6, (3, 6)))], timesteps=STEPS).with_readout(how), "loihi2", neurons_per_core=3
    )  # fmt: skip


def few(chip: nf.Deployment, images: bool) -> Inputs:
    """Samples that never light the first three lines."""
    rng = np.random.default_rng(5)
    if images:
        pixels = rng.integers(0, 256, (8, 9)).astype(np.uint8)
        pixels[:, :3] = 0
        return chip.encode(pixels)
    events = rng.random((8, STEPS, 9)) < 0.4
    events[:, :, :3] = False
    return Inputs(events=events)


def exposed(chip, faults, which, inputs, observe):
    """Which of some faults some sample exposes, one exact run a fault."""
    healthy = seen_of(observe, ExactEngine(1).run(chip, inputs))
    runs = (ExactEngine(1).run(chip.with_damage(Damage(faults.edits(int(at)))), inputs) for at in which)
    return np.array([bool((seen_of(observe, run) != healthy).any()) for run in runs], bool)


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("observe", ["potential", "class"])
def test_they_expose_what_no_sample_does(images, observe):
    chip = placed(images)
    samples, faults = few(chip, images), single_faults(chip, ["synapse_dead", "neuron_dead", "core_dead"])
    every = np.arange(len(faults))
    left = every[~exposed(chip, faults, every, samples, observe)]
    dark = [at for at in left.tolist() if faults.column("source")[at] in (0, 1, 2) and "mind" in faults.says(at)]
    assert len(dark) == 18  # every synapse of a line that no sample lights
    made = made_inputs(chip, samples, faults, left, observe, 40, 1, 1, silent)
    shows = exposed(chip, faults, left, made, observe)
    assert 0 < len(made) <= 40
    assert shows.mean() > (0.9 if observe == "potential" else 0.6)
    again = made_inputs(chip, samples, faults, left, observe, 40, 1, 2, silent)
    other = made_inputs(chip, samples, faults, left, observe, 40, 2, 1, silent)
    assert flat(made) == flat(again) != flat(other)


def flat(inputs):
    """What is presented, as bytes."""
    (part,) = inputs.parts.values()
    return part.mantissa.tobytes() if isinstance(part, Bias) else part.to_dense().tobytes()


def test_images_that_are_made_are_images():
    chip = placed(True)
    samples, faults = few(chip, True), single_faults(chip, ["core_dead", "neuron_dead"])
    made = made_inputs(chip, samples, faults, np.arange(len(faults)), "potential", 10, 1, 1, silent)
    table = np.asarray(chip.population("eyes").encoding.table)
    assert np.isin(made.parts["eyes"].mantissa, table).all()


def test_a_test_takes_them_where_samples_do_not_reach():
    chip = placed(False)
    samples = few(chip, False)
    plain, helped = (
        nf.choose_patterns(chip, samples, faults=["synapse_dead", "core_dead"], observe="potential", aim="detectable", draws=0, check=None, made=made)
        for made in (0, 30)
    )  # fmt: skip
    assert helped.reached.sum() > plain.reached.sum()
    assert (plain.made, plain.candidates) == (0, 8)
    assert helped.candidates == 8 + helped.made > 8
    assert helped.checked == len(helped.faults)
    indices = helped.patterns.indices
    assert -helped.made <= indices.min() < 0
    mine = indices < 0
    assert helped.patterns.says(int(np.argmax(mine))) == f"made input {-indices[mine][0]}"
    assert helped.patterns.says(int(np.argmin(mine))) == f"sample {indices[~mine][0]} of candidates"
    assert {helped.faults.says(int(at)).split()[0] for at in np.flatnonzero(helped.reached & ~plain.reached)} <= {
        "synapse_dead",
        "core_dead",
    }
    assert nf.apply_patterns(helped.patterns, chip).passed
    dark = nf.inject(chip, nf.faults.SynapseDead(layer="mind", synapses=((0, 0), (1, 1), (2, 2))))
    assert nf.apply_patterns(plain.patterns, dark).passed
    assert not nf.apply_patterns(helped.patterns, dark).passed


def test_where_samples_reach_all_none_is_made():
    chip = placed(False)
    lit = Inputs(events=np.random.default_rng(0).random((60, STEPS, 9)) < 0.4)
    found = nf.choose_patterns(chip, lit, faults=["core_dead"], observe="potential", aim="detectable", draws=0, made=5)
    assert (found.made, found.coverage) == (0, 1.0)


def test_mistakes_get_one_message():
    chip = placed(False)
    with pytest.raises(UsageError, match=r"^made must be at least 0, is -1$"):
        nf.choose_patterns(chip, few(chip, False), made=-1)
    mind = nf.Population("mind", (3,), nf.CubaLif(1.0, bias=np.array([0.2, 0.3, 0.4])))
    alone = nf.deploy(nf.Network("clock", (mind,), (), 6, nf.Readout("mind", "count")), "loihi2")
    with pytest.raises(UsageError, match=r"^network 'clock' has no input: nothing can be made that would be shown to it$"):
        nf.choose_patterns(alone, Inputs(samples=2), faults=["neuron_dead"], observe="potential", aim="detectable", made=3)


def test_events_of_a_sample_and_of_one_that_is_made_stand_side_by_side():
    chip = placed(False)
    found = nf.choose_patterns(
        chip, few(chip, False), faults=["synapse_dead"], observe="potential", aim="detectable", draws=0, made=30
    )
    part = found.patterns.inputs.of("eyes")
    assert isinstance(part, Spikes)
    lit = part.to_dense()[:, :, :3].any(axis=(1, 2))
    assert not lit[found.patterns.indices >= 0].any()
    assert lit[found.patterns.indices < 0].any()
