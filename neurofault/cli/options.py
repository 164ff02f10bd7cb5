"""Options that several verbs share, each with its help text once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofault.cli import complete

if TYPE_CHECKING:
    from neurofault.data.binning import Binning

Profile = Annotated[
    str,
    typer.Option(
        help="Hardware profile: a YAML file, or a bundled name (see `neurofault profiles`).", autocompletion=complete.profiles
    ),
]
Network = Annotated[
    str,
    typer.Option(
        help="Network of the zoo, your own as package.module:factory (torch, snnTorch or neurofault.Network), a NIR file, or a netx file (.net).",
        autocompletion=complete.networks,
    ),
]
Weights = Annotated[Path | None, typer.Option(help="State dict of your own network; read as data, never executed.")]
Data = Annotated[
    str | None,
    typer.Option(
        help="Data set: digits, digits-events, mnist, fashion-mnist, cifar10, nmnist, dvs-gesture, shd, ssc, ecg-qtdb, ecg-qtdb-windows; or your own: a file *.npz, a folder or a file *.h5 of recordings, or package.module:factory. Default: the network's own.",
        autocompletion=complete.data,
    ),
]
Signed = Annotated[
    str,
    typer.Option(
        help="How negative values are shown: bias (a shift that the first layer takes back), or lines (two lines a value).",
        autocompletion=complete.words("bias", "lines"),
    ),
]
Calibrate = Annotated[
    str,
    typer.Option(
        help="Conversions of a torch network that are compared: usual, settled (thresholds settled on what neurons really send: loses less, takes longer), or subtract (settled, and neurons that reset by subtraction: loses least; exact, lava and brian2 run it).",
        autocompletion=complete.words("usual", "settled", "subtract"),
    ),
]
Binned = Annotated[
    str | None,
    typer.Option(
        "--binning",
        help="How recordings become steps, as 'bins: 300, dt: 1e-3', also polarity (kept, merged), crop [top, left, height, width], down, rounding (nearest, down), sensor. Default: as their data set proposes.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with the published data files, e.g. DIR/mnist/train-images-idx3-ubyte.gz. [env: NEUROFAULT_DATA]"),
]
Metric = Annotated[
    str | None,
    typer.Option(
        help="What is measured: accuracy, top-K (such as top-3), or, of labels of every step, accuracy-step; of targets mean-squared-error, of every step mean-squared-error-step. Default: what goes with the labels.",
        autocompletion=complete.words("accuracy", "top-3", "accuracy-step", "mean-squared-error", "mean-squared-error-step"),
    ),
]
Samples = Annotated[int | None, typer.Option(help="Test samples to use. Default: all.")]
Timesteps = Annotated[int | None, typer.Option(help="Steps that each sample is shown. Default: the network's own.")]
Reset = Annotated[
    str | None,
    typer.Option(
        help="sample: every sample starts anew; never: the samples are one stream, each goes on from the one before. Default: the network's own.",
        autocompletion=complete.words("sample", "never"),
    ),
]
Dt = Annotated[float | None, typer.Option(help="Time step of a NIR file that does not say it.")]
NirReset = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="What a spike does to v in a NIR file that does not say it: zero, subtract, none, snntorch-zero or snntorch-subtract (a step late).",
        autocompletion=complete.words("zero", "subtract", "none", "snntorch-zero", "snntorch-subtract"),
    ),
]
Readout = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="How a network of spiking neurons answers: count (spikes), potential (after the last step), largest or mean (potentials of all steps); mean:10:50 reads steps 10 to 49. Default: the network's own.",
        autocompletion=complete.words("count", "potential", "largest", "mean"),
    ),
]
WeightBits = Annotated[int | None, typer.Option(help="Stored bits a weight. Default: the most that the profile stores.")]
Place = Annotated[
    str,
    typer.Option(
        help="Where blocks of neurons go: pack, spread, random, or anneal[:DAMAGE[:CORES]]: searched for few hops and a low worst loss of dead cores.",
        autocompletion=complete.words("pack", "spread", "random", "anneal"),
    ),
]
NeuronsPerCore = Annotated[int | None, typer.Option(help="Neurons of a layer in one core. Default: the zoo network's own grain.")]


def spare_words(text: str | int) -> int | str:
    """Return a number of spare cores, or a policy as one word."""
    from neurofault.deploy.spares import spares_of

    found = spares_of(text)
    return found.count if found.kept_for == "all" else str(found)


SpareCores = Annotated[
    Any,
    typer.Option(
        parser=spare_words,
        metavar="N|per_chip:N",
        help="Healthy cores kept free for repair: a number for all, or per_chip:N, per_tile:N, per_layer:N for what sits there alone.",
    ),
]
Chips = Annotated[int | None, typer.Option(help="Chips to use. Default: the fewest that fit.")]
PlaceSeed = Annotated[int, typer.Option(help="Seed of random and anneal placement.")]
Protect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT",
        help="Protection of the stored weights: secded or parity (secded:0.05:atlas, :importance or :random cover a share of the bits), bounds, remap_bits:tested (or :FILE, a defect map); or of neurons: potentials, tmr, mute; or a whole '{kind: …}'; may be repeated.",
        autocompletion=complete.words("secded", "parity", "bounds", "remap_bits:tested", "potentials", "tmr", "mute"),
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where engine exact runs: cpu; cuda (or cuda:1 …), through torch on a GPU, with the same results; torch-cpu, the same operations on the CPU, to compare.",
        autocompletion=complete.words("cpu", "cuda", "torch-cpu"),
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer alone, in one line.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Say on stderr what is chosen and why, what came from where, and how long each part took."
    ),
]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is stdout (nothing else is printed).")
]


def binned(given: str | None) -> Binning | None:
    """Return what ``--binning`` says.

    Raises:
        SpecError: an unknown word or a value out of range.
    """
    from neurofault.data.binning import binning_named

    return None if given is None else binning_named(given, "--binning")
