"""`neurofault profiles`: the chips that come with neurofault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neurofault.cli import options
from neurofault.cli.headlines import of_profiles
from neurofault.cli.output import JsonOut
from neurofault.cli.tables import tabled, tell

_AT_LEAST = 'energies are only "at least", for the cost of a synaptic operation or of a neuron\'s update is not known: '
_HEADS = ("name", "cores", "neurons", "bits", "energy", "law")


def profiles(quiet: options.Quiet = False, json_: options.Json = None) -> None:
    """List the bundled hardware profiles: cores, neurons of a core, stored bits of a weight, evidence of energies, and whose law is simulated."""
    from neurofault.deploy.profile import bundled_profiles, load_profile
    from neurofault.deploy.profile_text import overview

    result_file = JsonOut(json_)
    found = [overview(load_profile(name)) for name in bundled_profiles()]
    result_file.write({"profiles": found})
    if result_file.alone:
        return
    tell(of_profiles(found) + ("" if quiet else "\n"))
    if quiet:
        return
    heads, *lines = tabled(_HEADS, [_row(one) for one in found], ("name", "bits", "energy", "law"), None)
    print(heads)
    for line, one in zip(lines, found, strict=True):
        print(line)
        tell(f"  {one['title']}")
    least = [one["name"] for one in found if one["energy_evidence"] and one["energy_gaps"]]
    tell(
        "\nneurons: of one core; bits: of a stored weight; energy: the weakest evidence of its table of costs; ?, –: not known; "
        "law: exact where the chip's own integers are simulated",
        *([_AT_LEAST + ", ".join(least)] if least else ()),
        "one of them in full: neurofault profile show NAME; your own: neurofault profile new FILE",
    )


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    neurons = "?" if one["neurons_per_core"] is None else f"{one['neurons_per_core']:,}"
    return (one["name"], f"{one['cores']:,}", neurons, _runs(one["weight_bits"]), one["energy_evidence"] or "–", one["law"])


def _runs(bits: Sequence[int]) -> str:
    """Return widths as ranges: ``1-6, 8``."""
    runs: list[list[int]] = []
    for width_ in sorted(bits):
        if runs and width_ == runs[-1][-1] + 1:
            runs[-1].append(width_)
        else:
            runs.append([width_])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
