"""What the report must know of a campaign without making its chips again: ``planned.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurofault.errors import UsageError
from neurofault.study.campaign.identity import settings_of
from neurofault.study.campaign.spec import Campaign
from neurofault.study.chip_map import tiles_of

if TYPE_CHECKING:
    from neurofault.study.campaign.trial import TrialChip

PLANNED = "planned.json"


class HeldCore(BaseModel):
    """What a core holds and where it lies.

    Attributes:
        layer: population; None: a spare.
        column, row: of its tile.
        neurons: first and last neuron of the population and their number; None: a spare, or not known.
    """

    layer: str | None
    column: int
    row: int
    neurons: Annotated[list[int], Field(min_length=3, max_length=3)] | None = None


class TileMap(BaseModel):
    """The tiles of a chip and its cores, by their numbers."""

    columns: int
    rows: int
    cores: dict[Annotated[str, Field(pattern="^[0-9]{1,18}$")], HeldCore]


class Planned(BaseModel):
    """A campaign's chips and data.

    Attributes:
        file: campaign file that it came from; empty: not known.
        settings: digest of what it asks for; empty: not known.
        resolved: digest of the data of ``resolved.json``; empty: not known.
        data_dir: folder of published data files that it was run with.
        data, samples, timesteps: of the first chip.
        metric: what is measured (:mod:`neurofault.metrics`).
        chance: chip → what the best constant answer reaches by it.
        chips: chip → where its cores lie.
        digests: chip → digests of the chip, the images and the adapt set.
        chip_of: cell → chip.
        weights: chip → digest of the trained network; empty: not known.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)
    file: str = ""
    settings: str = ""
    resolved: str = ""
    data_dir: str | None = None
    name: str
    axes: list[dict[str, Any]]
    data: str
    samples: int
    timesteps: int
    metric: str = "accuracy"
    chance: Annotated[dict[str, float], Field(min_length=1)]
    chips: Annotated[dict[str, TileMap], Field(min_length=1)]
    digests: dict[str, Annotated[list[str], Field(min_length=3, max_length=3)]]
    chip_of: dict[str, str]
    weights: dict[str, str] = {}


def read_planned(folder: Path, campaign: Campaign, resolved: str) -> Planned:
    """Read ``planned.json`` of a run folder.

    Args:
        folder: run folder.
        campaign: that its ``resolved.json`` holds.
        resolved: digest of that file's data.

    Raises:
        UsageError: it is not there, not whole, or of another campaign than ``resolved.json``.
    """
    path = folder / PLANNED
    again = f"`neurofault campaign run FILE --out {folder}` writes it anew and keeps the rows"
    try:
        planned = Planned.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: damaged ({where + ': ' if where else ''}{first['msg']}); {again}") from None
    cells = (str(index) for index in range(campaign.n_cells))
    if (planned.resolved and planned.resolved != resolved) or any(
        planned.chip_of.get(cell) not in planned.digests.keys() & planned.chips.keys() for cell in cells
    ):
        raise UsageError(f"{folder}: resolved.json and planned.json are not of one run (was one of them edited?); {again}")
    return planned


def planned_json(
    campaign: Campaign,
    chips: Mapping[str, TrialChip],
    data: str,
    digests: Mapping[str, tuple[str, str, str]],
    weights: Mapping[str, str],
    chip_of: Mapping[int, str],
    data_dir: Path | None,
) -> dict[str, Any]:
    """Return what ``planned.json`` holds, but for the digest of ``resolved.json``.

    Args:
        campaign: what was asked for.
        chips: key → chip.
        data: name of the data set.
        digests: key → digests of the chip, the images, the adapt set.
        weights: key → digest of the trained network.
        chip_of: cell → key.
        data_dir: folder of published data files.
    """
    first = next(iter(chips.values()))
    return {
        "file": str(campaign.path.absolute()),
        "settings": settings_of(campaign),
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
        "name": campaign.spec.name,
        "axes": [{"name": axis.name, "values": list(axis.values)} for axis in campaign.axes],
        "data": data,
        "samples": len(first.expected),
        "timesteps": first.deployment.timesteps,
        "chance": {key: chip.metric.chance(chip.expected) for key, chip in chips.items()},
        "metric": first.metric.name,
        "chips": {key: tiles_of(chip.deployment) for key, chip in chips.items()},
        "digests": {key: list(found) for key, found in digests.items()},
        "weights": dict(weights),
        "chip_of": {str(cell): key for cell, key in chip_of.items()},
    }
