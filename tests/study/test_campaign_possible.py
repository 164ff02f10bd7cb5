"""What none of a campaign's chips can do is said before anything runs."""

from __future__ import annotations

import pytest
from campaigns import made_ready

from neurofault.errors import UsageError

BASE = """\
name: small
network: {zoo: digits-mlp}
data: {samples: 20, adapt: 40}
convert: {reset: never}
faults: [{kind: core_dead, count: 1}]
repeats: {draws: 2, seed: 7}
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "rescue: [{strategy: none}, {strategy: batch, learner: delta}]",
            "rescue batch: what learns takes samples that start anew (reset: sample), and this network keeps its state between them (reset: never); "
            "--reset sample, or convert: {reset: sample}, shows it such samples",
        ),
        ("engine: snntorch", "engine: snntorch cannot run a network that keeps its state between samples (reset: never)"),
    ],
)
def test_it_is_refused(tmp_path, change, message):
    with pytest.raises(UsageError) as error:
        made_ready(tmp_path, BASE + change)
    assert str(error.value) == message


def test_what_some_chips_can_do_stays(tmp_path):
    text = BASE.replace("never}", "{sweep: [sample, never]}}") + "rescue: [{strategy: batch, learner: delta}]"
    assert len(made_ready(tmp_path, text).chips) == 2
