"""`protect:` in campaigns: an axis like any other, known by what it covers."""

import pytest

import neurofault as nf
from neurofault.errors import SpecError

pandas = pytest.importorskip("pandas")

SMALL = {
    "name": "guarded",
    "network": {"zoo": "digits-mlp"},
    "data": {"samples": 60},
    "faults": [{"kind": "synapse_bit_flip", "rate": 0.01, "layer": "any"}],
    "repeats": {"draws": 2, "seed": 3},
}
SECDED, PART = {"kind": "secded", "word": 8}, {"kind": "secded", "share": 0.1, "by": "importance", "samples": 20}


def test_protections_are_an_axis_and_part_of_what_a_trial_is_known_by(tmp_path):
    given = {**SMALL, "protect": {"sweep": [[], [SECDED], [PART, {"kind": "bounds"}]]}}
    table = nf.campaign(given, out=tmp_path / "run").run(workers=1).table()
    assert len(table) == len(set(table["trial"])) == 6
    assert set(table["status"]) == {"ok"}
    correct = table["damaged_correct"].tolist()
    assert all(after > before for before, after in zip(correct[:2], correct[2:4], strict=True))
    bare = nf.campaign(SMALL, out=tmp_path / "bare").run(workers=1).table()
    assert bare["trial"].tolist() == table["trial"].tolist()[:2]  # without protection a trial is what it was


@pytest.mark.parametrize(
    ("protect", "message"),
    [
        ([{"kind": "secdet"}], "protect[0].kind: 'secdet' is unknown (did you mean 'secded'?); allowed: secded, parity, bounds"),
        ([{"kind": "bounds", "share": 0.1}], "share"),
        ([{"kind": "secded", "share": 2}], "protect[0].share"),
    ],
)
def test_mistakes_stand_at_their_place(protect, message):
    with pytest.raises(SpecError) as caught:
        nf.campaign({**SMALL, "protect": protect})
    assert len(caught.value.mistakes) == 1
    assert message in caught.value.mistakes[0]


@pytest.mark.parametrize("strategy", ["remap", "diagnose"])
@pytest.mark.parametrize("guard", [SECDED, {"kind": "bounds"}])
def test_a_campaign_that_guards_words_and_moves_them_is_refused_before_anything_runs(guard, strategy):
    given = {**SMALL, "place": {"spare_cores": 2}, "rescue": [{"strategy": "none"}, {"strategy": strategy}]}
    with pytest.raises(SpecError) as caught:
        nf.campaign({**given, "protect": {"sweep": [[], [guard]]}})
    assert len(caught.value.mistakes) == 1
    assert f"and rescue {strategy} moves them away from their code words, ranges and orders of bits" in caught.value.mistakes[0]
    nf.campaign({**given, "protect": [{"kind": "tmr"}]})  # neurons may be guarded beside it
