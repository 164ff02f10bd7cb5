"""`neurofault.campaign`: a campaign from Python, with the checks, the journal and the answers of the command line."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from neurofault.cache import cache_dir
from neurofault.cores import usable_cores
from neurofault.errors import NeurofaultWarning, UsageError
from neurofault.frames import frame_of
from neurofault.numerals import plural
from neurofault.progress import Asked, listening
from neurofault.study.campaign.folder import JOURNAL, check_folder, default_folder, save, whose
from neurofault.study.campaign.identity import settings_of
from neurofault.study.campaign.mapping import GIVEN
from neurofault.study.campaign.pictures import plot_curves
from neurofault.study.campaign.report import page_of, write_report
from neurofault.study.campaign.rows import Row, failed
from neurofault.study.campaign.run import Executor, ready, run_campaign
from neurofault.study.campaign.spec import Campaign, campaign_of, load_campaign
from neurofault.study.campaign.summary import Found, answer_of, found_in
from neurofault.study.campaign.tables import summary_of, table_of, write_parquet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@final
@dataclass(frozen=True, eq=False, repr=False)
class CampaignResults:
    """What a campaign has found so far: a row for each trial that has ended.

    >>> from neurofault.examples import small_campaign
    >>> done = small_campaign().run(workers=1)
    >>> done.trials, done.planned, done.failed
    (4, 4, 0)

    Attributes:
        found: what the run folder holds.
        ran: trials that ran in the call that returned this; 0 where nothing was run.
    """

    found: Found
    ran: int = 0

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.found.folder

    @property
    def trials(self) -> int:
        """Trials that have a row."""
        return len(self.found.rows)

    @property
    def planned(self) -> int:
        """Trials that the campaign takes in all; fewer than :attr:`CheckedCampaign.trials` where a stop rule has ended the draws of a cell."""
        return self.found.trials

    @property
    def failed(self) -> int:
        """Trials of :attr:`trials` that came to nothing; the columns ``status`` and ``message`` say why."""
        return sum(map(failed, self.found.rows))

    def table(self) -> DataFrame:
        """Return one row a trial, by cell and draw, with the columns of ``neurofault campaign export``.

        Whole numbers are ``Int64``, numbers ``float64``, truths ``boolean``, text ``string``; ``cores`` holds lists of int. What is not known
        is missing. Accuracies are ``correct / samples``, ``damaged_correct / samples`` and ``healthy_correct / samples``.

        >>> from neurofault.examples import small_campaign
        >>> done = small_campaign().run(workers=1)
        >>> done.table()[["cell", "draw", "status"]].values.tolist()
        [[0, 0, 'ok'], [0, 1, 'ok'], [1, 0, 'ok'], [1, 1, 'ok']]

        Raises:
            UnsupportedError: pandas is not installed.
        """
        return frame_of(*table_of(self.found))

    def summary(self) -> DataFrame:
        """Return one row a cell, in their order: the accuracy in the end as ``best`` (mean over draws) with ``low`` and ``high``.

        All are fractions, 0 to 1; ``low`` and ``high`` bound a 95 % interval over draws by the method that ``method`` names, and are missing
        where there is none. ``damaged_low`` … are before healing, ``recovered_low`` … the share of the loss that healing brought back;
        ``label`` is the curve that the cell lies on, ``x`` its place on the axis ``axis``; the other columns are those of the CSV files that
        ``neurofault campaign report`` writes.

        >>> from neurofault.examples import small_campaign
        >>> done = small_campaign().run(workers=1)
        >>> done.summary()[["label", "x", "draws"]].values.tolist()
        [['core_dead · none', 1, 2], ['core_dead · none', 3, 2]]

        Raises:
            UnsupportedError: pandas is not installed.
        """
        return frame_of(*summary_of(answer_of(self.found)))

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report: one HTML file that loads nothing.

        >>> from neurofault.examples import small_campaign
        >>> done = small_campaign().run(workers=1)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done.report(f"{folder}/page.html").name
        'page.html'

        Args:
            path: the file; None: ``report.html`` in the run folder, with ``figures/`` and ``trials.parquet`` beside it, as
                ``neurofault campaign report`` does.

        Returns:
            The HTML file.

        Raises:
            UsageError: jinja2, matplotlib or pyarrow is missing, or the file cannot be written.
        """
        answer = answer_of(self.found)
        if path is not None:
            return save(Path(path), page_of(answer))
        page = write_report(self.folder, answer)
        write_parquet(self.found, self.folder / "trials.parquet")
        return page

    def plot(self, over: str | None = None, axes: Axes | None = None) -> Axes:
        """Draw the curves of the report: the mean over draws in the end, accuracies in percent, with 95 % intervals over draws; each label says what differs between the curves.

        The horizontal lines are the healthy chip and chance.

        >>> from neurofault.examples import small_campaign
        >>> done = small_campaign().run(workers=1)
        >>> axes = done.plot()
        >>> axes.get_xlabel(), axes.lines[0].get_label(), axes.lines[0].get_xdata().tolist()
        ('cores hit by core_dead', 'core_dead · none', [1.0, 3.0])

        Args:
            over: the axis along which the curves run that are drawn, in words, as it stands below the picture; ``ways of healing``: those of one point each. None: the only one there is.
            axes: of matplotlib, to draw into; None: new ones.

        Returns:
            The axes.

        Raises:
            UsageError: matplotlib is not installed, no trial has a result yet, no curve runs over that axis, or there are several and none is named.
        """
        return plot_curves(answer_of(self.found), over, axes)

    def __repr__(self) -> str:
        return f"{self.found.campaign.spec.name}: {self.trials:,} of {plural(self.planned, 'trial')}, {self.failed:,} failed; {self.folder}"

    def _repr_html_(self) -> str:
        """Return the table of accuracies, as notebooks show it."""
        return self.found._repr_html_()


@final
@dataclass(frozen=True, eq=False, repr=False)
class CheckedCampaign:
    """A campaign without mistakes, ready to run.

    >>> from neurofault.examples import small_campaign
    >>> study = small_campaign()
    >>> study.cells, study.trials
    (2, 4)

    Attributes:
        campaign: what is asked for.
        folder: the run folder; it need not be there yet.
        owned: whether the folder may hold the run of another campaign of this name: it was given, or nobody else uses it.
    """

    campaign: Campaign
    folder: Path
    owned: bool

    @property
    def cells(self) -> int:
        """Combinations of all axes, plans and ways of healing."""
        return self.campaign.n_cells

    @property
    def trials(self) -> int:
        """Trials at most: cells times draws."""
        return self.campaign.n_trials

    def run(
        self,
        *,
        workers: int | None = None,
        resume: bool = True,
        retry: bool = False,
        data_dir: str | Path | None = None,
        progress: Asked = None,
        on_row: Callable[[Row], object] | None = None,
    ) -> CampaignResults:
        """Run the trials that have no row yet, each in a process of its own crew, and return all.

        Rows go into the journal of :attr:`folder` as they are done and do not depend on ``workers``; ``neurofault campaign`` reads the same
        folder. After a first Ctrl-C, SIGTERM or SIGHUP the trials that are being run end and are kept, then the signal is raised again.

        >>> from neurofault.examples import small_campaign
        >>> study = small_campaign()
        >>> study.run(workers=1).trials, study.run(workers=1).ran
        (4, 0)

        Args:
            workers: local processes, at least 1; None: one for each core that this process may use.
            resume: go on with the run that the folder holds; False: refuse where it holds one.
            retry: run again what failed before.
            data_dir: folder of published data files; None: ``$NEUROFAULT_DATA``, else they are downloaded.
            progress: True: a bar; False: nothing; None: a bar in a notebook or at a prompt; or called as ``progress(stage, done, total, text)`` while chips are made
                and after each trial.
            on_row: called with the row of each trial that has ended, a mapping as in the journal, once it is kept there; for instance :func:`neurofault.to_log`. What
                it raises ends the run; rows that are kept stay. None: nothing is called.

        Raises:
            UsageError: the folder cannot be written, another run writes to it, or it holds a run that ``resume`` or its name does not allow;
                workers below 1.
            NeurofaultError: whatever else must be mended before any trial runs. A trial that fails is a row with its ``message``.
        """
        executor = Executor(usable_cores() if workers is None else workers, retry=retry)
        if not resume and (self.folder / JOURNAL).exists():
            raise UsageError(f"{self.folder} holds a run already; give another folder with out=, or resume=True to go on with it")
        check_folder(self.folder, self.campaign, named=self.owned)
        with listening(progress) as say:
            state = ready(self.campaign, None if data_dir is None else Path(data_dir), say)
            done = run_campaign(self.folder, state, executor, say, on_row)
        if done.signal is not None:
            signal.raise_signal(done.signal)
        return CampaignResults(found_in(self.folder), done.ran)

    def results(self) -> CampaignResults:
        """Return what the folder holds, without running anything.

        >>> from neurofault.examples import small_campaign
        >>> study = small_campaign()
        >>> _ = study.run(workers=1)
        >>> study.results().trials
        4

        Warns:
            NeurofaultWarning: the folder was run with other settings than this campaign has now; its own are shown.

        Raises:
            UsageError: there is no run in it, half of one, or that of another file.
        """
        differs = None if self.owned else whose(self.folder, self.campaign)
        found = found_in(self.folder)
        if differs is not None:
            warnings.warn(differs, NeurofaultWarning, stacklevel=2)
        return CampaignResults(found)

    def __repr__(self) -> str:
        return f"{self.campaign.spec.name}: {plural(self.cells, 'cell')}, {plural(self.trials, 'trial')}; {self.folder}"


def campaign(source: str | Path | Mapping[str, Any], *, out: str | Path | None = None) -> CheckedCampaign:
    """Check a campaign: many trials, and an answer with error bars.

    >>> study = campaign({
    ...     "name": "two-cores",
    ...     "network": {"zoo": "digits-mlp"},
    ...     "faults": [{"kind": "core_dead", "count": {"sweep": [1, 2]}}],
    ...     "repeats": {"draws": 5, "seed": 1},
    ... })
    >>> study.cells, study.trials
    (2, 10)

    ``study.run().table()`` is then a DataFrame with one row a trial.

    Args:
        source: a YAML file, or the mapping that one holds (keys: docs/campaigns.md). A mapping may hold NumPy numbers, paths, which start from
            where Python runs, and faults, such as ``nf.faults.CoreDead(count=2)``.
        out: run folder. None: of a file ``runs/<name>``, as on the command line; of a mapping a folder in the cache
            (``$NEUROFAULT_CACHE``) that is named by the digest of what it asks for, so that the same mapping goes on with its run.

    Raises:
        SpecError: every mistake at once: of a file at ``file:line:column``, of a mapping as ``<dict>: faults[0].count: …``.
    """
    if isinstance(source, Mapping):
        found = campaign_of(source)
    elif isinstance(source, str | os.PathLike):
        found = load_campaign(Path(source), files=True)
    else:
        raise UsageError(f"a campaign is a YAML file or a mapping, not {type(source).__name__}")
    if out is not None:
        return CheckedCampaign(found, Path(out), True)
    if found.path != GIVEN:
        return CheckedCampaign(found, default_folder(found), False)
    return CheckedCampaign(found, cache_dir() / "campaigns" / f"{found.spec.name}-{settings_of(found)}", True)
