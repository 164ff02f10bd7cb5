"""`--protect`, end to end through the command line."""

import json
import shlex

SMALL = ("--fault", "synapse_bit_flip", "--rate", "0.02", "--layer", "any", "--samples", "100", "--draws", "2")


def test_inject_says_what_a_protection_takes_back_and_costs(cli):
    code, out, err = cli("inject", *SMALL, "--protect", "secded:0.05:random", "--protect", "bounds", "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    said = found["protection"]
    assert said["asked"] == [{"kind": "secded", "share": 0.05, "by": "random"}, {"kind": "bounds"}]
    assert said["stored_bits"] == 8 * (64 * 100 + 100 * 10)
    assert said["data_bits"] == int(0.05 * said["stored_bits"])
    assert 0 < said["check_bits"] < said["data_bits"]
    assert said["map_bits"] > 2 * 8 * 110
    assert said["added_bits_share"] == (said["check_bits"] + said["map_bits"]) / said["stored_bits"]
    assert said["energy_joule_per_inference"] > 0
    code, out, err = cli("inject", *SMALL, "--json", "-")
    assert code == 0, err
    bare = json.loads(out)
    assert "protection" not in bare
    assert bare["damaged_accuracy"]["mean"] == said["unprotected_accuracy"]["mean"]  # the same bits of the weights
    gain = found["damaged_accuracy"]["mean"] - bare["damaged_accuracy"]["mean"]
    assert said["regained"] == gain / (bare["healthy_accuracy"] - bare["damaged_accuracy"]["mean"])


def test_the_printed_command_repeats_a_protected_run(cli):
    code, out, err = cli("inject", *SMALL, "--protect", "{kind: secded, share: 0.1, by: importance, samples: 50}")
    assert code == 0, err
    for text in ("unprotected", "protected", "protection: 5,920 of 59,200 stored bits in code words; ", "check bits and"):
        assert text in out
    command = shlex.split(out.split("to repeat: neurofault ")[1])
    code, again, err = cli(*command)
    assert code == 0, err
    assert again == out


def test_bad_protections_are_one_message_before_any_work(cli):
    code, out, err = cli("inject", *SMALL, "--protect", "secdet")
    assert (code, out) == (2, "")
    assert "protect: unknown kind 'secdet' (did you mean 'secded'?); kinds: secded, parity, bounds" in err
    code, out, err = cli("inject", *SMALL, "--protect", "remap_bits:none.yaml")
    assert (code, out) == (2, "")
    assert "none.yaml: no such file" in err
    code, out, err = cli("inject", *SMALL, "--protect", "{kind: secded, budget: 0.00001, by: random}")
    assert code == 2
    assert "too few for the check bits of one code word" in err
    assert "Traceback" not in err
