"""`to_netx`: a graph in a chip's integers, with whatever is broken in it, as a netx file of lava-dl (`.net`).

:mod:`neurofault.convert.netx_writer` writes the layers; here stands what a damaged deployment is in the format's integers.

Broken weights, delays, thresholds, decays and biases are written as the chip reads them; a convolution with broken synapses becomes a
matrix. Dead neurons get weights and bias 0, so they never fire; nothing reads what dead inputs send. What no integer of the file is (faults that
come and go, stuck outputs, dead neurons of the readout, which score below all others) is refused by name.
"""

from __future__ import annotations

from pathlib import Path

from neurofault.convert.netx_file import import_h5py
from neurofault.convert.netx_writer import write_netx
from neurofault.deploy.as_read import as_read
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import load_profile
from neurofault.deploy.quantise import quantise
from neurofault.errors import UnsupportedError, with_remedy
from neurofault.graph import Network
from neurofault.graph.network import samples_apart

_MORE = "a NIR file (nf.to_nir, OUT.nir) holds more, nf.save a chip with all its damage"


def to_netx(network: Network | Deployment, path: str | Path) -> tuple[str, ...]:
    """Write a network of a chip's integers, or a (damaged) deployment, as a netx file of lava-dl (``*.net``, HDF5).

    >>> import tempfile, numpy as np, neurofault as nf
    >>> folder = tempfile.TemporaryDirectory()
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"), "loihi2")
    >>> print(*to_netx(chip, f"{folder.name}/reflex.net"))
    wgtExp (hands): lava-dl's own loader leaves it out
    >>> again = nf.from_netx(f"{folder.name}/reflex.net")
    >>> again.connection("hands").synapses.weight.tolist(), again.connection("hands").stored.weight_exponent
    ([[254, 0], [0, 254]], 3)

    Read back with :func:`neurofault.convert.netx_graph.from_netx` and deployed it has the same integers, and every population but a damaged
    input sends the same spikes. lava-dl writes and reads sequences of layers with an input and, over ``concat``, skips and loops.

    Args:
        network: what to write.
        path: the file, replaced as a whole.

    Returns:
        What lava-dl's own loader would leave out, one text each; nothing: it reads the same.

    Raises:
        UnsupportedError: the network has real numbers, h5py is not installed, or the format has no words for something; the text names the
            population or connection.
        UsageError: the file cannot be written.
    """
    samples_apart(network, "the export to netx")
    import_h5py()
    if isinstance(network, Deployment):
        with with_remedy(_MORE):
            return _write(network, Path(path))
    real = next((one for one in network.connections if one.stored is None), None)
    if real is not None:
        raise UnsupportedError(
            f"connection {real.name!r} has real numbers; a netx file holds a chip's integers: write what a chip makes of them, "
            "nf.to_netx(nf.deploy(network, 'loihi2'), path), or --profile loihi2"
        )
    populations, connections = quantise(network, load_profile("loihi2"))
    with with_remedy(_MORE):
        return write_netx(populations, connections, network.readout, network.timesteps, Path(path))


def _write(chip: Deployment, path: Path) -> tuple[str, ...]:
    held = as_read(chip, "a netx file")
    dead = held.dead[chip.readout.population]
    if dead.any():
        raise UnsupportedError(
            f"population {chip.readout.population!r}: {int(dead.sum())} of its neurons are dead or stuck; a readout's score below all others then, "
            "which no integer of a netx file says"
        )
    notes = write_netx(held.populations, held.connections, chip.readout, chip.timesteps, path)
    lost = [name for name in chip.inputs if held.dead[name].any()]
    notes += tuple(f"dead inputs of {name!r} are written as weights of 0 behind them: their own spikes still come" for name in lost)
    return (
        (*notes, "what is broken of routes and learning engines is no integer of a network: it is left out")
        if held.beside
        else notes
    )
