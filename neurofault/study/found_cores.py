"""The step from a packed chip to the cores that a search finds, where one is asked for in words."""

from __future__ import annotations

from neurofault.data.splits import DataSet
from neurofault.deploy.anneal_words import anneal_words
from neurofault.deploy.deployment import Deployment
from neurofault.progress import Progress


def on_found_cores(chip: Deployment, data: DataSet, words: str, *, seed: int, progress: Progress) -> Deployment:
    """Return a chip where a search places it; where none is asked for, as it is.

    Args:
        chip: healthy, placed as :func:`neurofault.deploy` does.
        data: on whose training and validation samples the search measures.
        words: as :func:`neurofault.deploy.anneal_words.anneal_words` reads them.
        seed: of the search.
        progress: called as it goes on.

    Raises:
        UsageError: as of :func:`neurofault.study.placing.placed_for`.
    """
    how = anneal_words(words)
    if how is None:
        return chip
    from neurofault.study.placing import placed_for  # compiled, and only this needs it

    return placed_for(chip, data, how, seed=seed, progress=progress)
