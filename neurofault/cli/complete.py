"""What the shell may complete: names that the code itself answers for, and files that hold what a verb takes. Nothing that computes is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

Completer = Callable[[str], list[tuple[str, str] | str]]
"""Function of what is typed already that returns what it may become, with a word on each where there is one."""

_CAMPAIGN: Final = re.compile(r"^(faults|include)\s*:", re.MULTILINE)
_LOOKED_AT: Final = 1 << 16
"""Characters of a YAML file that are looked at to tell a campaign from a profile."""


def _starting(incomplete: str, words: Iterable[tuple[str, str] | str]) -> list[tuple[str, str] | str]:
    return [word for word in words if (word if isinstance(word, str) else word[0]).startswith(incomplete)]


def words(*given: str) -> Completer:
    """Return a completer of fixed words."""

    def complete(incomplete: str) -> list[tuple[str, str] | str]:
        return _starting(incomplete, given)

    return complete


def _several(incomplete: str, given: Iterable[tuple[str, str]]) -> list[tuple[str, str] | str]:
    """Return what the last of words with commas may become; what stands before it stays, and is not offered again."""
    before, comma, last = incomplete.rpartition(",")
    there = set(before.split(","))
    return [(before + comma + word, text) for word, text in given if word.startswith(last) and word not in there]


def zoo(incomplete: str) -> list[tuple[str, str] | str]:
    """Return networks of the zoo, with what each is trained on."""
    from neurofault.zoo import RECIPES
    from neurofault.zoo.events import EVENT_RECIPES

    known = [(name, f"on {one.dataset}") for name, one in RECIPES.items()]
    known += [(name, f"on {one.dataset}") for name, one in EVENT_RECIPES.items()]
    return _starting(incomplete, known)


def networks(incomplete: str) -> list[tuple[str, str] | str]:
    """Return networks of the zoo, and NIR and netx files."""
    return [*zoo(incomplete), *files(incomplete, (".nir", ".net"))]


def profiles(incomplete: str) -> list[tuple[str, str] | str]:
    """Return the bundled profiles, and YAML files that are no campaign."""
    from neurofault.deploy.profile import bundled_profiles

    return [
        *_starting(incomplete, bundled_profiles()),
        *files(incomplete, (".yaml", ".yml"), lambda text: _CAMPAIGN.search(text) is None),
    ]


def kinds(incomplete: str) -> list[tuple[str, str] | str]:
    """Return all kinds of faults."""
    from neurofault.faults.models import FAMILIES

    return _starting(incomplete, [(model.kind, family) for family, models in FAMILIES.items() for model in models])


def sites(incomplete: str) -> list[tuple[str, str] | str]:
    """Return the kinds of single sites that are followed one by one."""
    from neurofault.study.atlas_sites import KINDS

    return _starting(incomplete, KINDS)


def suspects(incomplete: str) -> list[tuple[str, str] | str]:
    """Return the kinds of single faults that answers may be compared with."""
    from neurofault.study.atlas_sites import KINDS

    return _starting(incomplete, (*KINDS, "memory_word_dead", "link_dead", "router_dead"))


def engines(incomplete: str) -> list[tuple[str, str] | str]:
    """Return the engines, with what each is."""
    from neurofault.engines.availability import OF_ENGINE

    return _starting(incomplete, [(name, package.distribution) for name, package in OF_ENGINE.items()])


def healing(incomplete: str) -> list[tuple[str, str] | str]:
    """Return strategies that heal; several with commas."""
    return _several(incomplete, _strategies(control=False))


def controls(incomplete: str) -> list[tuple[str, str] | str]:
    """Return what healing is compared with; several with commas."""
    return _several(incomplete, (*_strategies(control=True), ("dropout", "a network trained with dropout"), ("none", "no control")))


def _strategies(*, control: bool) -> list[tuple[str, str]]:
    from neurofault.rescue.strategies import STRATEGIES

    return [(name, one.text) for name, one in STRATEGIES.items() if one.control == control]


def learners(incomplete: str) -> list[tuple[str, str] | str]:
    """Return learners; several with commas."""
    from neurofault.rescue.learners.by_name import TEXTS

    return _several(incomplete, TEXTS.items())


def data(incomplete: str) -> list[tuple[str, str] | str]:
    """Return data sets, and files of one's own."""
    from neurofault.data.datasets import NAMES

    return [*_starting(incomplete, NAMES), *files(incomplete, (".npz", ".h5"))]


def campaigns(incomplete: str) -> list[tuple[str, str] | str]:
    """Return YAML files that are campaigns; folders too, which may hold some, or a run."""
    return list(files(incomplete, (".yaml", ".yml"), lambda text: _CAMPAIGN.search(text) is not None))


def files(incomplete: str, endings: tuple[str, ...], right: Callable[[str], bool] = lambda text: True) -> list[str]:
    """Return files of some endings that go on from what is typed, and, once something is, folders in which there may be more.

    Args:
        incomplete: what is typed, a path or its beginning.
        endings: of the files, with their point.
        right: function of a file's first characters that says whether it is meant.
    """
    folder, slash, start = incomplete.rpartition("/")
    try:
        found = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return []
    names = []
    for path in found:
        if not path.name.startswith(start) or (path.name.startswith(".") and not start.startswith(".")):
            continue
        if path.is_dir() and incomplete:
            names.append(f"{folder}{slash}{path.name}/")
        elif path.suffix in endings and right(_beginning(path)):
            names.append(f"{folder}{slash}{path.name}")
    return names


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LOOKED_AT)
    except OSError:
        return ""
