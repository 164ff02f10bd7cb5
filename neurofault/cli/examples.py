"""Examples of each verb, shown at the end of its ``--help``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "inject": (
        "inject",
        "inject --network mnist-mlp --kill-cores 2 --draws 20 --json -",
        "inject --kill-cores 2 --verbose",
        "inject --fault synapse_bit_flip --rate 1e-3 --profile loihi1 --quiet",
    ),
    "rescue": (
        "rescue --kill-cores 4 --draws 4 --quiet",
        "rescue --strategy remap,batch --learner delta --spare-cores 4 --verbose --json rescue.json",
        "rescue --fault neuron_dead --rate 0.3 --strategy iterative --cycles 2 --picture rescue.png",
    ),
    "atlas": ("atlas --fault neuron_dead --layer hidden", "atlas --fault core_dead --top 5 --verbose --json atlas.json"),
    "map": ("map", "map --network mnist-mlp --profile loihi1 --place spread --spare-cores 4", "map --sanafe sanafe --quiet"),
    "train": ("train digits-mlp", "train mnist-mlp --harden cores=0.46 --quiet"),
    "profiles": ("profiles", "profiles --json -"),
    "convert": (
        "convert digits-mlp digits.nir",
        "convert digits-mlp --check",
        "convert digits-mlp broken.nir --profile loihi2 --fault core_dead --count 2",
    ),
    "paper": ("paper fig1 --quick --out paper", "paper all --on chip --out paper-chip"),
    "testset": (
        "testset --out test.npz --save-chip chip.npz",
        "testset --fault core_dead --observe counts --pool 1000 --verbose --json testset.json",
    ),
    "testset run": ("testset run test.npz --deployment chip.npz", "testset run test.npz --answers answers.npz --quiet"),
    "diagnose": (
        "diagnose test.npz --chip chip.npz --deployment broken.npz --quiet",
        "diagnose test.npz --chip chip.npz --pairs --draws 20",
    ),
    "alarms": ("alarms --out alarms.npz --save-chip watched.npz", "alarms --size 4 --fault core_dead --json alarms.json"),
    "alarms run": ("alarms run alarms.npz --deployment watched.npz",),
    "doctor": ("doctor", "doctor --run"),
    "campaign check": ("campaign check experiments/core_loss.yaml",),
    "campaign plan": ("campaign plan experiments/core_loss.yaml --set repeats.draws=3",),
    "campaign run": (
        "campaign run experiments/core_loss.yaml",
        "campaign run experiments/core_loss.yaml --shard 1/8 --out runs/part1",
        "campaign run experiments/core_loss.yaml --set repeats.draws=2 --workers 2 --verbose",
    ),
    "campaign status": ("campaign status experiments/core_loss.yaml",),
    "campaign report": (
        "campaign report experiments/core_loss.yaml",
        "campaign report runs/core-loss --quiet",
        "campaign report runs/core-loss --json -",
    ),
    "campaign export": ("campaign export runs/core-loss rows.parquet", "campaign export runs/core-loss rows.csv"),
    "campaign merge": ("campaign merge runs/all runs/part1 runs/part2",),
    "campaign schema": ("campaign schema",),
    "faults list": ("faults list",),
    "faults describe": ("faults describe core_dead",),
    "profile new": ("profile new my_chip.yaml", "profile new my_chip.yaml --extends loihi2"),
    "profile check": ("profile check hardware_profiles/loihi2.yaml",),
    "profile show": ("profile show loihi2", "profile show speck2f --sources"),
    "profile diff": ("profile diff loihi1 loihi2",),
    "profile schema": ("profile schema",),
}
"""Words of a verb → command lines, without the program's name, that work as they stand where the files that they name are there."""
