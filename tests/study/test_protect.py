"""`nf.protect`: what is left of broken cells, which bits are covered, what it costs, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protected_chips import chain_of
from scipy import stats

import neurofault as nf
from neurofault.damage.broken import BrokenChecks
from neurofault.damage.codes import code_named
from neurofault.damage.stored import from_field, to_field
from neurofault.deploy.memory import stored_weights, write
from neurofault.deploy.protection import Protection
from neurofault.errors import CapacityError, FaultError, UnsupportedError, UsageError
from neurofault.faults import SynapseBitFlip, SynapseBitStuck, SynapsePerturbed
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.faults.timing import ageing, intermittent, once, transient
from neurofault.study.protect.charge import charge


def chip_of(sizes=(20, 12, 5), *, per_core=5, seed=0, profile="loihi2", timesteps=4):
    """A chain of dense layers with random weights, a few neurons a core."""
    return nf.deploy(chain_of(sizes, seed=seed, timesteps=timesteps), profile, neurons_per_core=per_core)


def conv_chip():
    rng = np.random.default_rng(1)
    eyes, hands = nf.Population("eyes", (2, 5, 5), nf.Source()), nf.Population("hands", (4, 3, 3), nf.CubaLif(1.0))
    return nf.deploy(
        nf.chain("conv", [eyes, hands], [nf.Conv(rng.normal(size=(4, 2, 3, 3)), (2, 5, 5))], timesteps=4), neurons_per_core=9
    )


CHIP = chip_of()


def read(chip, name="mid0"):
    """What the chip reads of a dense connection while what is broken for good acts."""
    return stored_weights(chip, name)


def plain(chip, raw, hurt, name):
    """Decode every word of a connection one by one, as its code says, from what the cells of the unprotected chip hold; check bits as broken."""
    own, words = chip.connection(name), hurt.protection.words_of(name)
    numbers = StoredNumbers(chip, name)
    healthy, cells = chip.connection(name).synapses.weight, read(raw, name)
    out = cells.astype(int).copy()
    flipped = {}
    for hit in hurt.damage.hits:
        for place in hit.broken:
            if isinstance(place, BrokenChecks) and place.connection == name:
                for word, bit in zip(place.words, place.bits, strict=True):
                    flipped.setdefault(word, []).append(bit)
    _, sources, targets, _ = numbers.readers(words.sites)
    for word in range(len(words)):
        at = range(words.starts[word], words.starts[word + 1])
        bits = [(place, bit) for place in at for bit in range(own.weight_bits) if words.masks[place] >> bit & 1]

        def data(matrix, bits=bits):
            fields = to_field(matrix, own.weight_bits, own.sign_mode)
            return np.array([[fields[targets[place], sources[place]] >> bit & 1 for place, bit in bits]], np.uint8)

        code = code_named(words.code, len(bits))
        checks = code.encode(data(healthy))
        for bit in flipped.get(word, ()):
            checks[0, bit] ^= 1
        right, said = code.decode(data(cells), checks)
        for (place, bit), value in zip(bits, right[0], strict=True):
            pair = targets[place], sources[place]
            field = int(to_field(out[pair], own.weight_bits, own.sign_mode))
            out[pair] = from_field(np.array(field & ~(1 << bit) | int(value) << bit), own.weight_bits, own.sign_mode)
        if said[0] == 2 and words.seen == "mute":
            for place in at:
                out[targets[place], sources[place]] = 0
    return out


SPECS = [
    "secded",
    "parity",
    {"kind": "secded", "word": 8},
    {"kind": "secded", "word": 16, "seen": "mute"},
    {"kind": "parity", "seen": "keep", "word": 8},
    {"kind": "secded", "share": 0.3, "by": "random"},
    {"kind": "parity", "share": 0.2, "by": "random", "unit": "plane", "word": 4},
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), rate=st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_what_is_read_is_what_each_word_decodes_to(spec, seed, rate):
    safe = nf.protect(CHIP, spec)
    fault = SynapseBitFlip(rate=rate, layer="any")
    raw, hurt = nf.inject(CHIP, fault, seed=seed), nf.inject(safe, fault, seed=seed)
    for name in ("mid0", "hands"):
        if safe.protection.words_of(name) is not None:
            assert (read(hurt, name) == plain(CHIP, raw, hurt, name)).all()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_stuck_drift_and_flips_together_are_decoded_together(seed):
    safe = nf.protect(CHIP, {"kind": "secded", "word": 16})
    faults = [
        SynapseBitFlip(rate=0.01, layer="any"),
        SynapseBitStuck(rate=0.02, level=1, layer="any"),
        SynapsePerturbed(rate=0.02, layer="any"),
    ]
    several = nf.inject(safe, faults, seed=seed)
    flips_only = [hit for hit in several.damage.hits if hit.kind == "synapse_bit_stuck"]
    assert len(flips_only) == 1
    cells = CHIP.with_damage(several.damage.cells)
    stuck = {(p.words, p.bits) for hit in several.damage.hits for p in hit.broken if isinstance(p, BrokenChecks) and p.level == 1}
    if not stuck:  # the plain reader knows flipped check bits alone
        for name in ("mid0", "hands"):
            assert (read(several, name) == plain(CHIP, cells, several, name)).all()


def test_every_single_wrong_bit_is_put_right_and_every_two_of_a_word_are_seen_and_left():
    chip = chip_of((4, 3), per_core=3)
    safe = nf.protect(chip, {"kind": "secded", "word": 96})
    assert len(safe.protection.words_of("hands")) == 1
    sites = [(source, target, bit) for source in range(4) for target in range(3) for bit in range(8)]
    for site in sites:
        assert nf.inject(safe, SynapseBitFlip(synapse_bits=[site], layer="hands")).damage.edits == ()
    for number, site in enumerate(sites[:20]):
        pair = SynapseBitFlip(synapse_bits=[site, sites[-1 - number]], layer="hands")
        assert (read(nf.inject(safe, pair), "hands") == read(nf.inject(chip, pair), "hands")).all()


def test_a_second_injection_meets_what_the_first_left_in_the_cells():
    safe = nf.protect(CHIP, "secded")
    one, other = (SynapseBitFlip(synapse_bits=[(0, target, 7)], layer="mid0") for target in (0, 1))
    first = nf.inject(safe, one)
    assert first.damage.edits == ()
    both = nf.inject(first, other)
    assert (read(both) == read(nf.inject(safe, SynapseBitFlip(synapse_bits=[(0, 0, 7), (0, 1, 7)], layer="mid0")))).all()
    assert (read(both) != read(safe)).sum() == 2
    assert (read(nf.inject(first, one)) == read(safe)).all()  # flipped twice: as it was
    with pytest.raises(UsageError, match=r"^the chip is protected: what is left of one fault depends on the others"):
        both.damage.without(0)


def test_a_write_mends_the_cells_too():
    safe = nf.protect(CHIP, "secded")
    first = nf.inject(safe, SynapseBitFlip(synapse_bits=[(0, 0, 7)], layer="mid0"))
    written = write(first, "mid0", read(first))
    after = nf.inject(written, SynapseBitFlip(synapse_bits=[(0, 1, 7)], layer="mid0"))
    assert (read(after) == read(safe)).all()


def test_a_stuck_bit_that_is_left_stays_stuck():
    safe = nf.protect(CHIP, "secded")
    fields = to_field(read(safe), 8, "mixed")
    pair = [next((0, target, bit) for bit in range(8) if not int(fields[target, 0]) >> bit & 1) for target in (0, 1)]
    hurt = nf.inject(safe, SynapseBitStuck(synapse_bits=pair, level=1, layer="mid0"))
    assert (read(hurt) != read(safe)).sum() == 2
    written = write(hurt, "mid0", np.zeros_like(read(safe)))
    assert (read(written)[[0, 1], 0] != 0).all()


def test_check_bits_break_as_often_as_all_others():
    safe = nf.protect(CHIP, {"kind": "secded", "word": 8})
    stored, checks = 8 * (20 * 12 + 12 * 5), safe.protection.check_bits
    assert checks == stored // 8 * 5
    found = []
    for draw in range(25):
        cells = nf.inject(safe, SynapseBitFlip(count=200, layer="any"), draw=draw).damage.cells
        broken = sum(len(place.words) for hit in cells.hits for place in hit.broken)
        flips = sum(sum(map(int.bit_count, edit.flips.tolist())) for edit in cells.edits)
        assert broken + flips == 200
        found.append(broken)
    expected = 200 * checks / (stored + checks)
    assert abs(np.mean(found) - expected) < 4 * np.std(found, ddof=1) / np.sqrt(len(found))
    by_rate = [
        sum(
            len(place.words)
            for hit in nf.inject(safe, SynapseBitFlip(rate=0.05, layer="any"), draw=draw).damage.hits
            for place in hit.broken
        )
        for draw in range(25)
    ]
    assert abs(np.mean(by_rate) - 0.05 * checks) < 4 * np.std(by_rate, ddof=1) / np.sqrt(len(by_rate))


def test_more_faults_contain_the_fewer_also_among_check_bits():
    safe = nf.protect(CHIP, {"kind": "secded", "word": 8})

    def sites(count):
        cells = nf.inject(safe, SynapseBitFlip(count=count, layer="any"), seed=5).damage.cells
        broken = {
            ("check", place.connection, word, bit)
            for hit in cells.hits
            for place in hit.broken
            for word, bit in zip(place.words, place.bits, strict=True)
        }
        stored = {
            (edit.connection, source, target, bit)
            for edit in cells.edits
            for source, target, flips in zip(edit.sources.tolist(), edit.targets.tolist(), edit.flips.tolist(), strict=True)
            for bit in range(8)
            if flips >> bit & 1
        }
        return broken | stored

    assert sites(10) < sites(11) < sites(60)


def test_two_wrong_check_bits_and_a_wrong_bit_of_a_weight_are_decoded_as_three():
    safe = nf.protect(CHIP, "secded")
    for draw in range(200):
        hurt = nf.inject(safe, SynapseBitFlip(rate=0.02, layer="mid0"), draw=draw)
        if any(len(set(place.words)) < len(place.words) for hit in hurt.damage.hits for place in hit.broken):
            raw = nf.inject(CHIP, SynapseBitFlip(rate=0.02, layer="mid0"), draw=draw)
            assert (read(hurt) == plain(CHIP, raw, hurt, "mid0")).all()
            return
    raise AssertionError("no draw broke two check bits of a word")


def test_upsets_at_two_times_are_right_until_the_second():
    safe = nf.protect(CHIP, "secded")
    faults = [
        SynapseBitFlip(synapse_bits=[(0, target, 7)], layer="mid0", when=once(at, clock="chip")) for target, at in ((0, 5), (1, 9))
    ]
    hurt = nf.inject(safe, faults)
    whens = {(edit.when.start, edit.when.stop, edit.when.clock) for edit in hurt.damage.edits}
    assert whens == {(9, None, "chip")}
    ended = nf.inject(safe, [SynapseBitFlip(synapse_bits=[(0, 0, 7)], layer="mid0", when=transient(2, 6, clock="chip")), faults[1]])
    assert ended.damage.edits == ()
    met = nf.inject(safe, [SynapseBitFlip(synapse_bits=[(0, 0, 7)], layer="mid0", when=transient(2, 12, clock="chip")), faults[1]])
    assert {(edit.when.start, edit.when.stop) for edit in met.damage.edits} == {(9, 12)}


def test_a_scrubbing_between_two_upsets_mends_the_first():
    at = [
        SynapseBitFlip(synapse_bits=[(0, target, 7)], layer="mid0", when=once(step, clock="chip"))
        for target, step in ((0, 5), (1, 9))
    ]
    assert nf.inject(nf.protect(CHIP, {"kind": "secded", "scrub": 8}), at).damage.edits == ()  # after step 8
    assert nf.inject(nf.protect(CHIP, {"kind": "secded", "scrub": 4}), at).damage.edits == ()
    assert nf.inject(nf.protect(CHIP, {"kind": "secded", "scrub": 9}), at).damage.edits != ()  # both in steps 1 to 9
    stuck = [SynapseBitStuck(synapse_bits=[(0, 0, 7)], level=level, layer="mid0") for level in (0, 1)]
    wrong = next(
        fault for fault in stuck if nf.inject(CHIP, fault).damage.edits and (read(nf.inject(CHIP, fault)) != read(CHIP)).any()
    )
    assert (
        nf.inject(nf.protect(CHIP, {"kind": "secded", "scrub": 2}), [wrong, at[1]]).damage.edits != ()
    )  # nothing mends a stuck cell


def defeated(probability, bits, intervals):
    """Probability that a word of so many bits, each upset once with some probability at a uniform time, has two upsets in one interval of so many."""
    upsets = np.arange(bits + 1)
    apart = np.array([np.prod(1 - np.arange(number) / intervals) if number <= intervals else 0.0 for number in upsets])
    return 1 - float((stats.binom.pmf(upsets, bits, probability) * apart).sum())


@pytest.mark.parametrize("intervals", [1, 8])
def test_scrubbing_agrees_with_its_formula(intervals):
    """Words that two upsets of one interval defeat, against binomial upsets at uniform times, within the interval over draws."""
    steps, rate, draws = 1600, 0.02, 6
    chip = chip_of((40, 20, 5))
    safe = nf.protect(chip, {"kind": "secded", "scrub": steps // intervals})
    own = [words.data_bits + words.check_bits for words in safe.protection.words]
    expected = sum(defeated(rate, int(bits), intervals) for each in own for bits in each) / sum(map(len, own))
    found = []
    for draw in range(draws):
        hurt = nf.inject(safe, SynapseBitFlip(rate=rate, layer="any", when=ageing(1, steps + 1)), draw=draw)
        wrong = set()
        for edit in hurt.damage.edits:
            words, numbers = safe.protection.words_of(edit.connection), StoredNumbers(chip, edit.connection)
            at = np.searchsorted(words.sites, numbers.of(edit.sources, edit.targets))
            wrong |= {(edit.connection, int(word)) for word in np.searchsorted(words.starts, at, "right") - 1}
        found.append(len(wrong) / sum(map(len, own)))
    # of two upsets in check bits alone every weight reads right
    hidden = np.mean(
        [
            (r * (r - 1)) / (n * (n - 1))
            for w in safe.protection.words
            for r, n in zip(w.check_bits, w.check_bits + w.data_bits, strict=True)
        ]
    )
    low, high = stats.t.interval(0.99, draws - 1, np.mean(found), stats.sem(found))
    assert low <= expected * (1 - hidden) <= high


def test_faults_that_come_and_go_are_refused_where_they_meet_others_in_a_word():
    safe = nf.protect(CHIP, "secded")
    alone = SynapseBitFlip(synapse_bits=[(0, 0, 7)], layer="mid0", when=intermittent(1, 2))
    assert nf.inject(safe, alone).damage.edits == ()
    with pytest.raises(
        FaultError, match=r"^connection 'mid0': faults that come and go \(periodic, intermittent\), or of both clocks, meet others"
    ):
        nf.inject(safe, [alone, SynapseBitFlip(synapse_bits=[(0, 1, 7)], layer="mid0")])


@pytest.mark.parametrize("per", ["connection", "target", "source"])
@pytest.mark.parametrize("outside", ["clip", "mute"])
def test_weights_outside_their_range_are_put_inside(per, outside):
    safe = nf.protect(CHIP, {"kind": "bounds", "per": per, "outside": outside})
    assert (read(safe) == read(CHIP)).all()
    fault = SynapseBitFlip(rate=0.05, layer="any")
    raw, hurt = read(nf.inject(CHIP, fault)), read(nf.inject(safe, fault))
    healthy = read(CHIP)
    axis = {"connection": None, "target": 1, "source": 0}[per]
    low, high = healthy.min(axis=axis, keepdims=True), healthy.max(axis=axis, keepdims=True)
    inside = np.clip(raw, low, high) if outside == "clip" else np.where((raw < low) | (raw > high), 0, raw)
    assert (hurt == inside).all()
    assert (hurt != raw).any() or per == "connection"


def test_shared_kernels_and_their_readers():
    chip = conv_chip()
    safe = nf.protect(chip, "secded")
    fault = SynapseBitFlip(count=1, layer="hands")
    for draw in range(6):
        assert nf.inject(chip, fault, draw=draw).damage.edits
        assert nf.inject(safe, fault, draw=draw).damage.edits == ()
    words = safe.protection.words_of("hands")
    for draw in range(6):  # of a shared word all that read it are put right together, or none
        cells = SynapseBitFlip(rate=0.03, layer="hands")
        raw, hurt = nf.inject(chip, cells, draw=draw), nf.inject(safe, cells, draw=draw)
        numbers = StoredNumbers(chip, "hands")
        left = {int(site) for edit in hurt.damage.edits for site in numbers.of(edit.sources, edit.targets)}
        broken = {int(site) for edit in raw.damage.edits for site in numbers.of(edit.sources, edit.targets)}
        pairs = sum(len(edit.sources) for edit in hurt.damage.edits)
        assert pairs == len(numbers.readers(np.array(sorted(left), np.int64))[0])
        of_word = np.searchsorted(words.starts, np.arange(len(words.sites)), "right") - 1
        for word in range(len(words)):
            own = set(words.sites[of_word == word].tolist())
            if len(own & broken) == 1 and not any(place.words for hit in hurt.damage.hits for place in hit.broken):
                assert not own & left or any(bin(int(flips)).count("1") > 1 for edit in raw.damage.edits for flips in edit.flips)


def test_a_share_covers_that_share_and_a_budget_pays_for_check_bits_and_map():
    stored = 8 * (20 * 12 + 12 * 5)
    half = nf.protect(CHIP, "secded:0.5:random").protection
    assert half.data_bits == stored // 2
    for unit in ("bit", "row", "plane"):
        paid = nf.protect(CHIP, {"kind": "secded", "budget": 0.9, "by": "random", "unit": unit}).protection
        assert 0 < paid.extra_bits <= 0.9 * stored
        assert paid.extra_bits == paid.check_bits + paid.map_bits
    assert nf.protect(CHIP, {"kind": "secded", "budget": 0.05, "by": "random", "unit": "plane"}).protection.map_bits == 0


def test_bits_that_change_predictions_are_covered_first():
    chip = chip_of((20, 12, 5), timesteps=8)
    rng = np.random.default_rng(2)
    inputs = nf.Inputs(events=nf.Spikes.dense(rng.random((60, 8, 20)) < 0.3))
    labels = nf.run(chip, inputs).activity.predictions
    by_atlas = nf.protect(chip, {"kind": "secded", "share": 0.1, "samples": 60}, inputs, labels)
    by_lot = nf.protect(chip, "secded:0.1:random")
    fault = SynapseBitFlip(rate=0.03, layer="any")

    def lost(base):
        return sum(1 - nf.run(nf.inject(base, fault, draw=draw), inputs, labels).accuracy for draw in range(10))

    assert lost(by_atlas) < lost(by_lot)
    assert lost(by_atlas) < lost(chip)


def test_a_choice_fitted_to_the_atlas_knows_the_ranges_beside_it():
    chip = chip_of((20, 12, 5), timesteps=8)
    inputs = nf.Inputs(events=nf.Spikes.dense(np.random.default_rng(2).random((60, 8, 20)) < 0.3))
    labels = nf.run(chip, inputs).activity.predictions
    fitted = {"kind": "secded", "share": 0.1, "by": "fitted", "samples": 60}
    bare = nf.protect(chip, fitted, inputs, labels)
    ranged = [nf.protect(chip, both, inputs, labels) for both in ([fitted, "bounds"], ["bounds", fitted])]
    fault = SynapseBitFlip(rate=0.03, layer="any")

    def lost(base):
        return sum(1 - nf.run(nf.inject(base, fault, draw=draw), inputs, labels).accuracy for draw in range(10))

    def top_bits(safe):
        return sum(int((one.masks >> 7 & 1).sum()) for one in safe.protection.words)

    assert lost(bare) < lost(nf.protect(chip, "secded:0.1:random")) < lost(chip)
    assert top_bits(ranged[0]) < top_bits(bare)  # a flip of the top bit of a small weight is muted
    for one, other in zip(ranged[0].protection.words, ranged[1].protection.words, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
    with pytest.raises(UsageError, match="by fitted looks at samples"):
        nf.protect(chip, fitted)
    with pytest.raises(UsageError, match="fitted"):
        nf.protect(chip, {"kind": "tmr", "by": "fitted"})


def test_the_charge_counts_bits_reads_and_scrubbing():
    inputs = nf.Inputs(events=nf.Spikes.dense(np.ones((1, 4, 20), bool)))
    safe = nf.protect(CHIP, {"kind": "secded", "connection": "mid0", "word": 8})
    counts = nf.run(safe, inputs).activity.spike_counts
    cost = charge(safe, counts, 1)
    assert (cost.stored_bits, cost.data_bits, cost.check_bits, cost.map_bits) == (2400, 1920, 1200, 0)
    assert cost.bits_read == pytest.approx(4 * 1200)  # every spike of every row reads the check bits of its words, and no more
    joule = CHIP.profile.energy_tables[CHIP.profile.default_energy].energy.synaptic_operation.value
    assert cost.energy == pytest.approx(4 * 1200 / 8 * joule)
    scrubbed = charge(nf.protect(CHIP, {"kind": "secded", "connection": "mid0", "word": 8, "scrub": 2}), counts, 1)
    assert scrubbed.bits_read == pytest.approx(4 * 1200 + 4 * 2 * (1920 + 1200) / 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "secdet",
            r"^protect: unknown kind 'secdet' \(did you mean 'secded'\?\); kinds: secded, parity, bounds, remap_bits, potentials, tmr, mute$",
        ),
        ({"share": 0.1}, r"^protect: unknown kind None; kinds: secded, parity, bounds, remap_bits, potentials, tmr, mute$"),
        ("secded:much", r"^protect 'secded:much': share must be a number above 0, at most 1, or all, is 'much'$"),
        ("secded:0.1:atlas:8", r"^protect 'secded:0.1:atlas:8': at most kind:share:by; a mapping \{kind: secded, …\} says more$"),
        ({"kind": "secded", "share": 0.1, "budget": 0.1}, r"give share or budget, not both"),
        ({"kind": "parity", "scrub": 4}, r"scrub goes with secded: parity puts nothing right"),
        ("secded:0.00001:random", r"^protect secded:1e-05:random: 1e-05 of 2,400 stored bits is less than one bit$"),
        (
            {"kind": "secded", "budget": 0.001, "by": "random"},
            r"^protect secded:budget 0.001:random: a budget of 0.001 of 2,400 stored bits is 2 bits, too few for the check bits of one code word",
        ),
        ({"kind": "secded", "layer": "middle"}, r"^no layer 'middle'"),
        (
            {"kind": "secded", "connection": "mid"},
            r"^protect secded:all: no connection 'mid' \(did you mean 'mid0'\?\); connections: mid0, hands$",
        ),
        (["secded", "parity"], r"^protect parity:all: connection 'mid0' has a code already; a connection takes one$"),
        ("secded:0.1", r"^protect: by atlas looks at samples; give inputs and labels"),
    ],
)
def test_bad_input_is_one_message(spec, message):
    with pytest.raises((UsageError, FaultError), match=message):
        nf.protect(CHIP, spec)


def test_what_a_chip_lacks_is_refused():
    broken = nf.inject(CHIP, nf.faults.CoreDead(count=1))
    with pytest.raises(UsageError, match=r"^protect takes the healthy chip"):
        nf.protect(broken, "secded")
    with pytest.raises(UsageError, match=r"^the chip is protected already"):
        nf.protect(nf.protect(CHIP, "secded"), "bounds")
    with pytest.raises(UnsupportedError, match=r"^protect bounds:target:mute: the positions of 'hands' share kernels"):
        nf.protect(conv_chip(), "bounds")


def test_a_core_that_cannot_hold_its_check_bits_is_named():
    profile = CHIP.profile
    core = profile.core.model_copy(update={"synapse_bits": profile.core.synapse_bits.model_copy(update={"value": 900})})
    tight = replace(CHIP, profile=profile.model_copy(update={"core": core}))
    with pytest.raises(
        CapacityError,
        match=r"^protect: core \d+ stores [\d,]+ bits of synapses and would store [\d,]+ bits of protection more, but it has 900",
    ):
        nf.protect(tight, {"kind": "secded", "word": 8})


def test_without_protection_nothing_changes():
    assert not Protection()
    fault = SynapseBitFlip(rate=0.01, layer="any")
    assert nf.inject(CHIP, fault).damage.under is None
    assert json.dumps(nf.inject(CHIP, fault).damage.hits[0].notes) == "[]"


def test_a_plan_is_for_the_protection_that_it_was_made_on():
    safe, other = nf.protect(CHIP, {"kind": "secded", "word": 8}), nf.protect(CHIP, "parity")
    plan = nf.faults.plan(safe, SynapseBitFlip(rate=0.05, layer="any"), seed=3)
    assert nf.inject(safe, plan).damage.hits == nf.inject(safe, SynapseBitFlip(rate=0.05, layer="any"), seed=3).damage.hits
    for chip in (CHIP, other):
        with pytest.raises(FaultError, match=r"^synapse_bit_flip: the plan was made on a chip of other protection"):
            nf.inject(chip, plan)


def test_scores_of_ones_own_decide_what_is_covered():
    scores = {"mid0": np.zeros((240, 8)), "hands": np.zeros((60, 8))}
    scores["hands"][7, 3] = 1.0
    words = nf.protect(CHIP, {"kind": "secded", "share": 1 / 2400}, scores=scores).protection.words
    assert [(one.connection, one.sites.tolist(), one.masks.tolist()) for one in words] == [("hands", [7], [8])]
    with pytest.raises(UsageError, match=r"^protect: scores of connection 'mid0' must be 240 × 8 numbers$"):
        nf.protect(CHIP, "secded:0.1", scores={"hands": scores["hands"]})
