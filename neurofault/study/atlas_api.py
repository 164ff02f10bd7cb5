"""`neurofault.atlas`: the atlas verb from Python, with its tables, its picture and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike

from neurofault.brief import html_table
from neurofault.deploy.deployment import Deployment
from neurofault.engines import Presented, as_inputs
from neurofault.errors import UsageError, nearest
from neurofault.frames import import_pandas
from neurofault.inputs import Bias, Inputs, Spikes
from neurofault.numerals import plural
from neurofault.progress import Asked, listening
from neurofault.study.atlas import Atlas, draw, write_parquet
from neurofault.study.atlas import atlas as follow
from neurofault.study.atlas_places import losses_of, site_words
from neurofault.study.atlas_report import page_of_atlas, sentence_of_atlas
from neurofault.study.atlas_sites import KINDS
from neurofault.study.campaign.folder import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_SHOWN = 10


@final
@dataclass(frozen=True, eq=False, repr=False)
class AtlasResults:
    """What every single site of one kind does to every sample.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> nf.atlas(chip, x, y, layer="hands").healthy
    1.0

    Attributes:
        found: the numbers, as arrays.
        chip: that they are of.
        shape: of a sample, where it is an image; None: that of the input population.
        data: name of the data; empty: not known.
    """

    found: Atlas
    chip: Deployment
    shape: tuple[int, ...] | None = None
    data: str = ""

    def __len__(self) -> int:
        return len(self.found)

    @property
    def healthy(self) -> float:
        """Accuracy of the healthy chip, 0 to 1, or its mean squared error."""
        return self.found.healthy

    def table(self) -> DataFrame:
        """Return one row a site, in their order.

        Columns: ``site`` (in words), ``layer``, ``source``, ``target``, ``bit``, ``core`` (whole numbers, −1 where a column does not apply to the kind), ``changed`` (predictions that
        it changes, of ``found.samples``), ``correct`` (change in the number of right ones; of targets ``squared_error``), and ``accuracy_change`` (fraction; of targets
        ``mean_squared_error_change``).

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> found = nf.atlas(*reflex(), layer="hands")
        >>> found.table()[["site", "changed", "accuracy_change"]]
                        site  changed  accuracy_change
        0  neuron 0 of hands        1             -0.5
        1  neuron 1 of hands        1             -0.5

        Raises:
            UnsupportedError: pandas is not installed.
        """
        return self._frame(np.arange(len(self)))

    def most_critical(self, count: int = 10) -> DataFrame:
        """Return the rows of :meth:`table` that cost most, worst first; their numbers there are the index.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> found = nf.atlas(*reflex(), layer="hands")
        >>> found.most_critical(1)["site"].tolist()
        ['neuron 0 of hands']

        Args:
            count: how many, at least 0.

        Raises:
            UsageError: fewer than 0.
            UnsupportedError: pandas is not installed.
        """
        if count < 0:
            raise UsageError(f"count must be at least 0, is {count}")
        return self._frame(self.found.most_critical(count))

    def _frame(self, rows: Any) -> DataFrame:
        found = self.found
        columns: dict[str, Any] = {"site": [site_words(found, int(row)) for row in rows]}
        columns |= {name: np.asarray(column)[rows] for name, column in found.sites.items()}
        columns["layer"] = [found.layers[number] for number in columns["layer"]]
        return import_pandas().DataFrame({**columns, f"{found.metric.key}_change": found.accuracy_change[rows]}, index=rows)

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that loads nothing: the chip by core, the input image, how many sites change how much, and the most critical sites.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> found = nf.atlas(*reflex(), layer="hands")
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.report(f"{folder}/atlas.html").name
        'atlas.html'

        Args:
            path: the file; replaced if it exists.

        Returns:
            The file.

        Raises:
            UsageError: jinja2, matplotlib, pyarrow or vl-convert-python is missing, or the file cannot be written.
        """
        return save(Path(path), page_of_atlas(self.found, self.chip, self.shape, self.data))

    def parquet(self, folder: str | Path) -> tuple[Path, ...]:
        """Write ``sites.parquet``, ``healthy.parquet`` and ``changes.parquet`` into a folder, as ``neurofault atlas --out`` does.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> found = nf.atlas(*reflex(), layer="hands")
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in found.parquet(folder)]
        ['sites.parquet', 'healthy.parquet', 'changes.parquet']

        Args:
            folder: made if it is not there.

        Returns:
            The files.

        Raises:
            UsageError: pyarrow is not installed, or the folder cannot be written.
        """
        return write_parquet(self.found, Path(folder))

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw how many predictions each site changes: sites by layer, the critical ones first, on logarithmic axes.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> found = nf.atlas(*reflex(), layer="hands")
        >>> found.plot().get_xlabel()
        'rank of the site'

        Args:
            axes: of matplotlib, to draw into; None: new ones.

        Returns:
            The axes.

        Raises:
            UsageError: matplotlib is not installed.
        """
        return draw(self.found, axes)

    def __repr__(self) -> str:
        return f"atlas of {self.found.kind}, {plural(len(self), 'site')} × {plural(self.found.samples, 'sample')}. {sentence_of_atlas(self.found)}"

    def _repr_html_(self) -> str:
        """Return the answer and the most critical sites, as notebooks show them."""
        found, losses = self.found, losses_of(self.found)
        rows = [
            (site_words(found, row), f"{np.asarray(found.sites['core'])[row]}", f"{np.asarray(found.sites['changed'])[row]:,}", found.metric.differing(float(found.accuracy_change[row])))
            for row in found.most_critical(_SHOWN).tolist()
        ]  # fmt: skip
        heads = ("site", "core", "changed", f"change of {found.metric.words}{'' if found.metric.lower else ', points'}")
        return html_table(sentence_of_atlas(found, losses), heads, rows)


def atlas(
    chip: Deployment,
    x: Inputs | Presented | Mapping[str, Presented],
    y: ArrayLike,
    faults: str = "neuron_dead",
    *,
    layer: str = "any",
    unit: float | None = None,
    changes: bool = True,
    device: str = "cpu",
    keep: str | Path | None = None,
    progress: Asked = None,
) -> AtlasResults:
    """Break every single site of a kind, one at a time, and say what that does to every sample.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"))
    >>> events = nf.Spikes.dense(np.repeat(np.eye(2, dtype=bool)[:, None], 4, axis=1))
    >>> found = nf.atlas(chip, events, [0, 1], "neuron_dead", layer="hands")
    >>> len(found), found.most_critical(1)["site"].tolist()
    (2, ['neuron 0 of hands'])

    ``found.report("atlas.html")`` writes a page to explore, as ``neurofault atlas --report`` does; ``found.table()`` is a DataFrame, one row a site.

    Args:
        chip: the chip; what is broken already stays broken.
        x: samples, as :func:`neurofault.run` takes them.
        y: labels [N], or of every step, [N, T]; with ``unit`` targets.
        faults: ``neuron_dead``, ``core_dead``, ``synapse_dead`` or ``synapse_bit_flip``.
        layer: whose sites are meant, as faults name it: ``any``, ``hidden``, ``input``, ``hidden1`` …, ``output``, or a name; of synapses their target's, or a connection's.
        unit: of targets, as of :func:`neurofault.run`; None: ``y`` is labels.
        changes: whether to keep which predictions change, for :meth:`AtlasResults.parquet`.
        device: where the network runs for what is not followed as differences, as of :func:`neurofault.run`.
        keep: folder in which what is followed is kept, so that a run that was broken off goes on there; None: nowhere.
        progress: True: a bar; False: nothing; None: a bar in a notebook or at a prompt; or called as ``progress("atlas", done, total, "")``.

    Raises:
        FaultError: no such layer.
        UsageError: no such kind, a layer without such sites, samples and labels that do not fit, or a protected chip.
        UnsupportedError: the samples are one stream, or there are more than 32,768 outputs.
    """
    kind = next((each for each in KINDS if each == faults), None)
    if kind is None:
        raise UsageError(f"no atlas of {faults!r}; kinds: {', '.join(KINDS)}{nearest(str(faults), KINDS)}")
    inputs = as_inputs(chip, x)
    with listening(progress) as say:
        found = follow(
            chip, inputs, np.asarray(y), kind, unit=unit, layer=layer, changes=changes, device=device,
            keep=None if keep is None else Path(keep), progress=lambda done, total: say("atlas", done, total, ""),
        )  # fmt: skip
    return AtlasResults(found, chip, _shape(x))


def _shape(x: object) -> tuple[int, ...] | None:
    """Return the shape of a sample of images."""
    if isinstance(x, Inputs | Bias | Spikes | Mapping):
        return None
    return tuple(getattr(x, "shape", (0,)))[1:] or None
