"""What a Loihi 1 and two Loihi 2 did, spike for spike and potential for potential."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import MARK, Recording, differences, loihi1_network, loihi2_neuron, pilotnet

import neurofault as nf

CASES = {
    "Loihi 2, one neuron": loihi2_neuron,
    "Loihi 1, 250-25-1": loihi1_network,
    "Loihi 2, PilotNet from conv-2 on": pilotnet,
    "Loihi 2, PilotNet from fc-0 on": lambda: pilotnet("fc-0"),
}
COMPARED = {
    "Loihi 2, one neuron": {"neuron": 999 + 999},
    "Loihi 1, 250-25-1": {"hidden": 499 * 25 + 499 * 3, "output": 498 + 498},
    "Loihi 2, PilotNet from conv-2 on": {
        "hidden3": 3 * 21 * 8064, "hidden4": 3 * 20 * 5632, "hidden5": 3 * 19 * 2560, "hidden6": 3 * 18 * 100, "hidden7": 3 * 17 * 50, "hidden8": 3 * 16 * 10,
    },
    "Loihi 2, PilotNet from fc-0 on": {"hidden6": 3 * 18 * 100, "hidden7": 3 * 17 * 50, "hidden8": 3 * 16 * 10},
}  # fmt: skip
"""Numbers of recorded values that are compared, so that a reader that finds nothing is not taken for agreement."""


@pytest.mark.parametrize("case", CASES)
def test_the_exact_engine_does_what_the_chip_did(case):
    assert differences(*CASES[case](), "exact") == {name: [0, 0, 0, number] for name, number in COMPARED[case].items()}


@pytest.mark.parametrize("case", ["Loihi 2, one neuron", "Loihi 1, 250-25-1", "Loihi 2, PilotNet from fc-0 on"])
def test_lava_does_what_the_chip_did(case):
    made, events, recorded = CASES[case]()
    try:
        nf.engines.get_engine("lava")
    except nf.errors.UnsupportedError as error:
        pytest.skip(str(error))
    assert differences(made, events, recorded, "lava") == {name: [0, 0, 0, number] for name, number in COMPARED[case].items()}


@pytest.mark.parametrize("case", CASES)
def test_a_chip_reports_128_for_the_potential_of_a_neuron_that_spikes(case):
    _, _, recorded = CASES[case]()
    for chips in recorded.values():
        assert chips.v is not None
        at_spikes = chips.v[(chips.spikes == 1) & ~np.isnan(chips.v)]
        assert set(at_spikes.tolist()) <= {MARK}
    assert sum(int(np.count_nonzero((chips.spikes == 1) & (chips.v == MARK))) for chips in recorded.values()) > 0


def test_a_recording_that_differs_is_noticed():
    made, events, recorded = loihi2_neuron()
    chips = recorded["neuron"]
    assert chips.v is not None
    spikes, v = chips.spikes.copy(), chips.v.copy()
    spikes[0, 500] ^= 1
    v[0, 700] += 1
    assert differences(made, events, {"neuron": Recording(spikes, v)}, "exact")["neuron"][:3] == [1, 1, 0]
