"""What a NIR graph means in steps: every writer's own sense of it, what had to be assumed, and what is refused by name."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import neurofault as nf
from neurofault.convert import nir_graph, nir_network
from neurofault.convert.nir_graph import from_nir
from neurofault.convert.nir_neurons import neuron_of
from neurofault.errors import ConversionError, DataError
from neurofault.graph import Dense

nir = pytest.importorskip("nir")

STEPS = 25
RNG = np.random.default_rng(0)
WEIGHT = np.round(RNG.uniform(-1, 2, (4, 10)) * 64) / 64
EVENTS = RNG.random((5, STEPS, 10)) < 0.3
FIELDS = {
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"), "LI": ("tau", "r", "v_leak"), "IF": ("r", "v_threshold", "v_reset"), "I": ("r",),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"), "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
}  # fmt: skip
USUAL = {"tau": 4.0, "tau_mem": 4.0, "tau_syn": 2.0, "r": 4.0, "w_in": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}


def neurons(kind, n=4, **given):
    values = {field: (USUAL | given)[field] for field in FIELDS[kind]}
    return getattr(nir, kind)(**{field: np.broadcast_to(np.asarray(value, float), (n,)).copy() for field, value in values.items()})


def graph(*nodes, shape=(10,), metadata=None):
    nodes = (nir.Input(np.array(shape)), *nodes, nir.Output(np.array([4])))
    names = ["input", *(f"n{index}" for index in range(1, len(nodes) - 1)), "output"]
    return nir.NIRGraph(
        dict(zip(names, nodes, strict=True)), list(itertools.pairwise(names)), metadata=metadata or {}, type_check=False
    )


def simple(kind, weight=WEIGHT, shape=(10,), metadata=None, **given):
    return graph(nir.Linear(weight), neurons(kind, len(weight), **given), shape=shape, metadata=metadata)


def counts(network):
    return nf.run(nf.deploy(network), nf.Inputs(events=EVENTS)).activity.spike_counts["output"].tolist()


def own(keep_v=1.0, gain=1.0, keep_i=0.0, threshold=1.0):
    """Spikes of neurons that the test computes itself."""
    i, v, found = np.zeros((5, 4)), np.zeros((5, 4)), np.zeros(4, int)
    for t in range(STEPS):
        i = keep_i * i + EVENTS[:, t] @ WEIGHT.T
        v = keep_v * v + gain * i
        fired = v > threshold
        found += fired.sum(axis=0)
        v = np.where(fired, 0, v)
    return found.tolist()


def events(**more):
    return {"timesteps": STEPS, "coding": None} | more


# --- what writers mean ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 1e-6])
def test_a_step_that_nothing_depends_on_is_refused(dt):
    with pytest.raises(ConversionError) as refused:
        from_nir(simple("IF", r=1.0), dt=dt, **events())
    assert str(refused.value) == (
        f"graph: dt {dt:g} is given, and no node has a time constant, a resistance other than 1 or a Delay: the network counts steps, and its weights are "
        "those of a step; leave dt (--dt) out"
    )


@pytest.mark.parametrize("dt", [None, 1.0, 1e-3, 1e-4, 1e-6])
def test_an_integrator_with_resistance_1_counts_whatever_the_step_is(dt):
    network = from_nir(simple("IF", r=1.0, metadata=None if dt is None else {"dt": dt}), **events())
    assert counts(network) == own()
    said = "node 'n2': IF with r 1 counts, v + I a step, and dt does not enter (so do snnTorch, norse, sinabs)"
    assert (said in network.notes) == (dt not in (None, 1.0))


@pytest.mark.parametrize("dt", [1e-3, 1e-4])
def test_an_integrator_with_resistance_1_over_dt_counts_too(dt):
    """What spikingjelly writes."""
    assert counts(from_nir(simple("IF", r=1 / dt), dt=dt, **events())) == own()
    assert counts(from_nir(simple("IF", r=0.5 / dt), dt=dt, **events())) == own(gain=0.5)


def test_a_network_without_time_constants_needs_no_step():
    network = from_nir(simple("IF", r=0.5), **events())
    assert network.notes[0] == "time step 1 (no node has a time constant)"
    assert counts(network) == own(gain=0.5)
    assert from_nir(graph(nir.Linear(WEIGHT)), **events()).readout.how == "potential"
    with pytest.raises(ConversionError) as refused:
        from_nir(simple("IF", r=1e4))
    assert str(refused.value) == (
        "graph: node 'n2': IF with resistance 10000 and no time step; some writers (spikingjelly) write 1/dt: pass dt (--dt) 0.0001 for them, or 1"
    )
    assert counts(from_nir(simple("IF", r=1e4), dt=1e-4, **events())) == own()


def test_norses_lif_cell_takes_each_spike_whole():
    """norse 1.1 writes τ = 1e-3/τ_inv and w_in = 1, and computes i ← i + I; v += 1e-3·τ_mem_inv·(i − v); i −= 1e-3·τ_syn_inv·i."""
    node = {"tau_mem": 1e-3 / 250, "tau_syn": 1e-3 / 500, "r": 1.0, "w_in": 1.0}
    network = from_nir(simple("CubaLIF", **node), dt=1e-6, **events())
    assert counts(network) == own(0.75, 0.25, 0.5)
    assert (
        "node 'n2': CubaLIF with w_in 1 at dt 1e-06 is norse's LIFCell: each spike adds its whole weight to the current"
        in network.notes
    )
    seconds = {"tau_mem": 4e-3, "tau_syn": 2e-3, "r": 1.0, "w_in": 1.0}
    network = from_nir(simple("CubaLIF", **seconds), dt=1e-3, **events())
    assert counts(network) == own(0.75, 0.25 * 0.5, 0.5)
    assert network.notes[-1] == (
        "node 'n2': CubaLIF with w_in 1: by NIR's equation a spike adds 0.5 of its weight to the current (dt/tau_syn); where its writer meant the whole "
        "weight, w_in should be tau_syn/dt"
    )
    assert counts(from_nir(simple("CubaLIF"), dt=1.0, **events())) == own(0.75, 1.0, 0.5)


def test_infinite_time_constants_are_no_leak(tmp_path):
    """What snnTorch writes for β = 1."""
    assert counts(from_nir(simple("LIF", tau=np.inf, r=np.inf), dt=1e-4, **events())) == own()
    nir.write(tmp_path / "no_leak.nir", simple("LIF", tau=np.inf, r=np.inf))
    assert counts(from_nir(tmp_path / "no_leak.nir", dt=1e-4, **events())) == own()
    some = from_nir(simple("LIF", tau=[np.inf, 4, 4, np.inf], r=[np.inf, 4, 4, np.inf]), dt=1.0, **events())
    assert some.populations[1].neuron.dv.tolist() == [0, 1024, 1024, 0]
    assert counts(from_nir(simple("CubaLIF", tau_mem=np.inf, r=np.inf), dt=1.0, **events())) == own(1.0, 1.0, 0.5)
    assert from_nir(simple("LI", tau=np.inf, r=np.inf), dt=1.0, **events()).populations[1].neuron.dv == 0
    for given in ({"tau": np.inf}, {"r": np.inf}):
        with pytest.raises(ConversionError) as refused:
            from_nir(simple("LIF", **given), dt=1.0)
        values = USUAL | given
        assert str(refused.value) == (
            f"graph: node 'n2': LIF with tau {values['tau']:g} and r {values['r']:g}; both are infinite (no leak) or none: what is added in a step is "
            "r·dt/tau"
        )


def test_a_leak_voltage_acts_behind_the_synaptic_current():
    network = from_nir(simple("CubaLIF", v_leak=0.2), dt=1.0, **events())
    assert np.allclose(network.populations[1].neuron.bias, 0.2 / 4)


def test_what_was_assumed_stands_in_the_notes():
    network = from_nir(simple("LIF", metadata={"dt": 1.0}))
    assert network.notes == (
        "time step 1 (from the file's metadata)",
        "reset to zero and at most one spike a step for each neuron; NIR does not say whether its writer subtracts the threshold instead (--nir-reset subtract)",
        "a pixel of 1 is shown as 0.5 spikes a step, each worth 2",
    )
    network = from_nir(simple("LIF", tau=3e4, r=3e4), dt=1.0, **events())
    assert network.notes[0] == "time step 1 (as given)"
    assert network.notes[2:] == (
        "inputs are events: an input spikes at most once a step and counts as 1",
        "node 'n2': a leak of 3.33333e-05 a step becomes 0 (the chip's decays are multiples of 1/4096)",
    )
    current = graph(neurons("IF", 10, r=1.0), nir.Linear(WEIGHT), neurons("LI"))
    assert from_nir(current, dt=1.0).notes[2] == "a pixel of 1 is a constant current of 1 into the neurons at the input"


@pytest.mark.parametrize(
    ("shape", "nodes", "sample"),
    [
        ((25, 10), (nir.Linear(WEIGHT), neurons("LIF")), (10,)),
        ((25, 2, 5), (nir.Flatten(np.array([25, 2, 5]), 1, -1), nir.Linear(WEIGHT), neurons("LIF")), (10,)),
        ((25, 1, 4, 4), (nir.Conv2d((4, 4), np.ones((1, 1, 3, 3)), 1, 0, 1, 1, np.zeros(1)), neurons("LIF", 1)), (1, 4, 4)),
    ],
)  # fmt: skip
def test_a_time_axis_in_front_of_a_sample_is_left_out_and_said(shape, nodes, sample):
    network = from_nir(graph(*nodes, shape=shape), dt=1.0, coding=None)
    assert network.timesteps == 25
    assert network.populations[0].size == np.prod(sample)
    assert network.notes[-1].startswith("the input's first axis, 25, is taken for time: a sample has the shape ")
    assert from_nir(graph(*nodes, shape=(1, *shape[1:])), dt=1.0, coding=None).timesteps == 32


# --- what is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in FIELDS.items() for field in fields])
@pytest.mark.parametrize("value", [np.nan, [1, 1, np.nan, 1]])
def test_a_parameter_that_is_nan_is_refused_by_its_node(kind, field, value):
    with pytest.raises(ConversionError) as refused:
        from_nir(simple(kind, **{field: value}), dt=1.0)
    assert str(refused.value) == f"graph: node 'n2': {kind} with {field} nan: not finite; did training diverge?"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["Linear", "Affine", "bias", "Conv2d", "kernel bias"])
def test_weights_and_biases_that_are_not_finite_are_refused_by_their_node(place, value):
    bad, field = np.ones(4), "weight" if place in ("Linear", "Affine", "Conv2d") else "bias"
    bad[2] = value
    node = {
        "Linear": lambda: nir.Linear(np.outer(bad, np.ones(10))), "Affine": lambda: nir.Affine(np.outer(bad, np.ones(10)), np.ones(4)),
        "bias": lambda: nir.Affine(WEIGHT, bad), "Conv2d": lambda: nir.Conv2d((5, 2), bad.reshape(4, 1, 1, 1), 1, 0, 1, 1, np.zeros(4)),
        "kernel bias": lambda: nir.Conv2d((5, 2), np.ones((4, 1, 1, 1)), 1, 0, 1, 1, bad),
    }[place]()  # fmt: skip
    with pytest.raises(
        ConversionError,
        match=rf"graph: node 'n1': {field}: \d+ of \d+ values are not finite \(the first: {value:g} at \[2.*\]\); did training",
    ):
        from_nir(graph(node, neurons("LIF")), dt=1.0, in_shape=(1, 5, 2) if "C" in place or "k" in place else (10,))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"dt": "1e-4 s"}, "metadata dt must be a number above 0, is '1e-4 s'; pass dt (--dt)"),
        ({"dt": b"1e-4"}, "metadata dt must be a number above 0, is '1e-4'; pass dt (--dt)"),
        ({"dt": np.array([1.0, 2.0])}, "metadata dt must be a number above 0, is '[1. 2.]'; pass dt (--dt)"),
        ({"dt": True}, "metadata dt must be a number above 0, is 'True'; pass dt (--dt)"),
        ({"dt": None}, "metadata dt must be a number above 0, is 'None'; pass dt (--dt)"),
        ({"dt": np.nan}, "metadata dt must be above 0, is nan"),
        ({"dt": 0}, "metadata dt must be above 0, is 0.0"),
        ({"dt": 1.0, "timesteps": "many"}, "metadata timesteps must be a whole number from 1 to 100000, is 'many'; pass timesteps"),
        ({"dt": 1.0, "timesteps": 0}, "metadata timesteps must be a whole number from 1 to 100000, is '0'; pass timesteps"),
    ],
)
def test_metadata_that_are_no_numbers_are_refused_in_one_line(metadata, message):
    with pytest.raises(ConversionError) as refused:
        from_nir(simple("LIF", metadata=metadata))
    assert str(refused.value) == f"graph: {message}"
    assert from_nir(simple("LIF", metadata=metadata), dt=1.0, timesteps=3).timesteps == 3


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("CubaLIF", {"w_in": -1.0}, "CubaLIF with w_in -1; it must be above 0 (fold signs into the weights)"),
        ("CubaLIF", {"r": -1.0, "w_in": -1.0}, "CubaLIF with resistance -1; it must be above 0 (fold signs into the weights)"),
        ("CubaLI", {"w_in": [1, 1, 0, 1]}, "CubaLI with w_in 0…1; it must be above 0 (fold signs into the weights)"),
        ("LIF", {"r": 0.0}, "LIF with resistance 0; it must be above 0 (fold signs into the weights)"),
        ("IF", {"r": np.inf}, "IF with resistance inf; it must be finite"),
        ("CubaLIF", {"tau_syn": 0.5}, "tau_syn 0.5 does not reach one step of dt 1; pass the dt that the file was made with"),
    ],
)
def test_the_parameter_that_is_wrong_is_the_one_that_is_named(kind, given, message):
    with pytest.raises(ConversionError) as refused:
        from_nir(simple(kind, **given), dt=1.0)
    assert str(refused.value) == f"graph: node 'n2': {message}"


@pytest.mark.parametrize(
    ("node", "dt"),
    [
        ({"kind": "LIF", "tau": 10e-3, "r": 1.0}, 1e-6), ({"kind": "CubaLIF", "tau_mem": 10e-3, "tau_syn": 5e-3, "r": 1.0}, 1e-6),
        ({"kind": "IF", "r": 2.0}, 1e-6), ({"kind": "IF", "r": 1.0, "v_threshold": 1e4}, None), ({"kind": "LIF", "weight": -np.ones((4, 10))}, 1.0),
    ],
)  # fmt: skip
def test_a_population_that_no_input_makes_fire_is_refused(node, dt):
    with pytest.raises(ConversionError) as refused:
        from_nir(simple(**node), dt=dt, **events())
    text = str(refused.value)
    assert text.startswith(
        "graph: node 'n2': no input makes any of its neurons fire: with every excitatory input in each of 25 steps, v comes to "
    )
    assert "usual causes: a time step that the file was not made with (" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: vars(made.nodes["n1"]).update(stride=np.zeros(0)), "node 'n1' (Conv2d) is malformed (IndexError: "),
        (lambda made: vars(made.nodes["n1"]).update(stride=0), "graph: "),
        (lambda made: vars(made.nodes["n1"]).update(groups=np.array([1, 1])), "the nodes do not fit each other (TypeError: "),
        (
            lambda made: vars(made.nodes["n1"]).update(groups=0),
            "layer 'n1': Conv2d takes 0 channels, but a sample has shape (1, 5, 2) there",
        ),
        (
            lambda made: made.nodes["input"].input_type.update(input=np.array([1, 10**6, 10**6])),
            "a sample has the shape (1, 1000000, 1000000); taken: 1 to ",
        ),
        (
            lambda made: made.nodes["input"].input_type.update(input=np.array([10**9, 1, 5, 2])),
            "the input's first axis is 1000000000, more than 100000 steps; ",
        ),
        (
            lambda made: made.nodes["input"].input_type.update(input=np.array([1, 0, 2])),
            "a sample has the shape (1, 0, 2); taken: 1 to ",
        ),
        (
            lambda made: made.nodes["input"].input_type.update(input=np.array([1, np.nan, 2])),
            "the nodes do not fit each other (ValueError: ",
        ),
    ],
)
def test_numbers_that_torch_does_not_survive_end_in_one_line(change, message):
    made = graph(nir.Conv2d((5, 2), np.ones((4, 1, 2, 2)), 1, 0, 1, 1, np.zeros(4)), neurons("LIF"), shape=(1, 5, 2))
    change(made)
    with pytest.raises((ConversionError, DataError)) as refused:
        from_nir(made, dt=1.0)
    assert str(refused.value).startswith(message if message.startswith("graph") else f"graph: {message}")


def test_one_neuron_that_can_fire_is_enough():
    weight = -np.ones((4, 10))
    weight[3] = 1.0
    assert counts(from_nir(simple("LIF", weight), dt=1.0, **events()))[:3] == [0, 0, 0]


@pytest.mark.parametrize("readout", [None, "potential"])
def test_a_network_that_differs_from_nirs_equations_is_refused_by_its_node(monkeypatch, readout):
    """No graph is known to be read wrongly, so the reader is broken here."""
    true = nir_network.built

    def broken(*arguments, **keywords):
        made = true(*arguments, **keywords)
        first, second = made.network.connections
        weight = np.array(second.synapses.weight)
        weight[1, 2] += 0.05
        return replace(made, network=replace(made.network, connections=(first, replace(second, synapses=Dense(weight)))))

    made = graph(nir.Linear(WEIGHT), neurons("LIF"), nir.Linear(np.ones((3, 4))), neurons("CubaLIF", 3))
    assert from_nir(made, dt=1.0, readout=readout, **events())
    monkeypatch.setattr(nir_network, "built", broken)
    with pytest.raises(
        ConversionError, match=r"graph: layer 'n4' differs from the original in step \d+: its input to its neurons by 0\.05"
    ):
        from_nir(made, dt=1.0, readout=readout, **events())
    monkeypatch.setattr(nir_network, "built", true)
    monkeypatch.setattr(nir_graph, "neuron_of", lambda *given: replace(neuron_of(*given), dv=100))
    with pytest.raises(ConversionError, match=r"graph: layer 'n2' differs from the original in step \d+: "):
        from_nir(made, dt=1.0, readout=readout, **events())


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("kind", "given", "dt", "message"),
    [
        ("LIF", {"r": 1e-321}, 1.0, "LIF: an input of 1 adds 2.47033e-322 to v in a step; 1e-30 to 1e+30 is taken"),
        ("LIF", {"r": [4, 4, 1e-31, 4]}, 1.0, "LIF: an input of 1 adds 2.5e-32…1 to v in a step; 1e-30 to 1e+30 is taken"),
        ("CubaLIF", {"r": 1e-200, "w_in": 1e-200}, 1.0, "CubaLIF: an input of 1 adds 0 to v in a step; 1e-30 to 1e+30 is taken"),
        ("CubaLI", {"r": 1e30, "w_in": 1e30}, 1.0, "CubaLI: an input of 1 adds 1.25e+59 to v in a step; 1e-30 to 1e+30 is taken"),
        ("IF", {"r": 1e30}, 1e300, "IF: an input of 1 adds inf to v in a step; 1e-30 to 1e+30 is taken"),
        ("LIF", {"tau": 1e-320}, 1e-4, "tau 9.99989e-321 does not reach one step of dt 0.0001; pass the dt that the file was made with"),
    ],
)  # fmt: skip
def test_constants_whose_products_no_number_holds(kind, given, dt, message):
    with pytest.raises(ConversionError) as refused:
        from_nir(simple(kind, **given), dt=dt)
    assert str(refused.value) == f"graph: node 'n2': {message}"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_network_of_ours_with_such_constants_is_refused_as_well(tmp_path):
    from neurofault.deploy.nir_export import to_nir

    to_nir(from_nir(simple("LIF"), dt=1.0), tmp_path / "x.nir")
    made = nir.read(tmp_path / "x.nir")
    made.nodes["output_neurons"].r = np.full(4, 1e-321)
    with pytest.raises(ConversionError, match=r"LIF: an input of 1 adds [0-9.e-]+ to v in a step; 1e-30 to 1e\+30 is taken$"):
        from_nir(made)
