"""`neurofault alarms`: watchers of the default network, and the chips that they watch."""

from __future__ import annotations

import json

import pytest

import neurofault as nf


def test_alarms_are_chosen_saved_and_watch_a_chip(cli, tmp_path):
    file, chip, hurt = (str(tmp_path / name) for name in ("alarms.npz", "chip.npz", "hurt.npz"))
    words = ("alarms", "--fault", "core_dead", "--watcher", "busy", "--watcher", "idle", "--watcher", "silence", "--false-alarms", "60", "--draws", "10", "--stream", "60", "--size", "4")  # fmt: skip
    code, out, err = cli(*words, "--out", file, "--save-chip", chip, "--json", "-")
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["thresholds_by"], answer["tried_on"], answer["horizon"]) == ("digits/train", "digits/validation", 60)
    assert answer["size"] == len(answer["watchers"]) == len(nf.load_alarms(file)) == len(answer["shown_by_first"]) <= 4
    assert answer["neurons"] == answer["size"] + 1
    assert answer["energy_joule"] > 0
    assert answer["tried"][0]["draws"] == answer["tried"][0]["seen"]["n"] == 10
    whole = nf.load(chip)
    (core,) = whole.placement.cores_of("alarm watchers").tolist()
    nf.save(nf.inject(whole, nf.faults.CoreDead(cores=[core])), hurt)
    code, out, err = cli("alarms", "run", file, "--deployment", hurt, "--json", "-")
    assert code == 1, err
    found = json.loads(out)
    assert found["first"] == [f"no heartbeat of core {core}"]
    assert found["delay_samples"] == 10
    assert found["delay_seconds"] > 0
    assert (found["alarmed"], found["windows"]) == (6, 6)
    code, out, _ = cli("alarms", "run", file, "--deployment", hurt)
    assert (code, out.split()[0]) == (1, "ALARM")
    code, out, err = cli("alarms", "run", file, "--deployment", chip)
    assert (code, out.split()[0]) in ((0, "quiet:"), (1, "ALARM")), err
    code, out, err = cli(*words[:-6], "--draws", "2", "--stream", "20", "--size", "1", "--heartbeat", "none")
    assert code == 0, err
    assert "false alarms per 10,000 samples: " in out
    assert "single faults that change a class" in out
    assert "core_dead" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alarms", "--pool", "0"], "--pool must be at least 1, is 0"),
        (["alarms", "--watcher", "bussy"], "no watcher 'bussy' (did you mean 'busy'?)"),
        (["alarms", "--window", "5000"], "a window of 5,000 samples is longer than the data"),
        (["alarms", "--false-alarms", "0.1"], "cannot vouch for 0.1 false alarms per 10,000 samples"),
        (["alarms", "--out", "alarms.txt"], "--out alarms.txt: the name of the file must end in .npz"),
        (["alarms", "run", "missing.npz", "--deployment", "chip.npz"], "missing.npz: no such file"),
    ],
)
def test_bad_words_get_one_message(cli, words, message):
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
