import json
from pathlib import Path

import pytest
from campaigns import SMALL, written
from hypothesis import given, settings
from hypothesis import strategies as some

from neurofault.data.datasets import NAMES
from neurofault.digest import canonical
from neurofault.errors import SpecError
from neurofault.faults import KINDS
from neurofault.study.campaign.identity import trial_id
from neurofault.study.campaign.records import CampaignSpec
from neurofault.study.campaign.schema import json_schema
from neurofault.study.campaign.spec import load_campaign
from neurofault.zoo import RECIPES
from neurofault.zoo.events import EVENT_RECIPES

REPOSITORY = Path(__file__).parents[2]


def mistakes(tmp_path: Path, text: str, *settings: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_campaign(written(tmp_path, text), settings)
    return [one.removeprefix(f"{tmp_path}/") for one in caught.value.mistakes]


def test_cells_are_plans_times_ways_times_axes(tmp_path):
    campaign = load_campaign(written(tmp_path))
    cells = list(campaign.cells())
    assert (campaign.n_cells, campaign.n_trials, len(cells)) == (6, 18, 6)
    assert [(cell.faults[0].kind, cell.faults[0].count, cell.rescue.label) for cell in cells] == [
        ("core_dead", 1, "none"), ("core_dead", 1, "batch · delta"), ("core_dead", 3, "none"), ("core_dead", 3, "batch · delta"),
        ("synapse_bit_flip", None, "none"), ("synapse_bit_flip", None, "batch · delta"),
    ]  # fmt: skip
    assert [dict(cell.axes) for cell in cells][::2] == [{"faults.0.count": 1}, {"faults.0.count": 3}, {}]


def test_an_axis_outside_faults_and_rescue_multiplies_everything(tmp_path):
    campaign = load_campaign(written(tmp_path), ["convert.weight_bits={sweep: [4, 6, 8]}"])
    assert campaign.n_cells == len(list(campaign.cells())) == 18
    assert {cell.spec.convert.weight_bits for cell in campaign.cells()} == {4, 6, 8}


def test_set_changes_a_value_inside_a_list(tmp_path):
    campaign = load_campaign(written(tmp_path), ["faults.1.rate={sweep: [1e-3, 1e-4]}", "repeats.draws=2"])
    assert [axis.name for axis in campaign.axes] == ["faults.0.count", "faults.1.rate"]
    assert campaign.n_trials == 16


def test_include_takes_over_what_is_not_said_again(tmp_path):
    (tmp_path / "base.yaml").write_text(SMALL)
    campaign = load_campaign(written(tmp_path, "include: base.yaml\nname: other\nrepeats: {draws: 5}\n"))
    assert (campaign.spec.name, campaign.spec.repeats.draws, campaign.spec.repeats.seed, campaign.n_cells) == ("other", 5, 7, 6)


def test_anchors_are_values(tmp_path):
    text = SMALL.replace("{sweep: [1, 3]}", "&n {sweep: [1, 3]}").replace("rate: 1e-2", "count: *n")
    assert load_campaign(written(tmp_path, text)).n_cells == 8


def test_every_mistake_is_told_at_its_place(tmp_path):
    text = (
        SMALL.replace("digits-mlp}", "digits-mlp, nir: x.nir}").replace("samples: 60", "sampels: 60").replace("core_dead", "core_ded")
        .replace("{strategy: batch, learner: delta}", "{strategy: batch}").replace("draws: 3", "draws: none")
    )  # fmt: skip
    found = mistakes(tmp_path, text)
    assert found == [
        "campaign.yaml:2:10: network: give one of zoo, torch, nir and netx, not zoo and nir",
        "campaign.yaml:3:8: unknown key 'sampels' in data (did you mean 'samples'?); allowed: bins, dt, polarity, crop, down, rounding, sensor, name, npz, events, python, folder, split, samples, adapt, signed, metric",
        f"campaign.yaml:5:12: faults[0]: unknown kind 'core_ded' (did you mean 'core_dead'?); kinds: {', '.join(KINDS)}",
        "campaign.yaml:9:5: rescue[1]: strategy batch needs a learner",
        "campaign.yaml:10:18: repeats.draws: expected a whole number, found text 'none'",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("core_dead, count: {sweep: [1, many]}", "campaign.yaml:5:42: faults[0]: core_dead: count must be a whole number, is 'many'"),
        ("core_dead, count: {sweep: []}", "campaign.yaml:5:31: faults.0.count: sweep takes a list with at least one value"),
        ("core_dead, count: {sweep: [1], x: 2}", "campaign.yaml:5:31: faults.0.count: sweep stands alone in its mapping, not beside x"),
        ("core_dead, count: {sweep: [{sweep: [1]}]}", "campaign.yaml:5:40: faults.0.count.0: a sweep cannot stand inside another"),
        ("core_dead, cout: 2", "unknown key 'cout' (did you mean 'count'?)"),
        ("core_ded, count: 2", "unknown kind 'core_ded' (did you mean 'core_dead'?)"),
    ],
)  # fmt: skip
def test_mistakes_of_faults_and_axes(tmp_path, text, mistake):
    found = mistakes(tmp_path, SMALL.replace("core_dead, count: {sweep: [1, 3]}", text))
    assert [one for one in found if mistake in one]
    assert all(one.startswith("campaign.yaml:5:") for one in found)


def test_a_mistake_in_an_included_file_or_a_setting_names_it(tmp_path):
    (tmp_path / "base.yaml").write_text(SMALL.replace("draws: 3", "draws: 0"))
    assert mistakes(tmp_path, "include: base.yaml\n") == ["base.yaml:10:18: repeats.draws: must be at least 1, is 0"]
    assert mistakes(tmp_path, SMALL, "repeats.draws=0")[0].endswith(": repeats.draws: must be at least 1, is 0")
    assert mistakes(tmp_path, SMALL, "repeats.draws=0")[0].startswith("--set repeats.draws=0:")
    assert mistakes(tmp_path, SMALL, "faults.9.count=1") == ["--set faults.9.count=1: 9 is not there: a list of 2, counted from 0"]
    assert mistakes(tmp_path, "include: none.yaml\n")[0].startswith("campaign.yaml:1:10: include: ")
    (tmp_path / "loop.yaml").write_text("include: loop.yaml\n")
    assert "a file that includes itself" in mistakes(tmp_path, "include: loop.yaml\n")[0]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("{zoo: digits-mlp}", "{zoo: digits-mlpp}", "campaign.yaml:2:16: network.zoo: no network 'digits-mlpp' in the zoo (did you mean 'digits-mlp'?); there are: digits-mlp, "),
        ("{zoo: digits-mlp}", "{zoo: digits-mpl+seed=1}", "campaign.yaml:2:16: network.zoo: no network 'digits-mpl' in the zoo (did you mean 'digits-mlp'?)"),
        ("{zoo: digits-mlp}", "{zoo: digits-mlp+cors=6}", "campaign.yaml:2:16: network.zoo: network 'digits-mlp+cors=6': unknown 'cors' (did you mean 'cores'?); allowed: cores, bits"),
        ("{zoo: digits-mlp}", "{zoo: digits-mlp+bits=2}", "campaign.yaml:2:16: network.zoo: harden: bits must be from 0 to 0.5, is 2"),
        ("{zoo: digits-mlp}", "{zoo: net.nir}", "campaign.yaml:2:16: network.zoo: zoo is the name of a network of the zoo, not 'net.nir'; a file is nir or netx, a factory torch"),
        ("{zoo: digits-mlp}", "{zoo: {sweep: [digits-mlp, mnist-mpl]}}", "campaign.yaml:2:37: network.zoo: no network 'mnist-mpl' in the zoo (did you mean 'mnist-mlp'?)"),
        ("{zoo: digits-mlp}", "{sweep: [{zoo: digits-mlp}, {zoo: cifar}]}", "campaign.yaml:2:44: network.zoo: no network 'cifar' in the zoo (did you mean 'cifar10-cnn'?)"),
        ("data: {", "data: {name: digit, ", "campaign.yaml:3:14: data.name: unknown data set 'digit' (did you mean 'digits'?); known: digits, mnist, "),
        ("data: {", "data: {name: {sweep: [digits, emnist]}, ", "campaign.yaml:3:31: data.name: unknown data set 'emnist' (did you mean 'mnist'?); known: digits, mnist, "),
    ],
)  # fmt: skip
def test_networks_and_data_that_do_not_exist_are_told_at_their_place_with_the_nearest_name(tmp_path, old, new, mistake):
    (found,) = mistakes(tmp_path, SMALL.replace(old, new))
    assert found.startswith(mistake)


def test_names_of_included_files_and_of_settings_are_looked_up_too(tmp_path):
    (tmp_path / "base.yaml").write_text(SMALL.replace("digits-mlp", "digits-mlpp"))
    assert mistakes(tmp_path, "include: base.yaml\n")[0].startswith(
        "base.yaml:2:16: network.zoo: no network 'digits-mlpp' in the zoo"
    )
    assert mistakes(tmp_path, SMALL, "data.name=digit")[0].startswith("--set data.name=digit: data.name: unknown data set 'digit'")


def test_every_name_of_the_zoo_and_of_the_data_is_taken(tmp_path):
    for name in ("mnist-mlp+seed=1", "digits-mlp+cores=6,bits=1e-3", *RECIPES, *EVENT_RECIPES):
        assert load_campaign(written(tmp_path), [f"network.zoo={name}"]).spec.network.zoo == name
    for name in NAMES:
        assert load_campaign(written(tmp_path), [f"data.name={name}"]).spec.data.name == name


def test_names_files_and_everything_else_are_told_at_once_by_check_run_and_plan(tmp_path, cli):
    text = (
        SMALL.replace("digits-mlp", "digits-mlpp")
        .replace("60,", "60, name: digit,")
        .replace("draws: 3", "draws: 0")
        .replace("core_dead", "core_ded")
    )
    path = written(tmp_path, text + "profile: chips/mine.yaml\n")
    for verb in ("check", "run", "plan"):
        code, out, err = cli("campaign", verb, str(path))
        assert (code, out) == (2, "")
        places = [line.removeprefix("neurofault: ").removeprefix(f"{path}:").partition(": ")[0] for line in err.splitlines()]
        assert places == ["2:16", "3:27", "5:12", "10:18", "11:10"]


def test_too_many_trials_are_refused_before_they_are_counted_out(tmp_path):
    values = ", ".join(str(value) for value in range(2000))
    wide = [f"convert.timesteps={{sweep: [{values.replace('0, ', '', 1)}]}}", f"repeats.seed={{sweep: [{values}]}}"]
    assert "at most 10,000,000 in one campaign" in mistakes(tmp_path, SMALL, *wide)[0]


@given(some.integers(-(2**53) + 1, 2**53 - 1))
def test_equal_numbers_are_one_in_an_identity(number):
    assert canonical({"a": [float(number)]}) == canonical({"a": (number,)})


def test_an_identity_changes_with_what_changes_the_result_and_with_nothing_else(tmp_path):
    def ids(text: str) -> list[str]:
        return [trial_id(cell, 0, "chip", "images", "adapt") for cell in load_campaign(written(tmp_path, text)).cells()]

    base = ids(SMALL)
    assert len(set(base)) == 6
    for same in (
        "1e-2|0.01",
        "name: small|name: other",
        "seed: 7}|seed: 7}\nlimits: {seconds: 9}",
        "count: {s|where: random, count: {s",
    ):
        assert ids(SMALL.replace(*same.split("|"))) == base
    for other in ("seed: 7|seed: 8", "rate: 1e-2|rate: 2e-2, layer: any", "[1, 3]|[2, 4]"):
        assert set(ids(SMALL.replace(*other.split("|")))) != set(base)
    learned = ids(SMALL.replace("learner: delta", "learner: delta, cycles: 2"))
    assert [a == b for a, b in zip(base, learned, strict=True)] == [True, False] * 3
    cell = next(load_campaign(written(tmp_path)).cells())
    assert trial_id(cell, 0, "chip", "images", "other") == base[0]
    assert (
        len(
            {
                trial_id(cell, 1, "chip", "images", "a"),
                trial_id(cell, 0, "x", "images", "a"),
                trial_id(cell, 0, "chip", "x", "a"),
                base[0],
            }
        )
        == 4
    )


EXPERIMENTS = sorted((REPOSITORY / "experiments").rglob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_experiments_read(path):
    campaign = load_campaign(path)
    assert campaign.n_cells == len(list(campaign.cells()))
    assert campaign.spec.name.replace("-", "_") == path.stem + ("_full" if path.parent.name == "full" else "")


def test_the_full_experiments_are_the_small_ones_made_larger():
    small = {path.stem: load_campaign(path) for path in EXPERIMENTS if path.parent.name == "experiments"}
    full = {path.stem: load_campaign(path) for path in EXPERIMENTS if path.parent.name == "full"}
    assert set(small) == set(full) >= {"core_loss", "bit_flips", "link_loss", "batch_or_iterative", "placement", "missions"}
    for stem, campaign in full.items():
        assert campaign.n_trials > small[stem].n_trials
        assert campaign.spec.rescue == small[stem].spec.rescue
        assert {axis.name for axis in campaign.axes} >= {axis.name for axis in small[stem].axes}


def test_the_schema_has_every_key_and_allows_sweeps():
    schema = json_schema()
    assert set(schema["properties"]) == {*CampaignSpec.model_fields, "include"}
    draws = schema["$defs"]["Repeats"]["properties"]["draws"]["anyOf"]
    assert draws[0]["type"] == "integer"
    assert draws[1]["properties"]["sweep"]["items"] == draws[0]
    assert "core_dead" in json.dumps(schema["$defs"]["Fault"])


@settings(max_examples=25, deadline=None)
@given(some.lists(some.integers(1, 4), min_size=1, max_size=3), some.lists(some.integers(0, 9), min_size=1, max_size=3))
def test_the_number_of_cells_is_counted_as_they_are_made(tmp_path_factory, bits, counts):
    tmp_path = tmp_path_factory.mktemp("spec")
    changes = [f"convert.weight_bits={{sweep: {bits}}}", f"faults.0.count={{sweep: {counts}}}"]
    campaign = load_campaign(written(tmp_path), changes)
    assert campaign.n_cells == len(list(campaign.cells())) == len(bits) * (len(counts) + 1) * 2
