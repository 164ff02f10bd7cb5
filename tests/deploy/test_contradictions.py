"""Numbers of a profile that are each allowed and cannot be true of one chip; costs and their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurofault.deploy.profile import HardwareProfile, bundled_profiles, load_profile
from neurofault.errors import SpecError

_SHEET = "source: sheet, evidence: documented"
OWN = f"""name: tiles
title: Tiles
arithmetic:
  name: tiles
  {_SHEET.replace(", ", chr(10) + "  ")}
  v: {{bits: 16, decay: {{kind: shift, most: 7}}}}
  u: null
  threshold: ">="
  resets: [zero]
  refractory: 3
sources: {{sheet: {{title: data sheet, note: in house}}}}
chip:
  cores: {{value: 240, unit: cores, {_SHEET}}}
core:
  neurons: {{value: 192, unit: neurons, {_SHEET}}}
synapse:
  weight_bits: {{value: [5], unit: bits, {_SHEET}}}
  format: signed
energy_tables:
  own:
    title: page 14
    energy: {{synaptic_operation: {{value: 6.1e-12, unit: J, {_SHEET}}}}}
"""


def number(value: object, unit: str) -> str:
    return f"{{value: {value}, unit: {unit}, {_SHEET}}}"


def loaded(folder: Path, text: str) -> HardwareProfile:
    file = folder / "p.yaml"
    file.write_text(text, encoding="utf-8")
    return load_profile(file)


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        loaded(folder, text)
    return [each.removeprefix(f"{folder}/p.yaml:") for each in str(error.value).splitlines()]


MAX_CHIPS = f"chip:\n  max_chips: {number(4, 'chips')}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "dead_cores: [17, 240]", "24:18: dead_cores[1]: core 240 does not exist; ids of one chip go from 0 to 239, and chip.max_chips, which says "
         "how many can be joined, is not known"),
        ("", 'dead_cores: ["230-99999", 17]', "24:14: dead_cores[0]: core 230-99999 does not exist; ids of one chip go from 0 to 239, and chip.max_chips, "
         "which says how many can be joined, is not known"),
        ("bits: 16, decay: {kind: shift, most: 7}", "bits: 4", "7:13: arithmetic.v.bits: 4 bits hold -8 to 7, and one weight of 5 bits (synapse.weight_bits) counts -16 to 15"),
        ("u: null", "u: {bits: 3}", "8:13: arithmetic.u.bits: 3 bits hold -4 to 3, and one weight of 5 bits (synapse.weight_bits) counts -16 to 15"),
        ("  refractory: 3", "  shift: 12", "7:13: arithmetic.v.bits: 16 bits hold -32768 to 32767, and one weight of 5 bits (synapse.weight_bits) shifted by 12 "
         "counts -65536 to 61440"),
        ("value: [5]", "value: [17]", "18:25: synapse.weight_bits.value[0]: must be at most 8, is 17"),
        ("value: [5]", "value: []", "18:24: synapse.weight_bits.value: needs at least 1, has 0"),
        ("most: 7", "most: 40", "7:44: arithmetic.v.decay.most: a decay shifts by at most 31, not 40"),
        ("most: 7", "most: 17", "7:44: arithmetic.v.decay.most: a shift by 17 is more than the 16 bits of arithmetic.v: at most 16"),
        ('">="', ">=", '9:15: a value that begins with > is in quotes: write ">="'),
        ('">="', ">", '9:14: a value that begins with > is in quotes: write ">"'),
        ("", f"neuron: {{threshold_max: {number(99999, chr(34) + '1' + chr(34))}}}",
         "24:33: neuron.threshold_max.value: a threshold of 99999 is never reached: the largest v of 16 bits (arithmetic.v) is 32767"),
        ("", f"neuron: {{decay_max: {number(9, chr(34) + '1' + chr(34))}}}",
         "24:29: neuron.decay_max.value: 9 is more than the largest number that a decay of arithmetic stores, 7"),
        ("", f"neuron: {{bias_mantissa_max: {number(32768, chr(34) + '1' + chr(34))}}}",
         "24:37: neuron.bias_mantissa_max.value: a bias of 32768 is beyond v, whose 16 bits (arithmetic.v) hold -32768 to 32767"),
        ("", f"facts: {{refractory_max: {number(3, 'steps')}}}",
         "11:15: arithmetic.refractory: 3 steps after a spike are more than facts.refractory_max 3 leaves, which counts the step of the spike too: 2"),
        ("core:\n", f"core:\n  synapse_bits: {number(10, 'bits')}\n",
         "16:25: core.synapse_bits.value: 10 bits of synapse memory hold less than one weight of 5 bits for each of core.neurons 192"),
        ("chip:", f"board: {{chips: {number(8, 'chips')}}}\n{MAX_CHIPS}", "13:24: board.chips.value: a board of 8 chips is more than chip.max_chips 4"),
        ("", f"shared_memory: {{cores: {number(241, 'cores')}}}",
         "24:32: shared_memory.cores.value: 241 cores share a memory, and a chip has 240 (chip.cores)"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert refused(tmp_path, OWN.replace(old, new, 1) if old else OWN + new + "\n") == [message]


def test_what_just_fits_is_taken(tmp_path: Path) -> None:
    text = (
        OWN.replace("bits: 16", "bits: 5")
        .replace("most: 7", "most: 5")
        .replace("core:\n", f"core:\n  synapse_bits: {number(960, 'bits')}\n")
    )
    text = text.replace("chip:", f"board: {{chips: {number(4, 'chips')}}}\n{MAX_CHIPS}")
    more = f"facts: {{refractory_max: {number(4, 'steps')}}}\nneuron: {{threshold_max: {number(15, chr(34) + '1' + chr(34))}}}\ndead_cores: [959]\n"
    assert loaded(tmp_path, text + more).dead_core_ids == (959,)
    assert loaded(tmp_path, OWN + "dead_cores: [239]\n").dead_core_ids == (239,)


def test_a_mistake_in_what_is_extended_stands_in_its_file(tmp_path: Path) -> None:
    loaded(tmp_path, OWN)
    board = "name: b\ntitle: b\nextends: p.yaml\nsynapse: {weight_bits: {value: [8], unit: bits, evidence: assumed, note: guess}}\n"
    file = tmp_path / "b.yaml"
    file.write_text(board + "arithmetic: {v: {bits: 7}}\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"b.yaml:5:24: arithmetic.v.bits: 7 bits hold -64 to 63, and one weight of 8 bits"):
        load_profile(file)


def test_bundled_profiles_hold_together() -> None:
    assert all(load_profile(name).name for name in bundled_profiles())


@pytest.mark.parametrize(
    ("value", "unit", "joule"),
    [("6.1", "pJ", 6.1e-12), ("6100", "fJ", 6.1e-12), ("3", "nJ", 3e-9), ("0.1", "µJ", 1e-7), ("0.1", "uJ", 1e-7)],
)
def test_units_take_prefixes(tmp_path: Path, value: str, unit: str, joule: float) -> None:
    costs = loaded(tmp_path, OWN.replace("6.1e-12, unit: J", f"{value}, unit: {unit}")).costs
    assert costs is not None
    cost = costs.energy.synaptic_operation
    assert (cost.value, cost.unit) == (joule, "J")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("6.1e-12, unit: J", "6.1, unit: J", "23:42: energy_tables.own.energy.synaptic_operation.value: 6.1 J an event is more than any chip takes "
         "(0.001 J at most): was a prefix meant (6.1 pJ are 6.1e-12 J)?"),
        ("6.1e-12, unit: J", "6.1e-12, unit: pW", "23:57: energy_tables.own.energy.synaptic_operation.unit: text 'pW' is not allowed; allowed: J"),
        ("    energy: {", "    time: {neuron_spike: " + number(50, "s") + "}\n    energy: {",
         "23:34: energy_tables.own.time.neuron_spike.value: 50 s an event is more than any chip takes (1 s at most): was a prefix meant (50 ps are 5e-11 s)?"),
    ],
)  # fmt: skip
def test_costs_that_no_event_has_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert refused(tmp_path, OWN.replace(old, new)) == [message]


def test_reserved_cores_are_of_the_design_and_dead_ones_of_the_sample(tmp_path: Path) -> None:
    design = OWN.replace("chip:\n", f"chip:\n  reserved_cores: {number('[11, 23]', 'cores')}\n") + "dead_cores: [17]\n"
    base = loaded(tmp_path, design)
    file = tmp_path / "b.yaml"
    file.write_text(
        f"name: b\ntitle: b\nextends: p.yaml\nchip: {{max_chips: {number(4, 'chips')}}}\nsources: {{}}\n".replace(
            "source: sheet, evidence: documented", "evidence: assumed, note: four of them"
        ),
        encoding="utf-8",
    )
    board = load_profile(file)
    assert (base.chip.reserved, base.dead_core_ids) == ({11, 23}, (17,))
    assert (board.chip.reserved, board.dead_core_ids, board.chip.usable) == ({11, 23}, (), 238)
