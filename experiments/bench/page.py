"""The figures of docs/speed.md, written from docs/data/bench/*.json: what stands between ``<!-- FILE -->`` and ``<!-- end -->``.

    python experiments/bench/page.py            # writes the page
    python experiments/bench/page.py --check    # exit code 1 where the page says otherwise

Each file is what the benchmark of the same name wrote with ``--json``; on which day and at which commit stands in the file, and in the page's last table.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
PAGE, DATA = DOCS / "speed.md", DOCS / "data" / "bench"
BLOCK = re.compile(r"(<!-- (\w+)(?: (\w+))? -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)
MEASURED = (
    "first_run",
    "throughput",
    "incremental",
    "atlas",
    "learning",
    "recurrent",
    "laws",
    "events",
    "memory",
    "scale",
    "campaign",
    "kill_campaign",
    "fuzz",
)
SPIKEFI_MLP = 376
"""Fault-samples a second that SpikeFI 1.3 did at its best on 2312-512-512-10, one thread of another machine."""


def table(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    """Return a table in Markdown."""
    return (
        "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
        .replace("| --- | ", "|---|")
        .replace("|--- |", "|---|")
    )


def share(value: float) -> str:
    """Return a part of one in percent, without digits."""
    return f"{100 * value:.0f} %"


def three(value: float) -> str:
    """Return a number with three digits that count, in words a reader can take in."""
    return f"{float(f'{value:.3g}'):,.{1 if value < 20 else 0}f}" if value < 1e5 else f"{value:.3g}"


def throughput(found: dict[str, Any]) -> str:
    """Ours beside the other simulators."""
    return table(
        ("side", "steps a second", "ours, 2 threads (1 thread)"),
        (
            "ours, 2 threads / 1 thread",
            f"{found['steps_a_second']:,.0f} / {found['steps_a_second_1_thread']:,.0f}",
            f"{share(found['fraction_of_peak'])} of peak additions ({share(found['fraction_of_peak_1_thread'])})",
        ),
        ("Lava", f"{found['lava_steps_a_second']:,.0f}", f"{found['speedup_lava']:,.0f} × ({found['speedup_lava_1_thread']:,.0f} ×)"),
        (
            f"snnTorch, 2 threads ({found['snntorch_best']})",
            f"{found['snntorch_samples_a_second'] * found['steps']:,.0f}",
            f"{found['speedup_snntorch']:.1f} × ({found['speedup_snntorch_1_thread']:.1f} ×, both on one)",
        ),
        (
            f"Brian2 ({found['brian2_best']})",
            f"{found['brian2_steps_a_second']:,.0f}",
            f"{found['speedup_brian2']:,.0f} × ({found['speedup_brian2_1_thread']:,.0f} ×)",
        ),
    )  # fmt: skip


def rates(found: dict[str, Any]) -> str:
    """The share of peak additions by rate, of ``throughput.json``."""
    dense, convolutional = found["rates"]["dense"], found["rates"]["conv"]
    return table(
        ("rate, one thread", *dense),
        ("dense, share of peak additions", *(share(one["fraction_of_peak"]) for one in dense.values())),
        (
            "of the time beyond that of a run without events",
            *(share(one["fraction_of_peak_of_additions"]) for one in dense.values()),
        ),
        ("convolution", *(share(one["fraction_of_peak"]) for one in convolutional.values())),
    )


def recurrent(found: dict[str, Any]) -> str:
    """One loop, beside Lava."""
    micro = {threads: 1e6 * seconds for threads, seconds in found["step_seconds"].items()}
    lava = 1e6 * found["lava_step_seconds"]
    return (
        f"256 inputs → 256 neurons that drive themselves, at {found['rate']:.1f} spikes a neuron and step, take {micro['2']:.2f} µs a step on two cores ({micro['1']:.2f} on one),\n"
        f"{found['speedup_lava']:,.0f} × faster than Lava's {lava:.0f} µs ({lava / micro['1']:,.0f} × on one), spikes and weights equal."
    )


def laws(found: dict[str, Any]) -> str:
    """Other chips' laws."""
    speck, xylo = found["laws"]["speck-like"], found["laws"]["xylo-like"]
    return (
        f"784-512-10 on one thread takes {speck['times_loihi']:.1f} × Loihi's time with Speck's law and {xylo['times_loihi']:.1f} × with Xylo's\n"
        f"(up to 31 spikes a step); the same in NumPy, step by step, takes {speck['speedup_stepwise']:.0f} × and {xylo['speedup_stepwise']:.0f} × as long as the kernel."
    )


def events(found: dict[str, Any]) -> str:
    """Recordings."""
    return (
        f"{found['samples']:,} recordings of N-MNIST's size and rate ({found['events'] / 1e6:.0f} million events, 300 steps) run through 2312-512-10 in "
        f"{found['peak_bytes'] / 1e9:.2f} GB, {found['samples_per_second']:,.0f} samples a second on two cores."
    )


def first_run(found: dict[str, Any]) -> str:
    """The first minute."""
    return table(
        ("run", "wall"),
        (f"first, {found['kernels']} kernels compiled", f"{found['seconds_first']:.1f} s"),
        ("second", f"{found['seconds_second']:.1f} s"),
        ("`neurofault --help`", f"{found['help_seconds']:.2f} s"),
    )


FOLLOWED = {
    "synapse_300000": "single synapses of the first layer, 300,000 faults",
    "synapse_10000": "the same, 10,000 faults",
    "synapse_100": "the same, 100 faults",
    "window": "the same for up to 8 steps of each sample, 5,000",
    "output_synapse": "single synapses of the readout, 5,120",
    "neuron": "single hidden neurons, 512",
    "threshold": "thresholds of single hidden neurons halved, 512",
    "core": "cores of 8 hidden neurons, 505",
    "input_neuron": "single input neurons, 60",
    "skip": "network with a skip, single synapses of the first layer, 2,000",
    "nmnist_synapse": "N-MNIST, single synapses of the first layer, 20,000",
    "loop_dead": "a loop, single synapses dead, 80",
    "loop_bit": "a loop, the lowest bit of single synapses flipped, 80",
    "conv_synapse": "CIFAR-10's CNN, single synapses of the first layer, 2,000",
}


def incremental(found: dict[str, Any]) -> str:
    """Faults that are followed, beside running whole."""
    rows = ((words, f"{found[f'{key}_rate']:.3g}", f"{three(found[key])} ×") for key, words in FOLLOWED.items())
    return f"{table(('faults', 'fault-samples a second, 2 threads', 'ratio to the full engine'), *rows)}\n\nAll of it took {found['seconds']:.0f} s."


def spikefi(found: dict[str, Any]) -> str:
    """Beside SpikeFI, of ``incremental.json``."""
    rate = found["nmnist_synapse_rate_1_thread"]
    return f"Ours on 2312-512-10, single synapses, one thread: {rate / 1e6:.1f} million, {three(rate / SPIKEFI_MLP)} times as many as the latter."


def atlas(found: dict[str, Any]) -> str:
    """Every site."""

    def row(words: str, part: str, samples: str) -> tuple[str, ...]:
        one = f" ({found['seconds_1_thread']:.1f} on one thread)" if not part else ""
        return (
            f"all {found[f'{part}sites']:,} {words}",
            samples,
            f"{found[f'{part}seconds']:.1f}{one}",
            f"{found[f'{part}rate']:.3g}",
        )

    return (
        table(
            ("sites", "samples × steps", "seconds", "fault-samples a second"),
            row("synapses of 784-512-10", "", "10,000 × 32"),
            row("bits of all of them", "bits_", "10,000 × 32"),
            row("synapses of Intel's N-MNIST network", "nmnist_", "100 × 300"),
        )
        + f"\n\nThe most memory that any of them held: {found['peak_bytes'] / 1e9:.2f} GB."
    )


def learning(found: dict[str, Any]) -> str:
    """Online learning, beside Lava."""
    return (
        f"{found['samples_a_second']:,.0f} samples a second on two threads against Lava's {found['lava_samples_a_second']:.2f}: {found['speedup_lava']:.0f} ×.\n"
        f"In `hardware_strict` {found['strict_samples_a_second']:,.0f} samples a second, {found['strict_speedup_lava']:.0f} × Lava's `LearningDense`, which does not have it."
    )


def campaign(found: dict[str, Any]) -> str:
    """Trials."""
    rows = (
        (f"{one['trials']:,}", f"{one['time_a_trial_ratio']:.2f}", f"{one['coordinator_megabytes']} MB") for one in found["sizes"]
    )
    return table(("trials", "time a trial", "memory of the process that coordinates"), *rows)


def kill_campaign(found: dict[str, Any]) -> str:
    """Kills."""
    return (
        f"{found['kills']:,} kills (SIGKILL of the whole process group) at random moments; {found['runs_ended']} campaigns came to their end between them, "
        f"{found['runs_with_other_rows']} with other rows, {found['rows_twice']} trials with two rows."
    )


def fuzz(found: dict[str, Any]) -> str:
    """Spoiled files."""
    whole = found["whole"]
    return (
        f"Spoiled files and words of all {len(found['readers'])} readers, {whole['refused']:,} refused in one line, {whole['accepted']:,} read, "
        f"{whole['tracebacks']} tracebacks, {whole['hangs_over_5_s']} over 5 s (the slowest\n{whole['slowest_processor_second']:.2f} s), "
        f"{whole['crashes']} ended processes, {'something' if found['executed'] else 'nothing'} executed."
    )


def memory(found: dict[str, Any]) -> str:
    """Peaks."""
    rows = ((name, f"{found['images'][name]:,}", f"{peak / 1e9:.2f} GB") for name, peak in found["peak_bytes"].items())
    return table(("test set", "images", "peak"), *rows)


def measured() -> str:
    """When each file was written, and at which commit."""

    def row(name: str) -> tuple[str, ...]:
        machine = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")).get("machine", {})
        return (f"`{name}.json`", machine.get("day", "before 29 November 2026"), machine.get("commit", "an earlier one"))

    return table(("file", "measured on", "at commit"), *map(row, MEASURED))


def written(page: str) -> str:
    """Return the page with each block as its file has it."""

    def block(match: re.Match[str]) -> str:
        head, file, part, tail = match.groups()
        if file == "measured":
            return f"{head}{measured()}{tail}"
        render: Callable[[dict[str, Any]], str] = globals()[part or file]
        return f"{head}{render(json.loads((DATA / f'{file}.json').read_text(encoding='utf-8')))}{tail}"

    return BLOCK.sub(block, page)


def main() -> None:
    """Write the page, or look whether it is as its data are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    found = written(page)
    if options.check:
        wrong = [new for old, new in zip(page.splitlines(), found.splitlines(), strict=False) if old != new]
        print(*wrong, f"{len(wrong)} lines of {PAGE.name} are not what the data say", sep="\n")
        sys.exit(bool(wrong) or page != found)
    PAGE.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
