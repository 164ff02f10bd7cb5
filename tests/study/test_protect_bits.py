"""`remap_bits`: bits in an order that knows which cells are stuck; what the chip reads is what a plain memory, cell by cell, would give back."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from protected_chips import chain_of

import neurofault as nf
from neurofault.damage.stored import from_field, to_field
from neurofault.deploy.memory import stored_weights
from neurofault.deploy.protection import BitOrder, Protection
from neurofault.digest import digest_of
from neurofault.errors import FaultError, SpecError, UnsupportedError, UsageError
from neurofault.faults import CoreDead, SynapseBitFlip, SynapseBitStuck, SynapseDead, SynapseStuck
from neurofault.faults.plan import plan
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.faults.timing import transient
from neurofault.inputs import Bias
from neurofault.study.protect.charge import charge


def chip_of(sizes=(20, 12, 5), **options):
    return nf.deploy(chain_of(sizes, timesteps=4), neurons_per_core=5, **options)


CHIP = chip_of()
STUCK = [SynapseBitStuck(rate=0.01, layer="any", level=level) for level in (0, 1)]
HERE = {"kind": "synapse_bit_stuck", "layer": "hands", "level": 1, "synapse_bits": [[0, 0, 7]]}


def with_orders(chip, name, unit, turns):
    order = BitOrder(name, unit, np.asarray(turns, np.int64), False, 0)
    return replace(chip, protection=Protection(orders=(order,)))


def plain(field, width, turn, stuck=(), flipped=()):
    """Put a field's bits into cells one by one, break the cells, and take the bits out again."""
    cells = [None] * width
    for bit in range(width):
        cells[(bit + turn) % width] = field >> bit & 1
    for cell in flipped:
        cells[cell] ^= 1
    for cell, level in stuck:
        cells[cell] = level
    return sum(cells[(bit + turn) % width] << bit for bit in range(width))


def every_word_in_every_order(width):
    """A chip with a synapse for each field of a width and each turn, and the fields and turns."""
    pairs = list(product(range(1 << width), range(width)))
    fields, turns = (np.array(each) for each in zip(*pairs, strict=True))
    chip = nf.deploy(chain_of((len(pairs), 1)), weight_bits=width)
    own = chip.connections[0]
    weights = from_field(fields, width, "mixed").reshape(1, -1).astype(own.synapses.weight.dtype)
    own = replace(own, synapses=replace(own.synapses, weight=weights), sign_mode="mixed")
    return replace(chip, connections=(own,)), fields, turns


@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize("unit", ["word", "row"])
def test_every_word_under_every_order_and_every_two_stuck_cells_reads_as_a_plain_memory_gives_it_back(width, unit):
    chip, fields, turns = every_word_in_every_order(width)
    safe = with_orders(chip, "hands", unit, turns)  # a row is one word here
    for stuck in (set_ for size in (1, 2) for set_ in combinations(product(range(width), (0, 1)), size)):
        if len({cell for cell, _ in stuck}) < len(stuck):
            continue
        faults = [
            SynapseBitStuck(synapse_bits=[(source, 0, cell) for source in range(len(fields))], layer="hands", level=level)
            for cell, level in stuck
        ]
        hurt = nf.inject(safe, faults)
        found = to_field(stored_weights(hurt, "hands")[0], width, "mixed").tolist()
        assert found == [plain(field, width, turn, stuck) for field, turn in zip(fields.tolist(), turns.tolist(), strict=True)]


def test_an_upset_hits_the_bit_that_lies_in_its_cell_and_a_stuck_cell_hides_it():
    width = 4
    chip, fields, turns = every_word_in_every_order(width)
    safe = with_orders(chip, "hands", "word", turns)
    for upset, stuck in product(range(width), repeat=2):
        flip, hold = (
            kind(synapse_bits=[(source, 0, cell) for source in range(len(fields))], layer="hands")
            for kind, cell in ((SynapseBitFlip, upset), (SynapseBitStuck, stuck))
        )
        hurt = nf.inject(nf.inject(safe, hold), flip)
        found = to_field(stored_weights(hurt, "hands")[0], width, "mixed").tolist()
        assert found == [
            plain(field, width, turn, [(stuck, 0)], [upset]) for field, turn in zip(fields.tolist(), turns.tolist(), strict=True)
        ]


def harm(weights, width, stuck, turn):
    """Sum of squares by which stuck cells (place in the row → [(cell, level)]) change the weights of a row."""
    total = 0
    for place, weight in enumerate(weights):
        field = int(to_field(np.array([weight]), width, "mixed")[0])
        read = plain(field, width, turn, stuck.get(place, ()))
        total += (int(from_field(np.array([read]), width, "mixed")[0]) - int(weight)) ** 2
    return total


@pytest.mark.parametrize("unit", ["row", "word"])
def test_a_tested_chip_has_of_each_unit_the_order_that_changes_its_weights_least(unit):
    faults = [one.replace(rate=0.03) for one in STUCK]
    hurt, bare = (nf.inject(each, faults, seed=3) for each in (nf.protect(CHIP, f"remap_bits:tested:{unit}"), CHIP))
    for name in ("mid0", "hands"):
        numbers, healthy = StoredNumbers(CHIP, name), CHIP.connection(name).synapses.weight
        read = stored_weights(hurt, name)
        cells = {}
        for edit in bare.damage.edits:
            if edit.connection == name:
                for source, target, keep, force in zip(edit.sources, edit.targets, edit.keep, edit.force, strict=True):
                    cells.setdefault((source, target), []).extend(
                        (cell, force >> cell & 1) for cell in range(8) if not keep >> cell & 1
                    )
        _, sources, targets, _ = numbers.readers(np.arange(len(numbers)))
        unit_of = numbers.rows() if unit == "row" else np.arange(len(numbers))
        some = 0
        for each in np.unique(unit_of):
            at = np.flatnonzero(unit_of == each)
            pairs = list(zip(sources[at].tolist(), targets[at].tolist(), strict=True))
            stuck = {place: cells[pair] for place, pair in enumerate(pairs) if pair in cells}
            weights = [healthy[target, source] for source, target in pairs]
            least = min(harm(weights, 8, stuck, turn) for turn in range(8))
            assert sum((int(read[t, s]) - int(healthy[t, s])) ** 2 for s, t in pairs) == least
            some += bool(stuck)
        assert some > 5


def test_a_stuck_sign_of_a_large_weight_is_held_by_a_bit_that_is_so_anyway():
    eyes, hands = nf.Population("eyes", (1,), nf.Source()), nf.Population("hands", (1,), nf.CubaLif(1.0))
    chip = nf.deploy(nf.chain("one", [eyes, hands], [nf.Dense(np.array([[1.0]]))], timesteps=4))
    assert stored_weights(chip, "hands").tolist() == [[254]]  # field 0111 1111: only its sign is 0
    hurt = nf.inject(nf.protect(chip, {"kind": "remap_bits", "defects": [HERE]}), HERE)
    assert stored_weights(nf.inject(chip, HERE), "hands").tolist() == [[-2]]
    assert stored_weights(hurt, "hands").tolist() == [[254]]
    assert hurt.damage.hits[0].notes == ("remap_bits of hands: 1 of 1 rows are turned",)


def test_wholly_stuck_words_read_what_their_cells_hold_turned_back():
    chip, fields, turns = every_word_in_every_order(4)
    safe = with_orders(chip, "hands", "word", turns)
    everywhere = [(source, 0) for source in range(len(fields))]
    assert not stored_weights(nf.inject(safe, SynapseDead(synapses=everywhere, layer="hands")), "hands").any()
    bare = nf.inject(chip, SynapseStuck(synapses=everywhere, layer="hands", value=80))
    held = int(to_field(stored_weights(bare, "hands")[0], 4, "mixed")[0])
    hurt = nf.inject(safe, SynapseStuck(synapses=everywhere, layer="hands", value=80))
    found = to_field(stored_weights(hurt, "hands")[0], 4, "mixed").tolist()
    assert found == [plain(0, 4, turn, [(cell, held >> cell & 1) for cell in range(4)]) for turn in turns.tolist()]


def test_kernels_that_positions_share_are_turned_as_they_are_stored():
    rng = np.random.default_rng(1)
    eyes, hands = nf.Population("eyes", (2, 5, 5), nf.Source()), nf.Population("hands", (4, 3, 3), nf.CubaLif(1.0))
    conv = nf.Conv(rng.normal(size=(4, 2, 3, 3)), (2, 5, 5))
    chip = nf.deploy(nf.chain("conv", [eyes, hands], [conv], timesteps=4), neurons_per_core=9)
    numbers = StoredNumbers(chip, "hands")
    turns = rng.integers(0, 8, len(numbers))
    bare, hurt = (
        nf.inject(each, SynapseBitStuck(rate=0.05, layer="hands", level=1), seed=2)
        for each in (chip, with_orders(chip, "hands", "word", turns))
    )
    (before,), (after,) = bare.damage.edits, hurt.damage.edits
    own = turns[numbers.of(before.sources, before.targets)].tolist()
    assert [
        plain(0, 8, turn, [(cell, force >> cell & 1) for cell in range(8)])
        for turn, force in zip(own, before.force.tolist(), strict=True)
    ] == after.force.tolist()
    assert len(set(own)) > 3


def test_the_healthy_chip_and_what_no_test_can_know_stay_as_they_were():
    rng = np.random.default_rng(0)
    x = Bias(rng.integers(0, 4000, (4, 20)).astype(np.int32))
    safe = nf.protect(CHIP, "remap_bits:tested")
    assert np.array_equal(nf.run(safe, x).activity.scores, nf.run(CHIP, x).activity.scores)
    for later in (
        SynapseBitFlip(rate=0.02, layer="any"),
        SynapseBitStuck(rate=0.02, layer="any", when=transient(1, 3)),
        CoreDead(count=1),
    ):
        bare, hurt = (nf.inject(each, later, seed=1) for each in (CHIP, safe))
        assert digest_of(*bare.damage.edits) == digest_of(*hurt.damage.edits)


def test_a_map_is_made_of_what_it_names_alone_and_serves_what_it_does_not_name_worse():
    spec = {"kind": "remap_bits", "defects": [HERE], "layer": "hands"}
    safe = nf.protect(CHIP, spec)
    (order,) = safe.protection.orders
    assert order.connection == "hands"
    assert np.count_nonzero(order.turns) <= 1
    faults = [one.replace(rate=0.05) for one in STUCK]
    known, tested = (nf.inject(each, faults, seed=3) for each in (safe, nf.protect(CHIP, "remap_bits:tested")))
    healthy = CHIP.connection("hands").synapses.weight
    lost = [((stored_weights(each, "hands").astype(float) - healthy) ** 2).sum() for each in (known, tested)]
    assert lost[0] > 10 * lost[1]


def test_a_map_in_a_file_is_the_same_and_faults_through_several_steps_too(tmp_path):
    nf.faults.save_defects([nf.faults.fault_from_mapping(dict(HERE))], tmp_path / "map.yaml")
    one = nf.protect(CHIP, f"remap_bits:{tmp_path / 'map.yaml'}")
    other = nf.protect(CHIP, {"kind": "remap_bits", "defects": [HERE]})
    assert digest_of(one.protection) == digest_of(other.protection)  # its place on the disk is no part of it
    safe = nf.protect(CHIP, "remap_bits:tested")
    together, apart = nf.inject(safe, STUCK, seed=1), safe
    whole = plan(safe, STUCK, seed=1)
    for fault in whole.faults:
        apart = nf.inject(apart, replace(whole, faults=(fault,)))
    assert np.array_equal(stored_weights(together, "mid0"), stored_weights(apart, "mid0"))


def test_ranges_stand_beside_and_see_what_is_read():
    safe = nf.protect(CHIP, [{"kind": "bounds", "outside": "mute"}, "remap_bits:tested"])
    alone = nf.inject(nf.protect(CHIP, "remap_bits:tested"), STUCK, seed=5)
    both = nf.inject(safe, STUCK, seed=5)
    healthy = CHIP.connection("mid0").synapses.weight
    read, low, high = stored_weights(alone, "mid0"), healthy.min(axis=1)[:, None], healthy.max(axis=1)[:, None]
    assert np.array_equal(stored_weights(both, "mid0"), np.where((read >= low) & (read <= high), read, 0))


def test_it_costs_three_bits_a_row_or_a_word_and_their_reads():
    rows = sum(20 for _ in CHIP.placement.cores_of("mid0")) + 12 * len(CHIP.placement.cores_of("hands"))
    counts = {"eyes": np.arange(20), "mid0": np.arange(12), "hands": np.zeros(5, np.int64)}
    for unit, stored, reads in (
        ("row", rows, 3 * 190 + 66), ("word", 20 * 12 + 12 * 5, 12 * 190 + 5 * 66)
    ):  # fmt: skip
        safe = nf.protect(CHIP, f"remap_bits:tested:{unit}")
        assert (safe.protection.map_bits, safe.protection.check_bits) == (3 * stored, 0)
        cost = charge(safe, counts, 1)
        assert cost.added == 3 * stored / cost.stored_bits
        assert cost.bits_read == 3 * reads
        assert cost.energy == pytest.approx(
            3 * reads / 8 * CHIP.profile.energy_tables[CHIP.profile.default_energy].energy.synaptic_operation.value
        )


@pytest.mark.parametrize("given", ["remap_bits:tested:word", {"kind": "remap_bits", "defects": [HERE]}])
def test_it_is_saved_and_comes_back(tmp_path, given):
    safe = nf.protect(CHIP, given)
    hurt = nf.inject(safe, STUCK, seed=1)
    nf.save(hurt, tmp_path / "chip.npz")
    back = nf.load(tmp_path / "chip.npz")
    assert digest_of(back.protection) == digest_of(hurt.protection)
    one, other = (nf.inject(each, SynapseBitFlip(rate=0.02, layer="any"), seed=2) for each in (hurt, back))
    assert digest_of(*one.damage.edits) == digest_of(*other.damage.edits)


def test_orders_of_another_chip_are_refused():
    with pytest.raises(FaultError, match=r"^connection 'hands': its orders of bits are those of another chip: 3 rows"):
        nf.inject(with_orders(CHIP, "hands", "row", [0, 1, 2]), HERE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("remap_bits", "missing key 'defects'"),
        ("remap_bits:tested:core", "unit: text 'core' is not allowed (did you mean 'word'?); allowed: row, word"),
        ({"kind": "remap_bits", "defects": []}, "nothing that its defect map holds is stuck in the stored weights of 'mid0', 'hands'"),
        ({"kind": "remap_bits", "defects": [HERE], "layer": "mid0"}, "nothing that its defect map holds is stuck in the stored weights of 'mid0'"),
        ({"kind": "remap_bits", "defects": [{"kind": "core_dead", "cores": [0]}]}, "nothing that its defect map holds is stuck"),
        ({"kind": "remap_bits", "defects": [{**HERE, "synapse_bits": None, "rate": 0.1}]}, "a defect map names its sites: give synapse_bits"),
        ({"kind": "remap_bits", "defects": [{**HERE, "when": {"kind": "transient", "start": 2, "stop": 3}}]}, "nothing that breaks at a time of its own (when)"),
        ({"kind": "remap_bits", "defects": [{"kind": "synapse_bit_flip", "layer": "hands", "synapse_bits": [[0, 0, 7]]}]}, "synapse_bit_flip is gone with the next write"),
        ({"kind": "remap_bits", "defects": "no.yaml"}, "no.yaml: no such file"),
        ({"kind": "remap_bits", "defects": "tested", "layer": "any", "connection": "hands"}, "give layer or connection, not both"),
        (["remap_bits:tested", "secded:all"], "connection 'hands' has a code and an order of its bits"),
        (["remap_bits:tested", "remap_bits:tested:word"], "connection 'mid0' has an order of its bits already"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(given, message):
    with pytest.raises((UsageError, FaultError)) as caught:
        nf.protect(CHIP, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_code_may_guard_another_connection():
    safe = nf.protect(CHIP, [{"kind": "secded", "layer": "mid0"}, {"kind": "remap_bits", "defects": "tested", "layer": "hands"}])
    assert ([one.connection for one in safe.protection.words], [one.connection for one in safe.protection.orders]) == (
        ["mid0"],
        ["hands"],
    )


@pytest.mark.parametrize(
    ("profile", "message"), [("truenorth", "the crossbar of 'truenorth' has no memory words"), ("odin", "is stored without a sign")]
)
def test_chips_without_such_cells_are_refused(profile, message):
    eyes, hands = nf.Population("eyes", (4,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    network = nf.chain("reflex", [eyes, hands], [nf.Dense(np.ones((2, 4)))], timesteps=4)
    with pytest.raises(UnsupportedError, match=message):
        nf.protect(nf.deploy(network, profile), "remap_bits:tested")


def test_a_weight_of_one_bit_has_no_order():
    with pytest.raises(UnsupportedError, match="a weight of 'hands' is 1 bit, which has no order"):
        nf.protect(nf.deploy(chain_of((8, 4)), "darwin3", weight_bits=1), "remap_bits:tested")


SMALL = {
    "name": "ordered",
    "network": {"zoo": "digits-mlp"},
    "data": {"samples": 60},
    "faults": [{"all": [{"kind": "synapse_bit_stuck", "rate": 0.02, "layer": "any", "level": level} for level in (0, 1)]}],
    "repeats": {"draws": 2, "seed": 3},
}
TESTED = {"kind": "remap_bits", "defects": "tested"}


def test_a_campaign_regains_what_stuck_cells_take(tmp_path):
    pytest.importorskip("pandas")
    table = nf.campaign({**SMALL, "protect": {"sweep": [[], [TESTED]]}}, out=tmp_path / "run").run(workers=1).table()
    assert set(table["status"]) == {"ok"}
    assert len(set(table["trial"])) == 4
    correct = table["damaged_correct"].tolist()
    assert all(after > before for before, after in zip(correct[:2], correct[2:], strict=True))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"protect": [{"kind": "remap_bits", "defects": "map.yaml"}]}, "a campaign holds its defect map itself"),
        ({"protect": [TESTED], "place": {"spare_cores": 2}, "rescue": [{"strategy": "remap"}]}, "and rescue remap moves them away from their code words, ranges and orders of bits"),
    ],
)  # fmt: skip
def test_what_a_campaign_cannot_do_is_refused_before_anything_runs(more, message):
    with pytest.raises(SpecError) as caught:
        nf.campaign({**SMALL, **more})
    assert len(caught.value.mistakes) == 1
    assert message in caught.value.mistakes[0]


def test_a_rescue_that_moves_weights_is_refused():
    chip = nf.protect(nf.deploy(chain_of((20, 12, 5)), neurons_per_core=5, spare_cores=2), "remap_bits:tested")
    with pytest.raises(UsageError, match="away from their code words, ranges and orders of bits"):
        nf.rescue(
            nf.inject(chip, CoreDead(count=1, layer="hidden")),
            Bias(np.zeros((2, 20), np.int32)),
            np.zeros(2, int),
            strategy="remap",
        )
