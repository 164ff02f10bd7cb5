"""The page of output keys: each verb and each table writes what it explains, in the types, words and ranges that it says, and nothing else."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import neurofault as nf

DOCS = Path(__file__).parents[1] / "docs"
TOLD = yaml.safe_load((DOCS / "output_keys.yaml").read_text(encoding="utf-8"))
WHOLE = re.compile(r"whole number|int\d+")
NUMBER = re.compile(r"number|double")


class Reader:
    """Reads answers beside the page, and keeps which of its keys were met."""

    def __init__(self, *groups: dict) -> None:
        self.wrong: list[str] = []
        self.met: set[str] = set()
        self.trees = {id(group): tree(group["keys"]) for group in groups}
        self.records = {name: tree(one["keys"]) for name, one in TOLD["records"].items()}
        self.known = {name for group in groups for name in group["keys"]}

    def missing(self) -> list[str]:
        """Return the keys that nothing wrote: of the page, and of the records that were met."""
        met = {name.split(":")[0] for name in self.met if ":" in name}
        known = self.known | {f"{name}:{key}" for name in met for key in TOLD["records"][name]["keys"]}
        return sorted(known - self.met)

    def read(self, group: dict, answer: dict) -> None:
        self.mapping(self.trees[id(group)], answer, "", "")

    def mapping(self, branch: dict, value: dict, path: str, root: str) -> None:
        free = branch.get("*")
        for key, inner in value.items():
            name = "*" if free else key
            whole = f"{path}.{name}".removeprefix(".") if path else name
            if free is None and key not in branch:
                self.wrong.append(f"{root}{whole} is not explained")
                continue
            node = free or branch[key]
            self.met.add(root + whole)
            self.value(node, inner, whole, root)
        for key, node in {} if free else branch.items():
            if key not in value and "only" not in node["said"]:
                self.wrong.append(f"{root}{path}.{key} is not there")

    def value(self, node: dict, value: object, path: str, root: str) -> None:
        said = node["said"]
        kinds = said["is"].split(" or ")
        if value is None:
            if kinds[-1] != "null":
                self.wrong.append(f"{root}{path} is null")
            return
        if not any(self.fits(kind, node, value, path, root) for kind in kinds if kind != "null"):
            self.wrong.append(f"{root}{path} is {value!r:.60}, not {said['is']}")
        for one in value if isinstance(value, list) else [value]:
            if "range" in said and not within(one, said["range"]):
                self.wrong.append(f"{root}{path} is {one!r:.60}, not {said['range']}")

    def fits(self, kind: str, node: dict, value: object, path: str, root: str) -> bool:
        """Whether a value is of a kind; what is within it is read too."""
        if kind.startswith("list of "):
            inner, node = kind.removeprefix("list of ").removesuffix("s"), {**node, "below": node["below"].get("[]", node)["below"]}
            return isinstance(value, list) and all(self.fits(inner, node, one, f"{path}[]", root) for one in value)
        if kind in self.records:
            if isinstance(value, dict):
                self.mapping(self.records[kind], value, "", f"{kind}:")
            return isinstance(value, dict)
        if kind == "mapping":
            if isinstance(value, dict):
                self.mapping(node["below"], value, path, root)
            return isinstance(value, dict)
        if kind in TOLD["elsewhere"]:
            return isinstance(value, dict)
        if kind == "boolean":
            return isinstance(value, bool)
        if kind == "text":
            return isinstance(value, str)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or (kind == "whole number" and isinstance(value, int)))


def tree(keys: dict) -> dict:
    """Return keys as a tree: name → what is said of it, and what is below."""
    top: dict = {}
    for path, said in keys.items():
        below, node = top, {}
        for part in path.replace("[]", ".[]").split("."):
            node = below.setdefault(part, {"said": {"is": "list of mappings"}, "below": {}})
            below = node["below"]
        node["said"] = said
    return top


def within(value: object, allowed: str | list) -> bool:
    if isinstance(allowed, list):
        return value in allowed
    match allowed.split():
        case ["at", "least", least]:
            return value >= float(least)
        case ["above", least]:
            return value > float(least)
        case [least, "to", most]:
            return float(least) <= value <= float(most)
    raise AssertionError(allowed)


def plain(answer: object) -> object:
    """Return an answer with the names that it has of labels."""
    if isinstance(answer, dict):
        return {key.replace("mean_squared_error", "accuracy"): plain(value) for key, value in answer.items()}
    return [plain(one) for one in answer] if isinstance(answer, list) else answer


CODE = """
import numpy as np
import torch
import neurofault as nf
from torch import nn

def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 2))

def summed():
    eyes, hands = nf.Population("eyes", (4,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(None))
    return nf.chain("summed", [eyes, hands], [nf.Dense(np.array([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]]))], timesteps=8)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with networks and data of all forms: labels and targets, of samples and of steps, of values and of events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "key_networks", raising=False)
    (tmp_path / "key_networks.py").write_text(CODE)
    (tmp_path / "row.yaml").write_text(
        "name: row\ntitle: Boards in a row\nextends: loihi1\nboard: {chips: {value: 1, unit: chips, evidence: assumed, note: a test}}\n"
    )
    random = np.random.default_rng(3)
    values, events = random.normal(0, 1, (90, 6)).astype(np.float32), random.random((60, 8, 4)) < 0.4
    sums = np.cumsum(events, axis=1) @ np.array([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]]).T
    np.savez("values.npz", images=values, targets=values[:, :2] * 2)
    np.savez("sums.npz", events=events, targets=sums[:, -1] + 0.5)
    np.savez("step_targets.npz", events=events, targets=sums + 0.5)
    np.savez("step_labels.npz", events=events, labels=(sums[..., 1] > sums[..., 0]).astype(int))
    return tmp_path


FEW = ("--samples", "20", "--draws", "2")
SUMMED = ("--network", "key_networks:summed", "--neurons-per-core", "2", *FEW)
BOARDS = (
    "--profile",
    "row.yaml",
    "--chips",
    "3",
    "--place",
    "spread",
    "--neurons-per-core",
    "2",
    "--samples",
    "5",
    "--draws",
    "1",
    "--timesteps",
    "8",
)
CASES = {
    "inject": [
        ("--timesteps", "8", "--kill-cores", "1", "--explain", *FEW),
        (*BOARDS, "--fault", "{kind: board_dead, boards: [1]}"),
        (*BOARDS, "--fault", "{kind: board_dead, boards: [1], when: {kind: transient, start: 2, stop: 4}}"),
        ("--profile", "spinnaker2", "--timesteps", "8", "--reset", "never", "--fault", "neuron_dead", "--count", "0", *FEW),
        ("--network", "key_networks:mlp", "--data", "values.npz", "--calibrate", "settled", "--protect", "secded", "--fault", "synapse_bit_flip", "--rate", "0.01", *FEW),
        (*SUMMED, "--data", "step_labels.npz", "--fault", "neuron_dead", "--count", "1", "--layer", "input"),
        (*SUMMED, "--data", "step_targets.npz", "--fault", "neuron_dead", "--count", "1", "--layer", "input"),
    ],
    "rescue": [
        ("--strategy", "none,remap,iterative", "--learner", "delta", "--cycles", "0.5", "--steps", "2", "--spend", "even", "--max-writes", "5000", "--kill-cores", "2", "--adapt", "100", "--coarse", "--control", "none", *FEW),
        ("--strategy", "diagnose", "--suspect", "core_dead", "--kill-cores", "1", "--adapt", "60", "--control", "none", *FEW),
        ("--strategy", "none", "--control", "none", "--network", "key_networks:mlp", "--data", "values.npz", "--protect", "secded", "--calibrate", "settled", "--fault", "synapse_bit_flip", "--rate", "0.01", "--adapt", "20", *FEW),
        ("--strategy", "none", "--control", "none", "--reset", "never", *SUMMED, "--data", "sums.npz", "--fault", "neuron_dead", "--count", "1", "--layer", "input", "--adapt", "20"),
    ],
    "atlas": [
        ("--samples", "20", "--top", "2"),
        ("--samples", "20", "--top", "2", "--network", "key_networks:mlp", "--data", "values.npz", "--calibrate", "settled"),
    ],
    "doctor": [()],
    "profiles": [()],
}  # fmt: skip


def writing_verbs() -> set[str]:
    from neurofault.cli.verbs import loaded

    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = set()
    for words in module.verbs():
        command = loaded(words[0])
        options = [getattr(command, "params", [])]
        for word in words[1:]:
            command = command.commands[word]
            options = [command.params]
        own = loaded(words[0])
        if len(words) == 1 or getattr(own, "invoke_without_command", False):
            found |= {words[0]} if any("--json" in one.opts for one in own.params) else set()
        found |= {" ".join(words)} if any("--json" in one.opts for params in options for one in params) else set()
    return found


def asked(cli, *words: str) -> dict:
    code, out, err = cli(*words, "--json", "-")
    assert code in (0, 1), err
    return json.loads(out)


def test_every_verb_that_writes_json_is_explained():
    assert writing_verbs() == set(TOLD["outputs"])


@pytest.mark.parametrize("verb", CASES)
def test_a_verb_writes_the_keys_that_are_explained(cli, here, verb):
    reader = Reader(TOLD["outputs"][verb])
    for words in CASES[verb]:
        reader.read(TOLD["outputs"][verb], plain(asked(cli, verb, *words)))
    assert reader.wrong == []
    assert reader.missing() == []


def test_tests_and_what_they_find_write_the_keys_that_are_explained(cli, here):
    told = [TOLD["outputs"][verb] for verb in ("testset", "testset run", "diagnose")]
    choose = ("testset", "--fault", "core_dead", "--observe", "potential", "--candidates", "40", "--check", "2")
    reader = Reader(*told)
    reader.read(told[0], asked(cli, *choose, "--draws", "5", "--out", "test.npz", "--save-chip", "chip.npz"))
    nf.save(nf.inject(nf.load("chip.npz"), nf.faults.CoreDead(count=1), seed=1), "hurt.npz")
    reader.read(told[1], asked(cli, "testset", "run", "test.npz", "--deployment", "hurt.npz"))
    words = ("diagnose", "test.npz", "--chip", "chip.npz", "--fault", "core_dead", "--draws", "2", "--deployment", "hurt.npz")
    reader.read(told[2], asked(cli, *words))
    assert reader.wrong == []
    assert reader.missing() == []


def test_alarms_write_the_keys_that_are_explained(cli, here):
    told = [TOLD["outputs"][verb] for verb in ("alarms", "alarms run")]
    choose = ("alarms", "--fault", "core_dead", "--watcher", "busy", "--false-alarms", "60", "--draws", "2", "--stream", "20")
    reader = Reader(*told)
    reader.read(told[0], asked(cli, *choose, "--size", "1", "--out", "alarms.npz", "--save-chip", "chip.npz"))
    reader.read(told[1], asked(cli, "alarms", "run", "alarms.npz", "--deployment", "chip.npz"))
    assert reader.wrong == []
    assert reader.missing() == []


LABELS = """\
name: labels
network: {zoo: digits-mlp}
convert: {timesteps: 8}
data: {samples: 20, adapt: 40}
place: {spare_cores: 3}
faults: [{kind: core_dead, count: {sweep: [1, 99]}}, {kind: neuron_dead, count: 20}]
rescue: [{strategy: none}, {strategy: batch, learner: delta}]
repeats: {draws: 10, stop: {half_width: 0.4}}
"""
TARGETS = """\
name: targets
network: {torch: "key_networks:summed"}
data: {npz: sums.npz, samples: 20}
place: {neurons_per_core: 2}
faults: [{kind: core_dead, count: 1, layer: any}]
repeats: {draws: 2}
"""


def test_campaigns_write_the_keys_and_columns_that_are_explained(cli, here):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    report, tables = TOLD["outputs"]["campaign report"], TOLD["tables"]
    reader = Reader(report)
    columns: dict[str, set[str]] = {name: set() for name in ("trials", "points", "chip")}
    for name, text in (("labels", LABELS), ("targets", TARGETS)):
        Path(f"{name}.yaml").write_text(text)
        assert cli("campaign", "run", f"{name}.yaml", "--workers", "1")[0] in (0, 1)
        reader.read(report, asked(cli, "campaign", "report", f"runs/{name}"))
        folder = Path("runs") / name
        assert cli("campaign", "export", str(folder), f"{name}.csv")[0] == 0
        with Path(f"{name}.csv").open() as file:
            assert next(csv.reader(file)) == parquet.read_table(folder / "trials.parquet").column_names
        columns["trials"] |= read_table(tables["trials"], parquet.read_table(folder / "trials.parquet"))
        for part in ("points", "chip"):
            for file in (folder / "figures").glob("accuracy*.csv" if part == "points" else "chip*.csv"):
                columns[part] |= read_csv(tables[part], file)
    assert reader.wrong == []
    assert reader.missing() == []
    for name, met in columns.items():
        assert set(tables[name]["keys"]) - met == set(), name


def test_an_atlas_writes_the_columns_that_are_explained(cli, here):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("matplotlib")
    met: dict[str, set[str]] = {name: set() for name in ("sites", "healthy", "changes")}
    for number, words in enumerate(
        (("--network", "digits-mlp"), (*SUMMED[:4], "--data", "sums.npz"), (*SUMMED[:4], "--data", "step_labels.npz"))
    ):
        code, _, err = cli("atlas", *words, "--layer", "any", "--samples", "20", "--out", str(number))
        assert code == 0, err
        for name in met:
            met[name] |= read_table(TOLD["tables"][name], parquet.read_table(Path(str(number)) / f"{name}.parquet"))
    for name, names in met.items():
        assert set(TOLD["tables"][name]["keys"]) - names == set(), name


def explained(keys: dict, column: str) -> str | None:
    """Return under which key a column is explained."""
    column = column.replace("mean_squared_error", "accuracy")
    free = f"{column.split('.')[0]}.*"
    return column if column in keys else free if free in keys else None


def read_table(told: dict, table) -> set[str]:
    """Return the keys under which the columns of a table are explained; types and ranges fit."""
    met = set()
    for field in table.schema:
        key = explained(told["keys"], field.name)
        assert key is not None, field.name
        said = told["keys"][key]
        assert said["is"] in ("any", re.sub(r"list<\w+: (\w+).*>", r"list<\1>", str(field.type))), field
        for value in table[field.name].to_pylist():
            for one in value if isinstance(value, list) else [value]:
                assert one is None or "range" not in said or within(one, said["range"]), (field.name, one)
        met.add(key)
    assert {name for name, said in told["keys"].items() if "only" not in said and name[-1] != "*"} <= met
    return met


def read_csv(told: dict, path: Path) -> set[str]:
    """Return the columns of a CSV file, all of them explained; numbers are numbers."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name, value in row.items():
            said = told["keys"][name]
            if value and WHOLE.fullmatch(said["is"]):
                assert value.lstrip("-").isdigit(), name
            elif value and NUMBER.fullmatch(said["is"]):
                assert np.isfinite(float(value)), name
    assert {name for name, said in told["keys"].items() if "only" not in said} <= set(rows[0])
    return set(rows[0])


def test_the_page_has_every_key_with_what_it_is_and_links_that_lead_to_a_heading():
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.output_keys()
    sections = dict(re.findall(r"^##+ (.*)\n((?:(?!^##+ ).*\n)*)", page, re.MULTILINE))
    groups = [(one["title"], one) for part in ("outputs", "tables") for one in TOLD[part].values()]
    for title, group in [*groups, *TOLD["records"].items()]:
        rows = re.findall(r"^\| `([^`]+)` \| .+ \| .* \| .* \| (.+) \|$", sections[title], re.MULTILINE)
        assert [name for name, _ in rows] == list(group["keys"]), title
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= set(TOLD["records"])
