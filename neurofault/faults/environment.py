"""How many upsets an environment brings: from cross-section, flux and time, or from FIT, to a probability for each stored bit.

Upsets arrive as a Poisson process; a bit that has flipped an even number of times is as it was, so after a time t with rate λ a bit
is wrong with probability (1 − e^(−2λt))/2. The numbers are orders of magnitude for a memory process, not measurements of a neuromorphic chip:
no beam test of Loihi is published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurofault.errors import FaultError, nearest
from neurofault.faults.mistakes import FaultMistakes, Mistake, said

_MEGABIT = float(1 << 20)
_HOUR = 3600.0
_UNITS = {"seconds": 1.0, "hours": _HOUR, "days": 24 * _HOUR, "years": 365.25 * 24 * _HOUR}
_MOST_TIME = 1e12


@dataclass(frozen=True)
class Environment:
    """Upsets of one stored bit.

    Attributes:
        name, title: for display.
        upsets_per_bit_second: λ.
        derivation: how λ follows from the sources.
        sources: where the numbers come from; empty: nowhere, they are assumed.
        evidence: ``documented``, or ``assumed`` where a number was not read in its primary source.
    """

    name: str
    title: str
    upsets_per_bit_second: float
    derivation: str
    sources: tuple[str, ...]
    evidence: str


def rate_from_fit(fit_per_megabit: float) -> float:
    """Return upsets a bit and second from FIT per Mbit (failures in 10⁹ hours).

    Raises:
        FaultError: the number is negative.
    """
    if fit_per_megabit < 0:
        raise FaultError(f"FIT/Mbit must be at least 0, is {fit_per_megabit}")
    return fit_per_megabit / (1e9 * _HOUR * _MEGABIT)


def rate_from_beam(cross_section: float, flux: float) -> float:
    """Return upsets a bit and second from a cross-section (cm² a bit) and a flux (particles a cm² and second).

    Raises:
        FaultError: a number is negative.
    """
    if cross_section < 0 or flux < 0:
        raise FaultError(f"cross-section and flux must be at least 0, are {cross_section} and {flux}")
    return cross_section * flux


ENVIRONMENTS: Mapping[str, Environment] = {
    environment.name: environment
    for environment in (
        Environment(
            "sea_level",
            "sea level, New York City",
            rate_from_fit(20.0),
            "20 FIT/Mbit for a 14–16 nm FinFET memory",
            (
                "Xilinx UG116, 16 nm FinFET RAM about 10–20 FIT/Mbit (read second-hand)",
                "Seifert et al. 2015, IEEE TNS (14 nm tri-gate)",
            ),
            "assumed",
        ),
        Environment(
            "sea_level_worst",
            "sea level, upper bound for older memories",
            rate_from_fit(1200.0),
            "1,200 FIT/Mbit",
            ("IEC 61508-2:2010 Annex (embedded SRAM 700–1,200 FIT/Mbit, quoted second-hand)",),
            "assumed",
        ),
        Environment(
            "altitude_12km",
            "12 km, cruising altitude",
            rate_from_fit(20.0 * 400.0),
            "sea level × 400, assumed for the neutron flux at 12 km and middle latitudes; no source of the factor was read",
            (),
            "assumed",
        ),
        Environment(
            "low_earth_orbit",
            "low Earth orbit",
            1e-8 / 86400.0,
            "10⁻⁸ upsets a bit and day, assumed; no source was read",
            (),
            "assumed",
        ),
        Environment(
            "neutron_beam",
            "spallation neutron beam, like ChipIR",
            rate_from_beam(6e-16, 5e6),
            "6·10⁻¹⁶ cm²/bit (16 nm FinFET: 3–9·10⁻¹⁶) × 5·10⁶ neutrons a cm² and second above 10 MeV",
            ("Xilinx UG116 (cross-section, read second-hand)", "Cazzaniga & Frost 2018, J. Phys. Conf. Ser. 1021 (ChipIR flux)"),
            "assumed",
        ),
    )
}
"""Environments by name."""


def upset_probability(environment: str | Environment, seconds: float) -> float:
    """Return the probability that a stored bit is wrong after a time, to be used as ``rate`` of ``synapse_bit_flip``.

    Args:
        environment: one of :data:`ENVIRONMENTS`, or one of your own.
        seconds: since the memory was written.

    Raises:
        FaultError: unknown environment or negative time.

    >>> f"{upset_probability('low_earth_orbit', 30 * 86400):.2e}"
    '3.00e-07'
    """
    if isinstance(environment, str):
        if environment not in ENVIRONMENTS:
            raise FaultError(
                f"no environment {environment!r}{nearest(environment, ENVIRONMENTS)}; environments: {', '.join(ENVIRONMENTS)}"
            )
        environment = ENVIRONMENTS[environment]
    if not seconds >= 0:
        raise FaultError(f"time must be at least 0 seconds, is {seconds}")
    return -math.expm1(-2.0 * environment.upsets_per_bit_second * seconds) / 2.0


def expected_upsets(environment: str | Environment, seconds: float, bits: int) -> float:
    """Return how many of ``bits`` stored bits are wrong on average after a time.

    Raises:
        FaultError: unknown environment, negative time or number of bits.
    """
    if bits < 0:
        raise FaultError(f"bits must be at least 0, are {bits}")
    return bits * upset_probability(environment, seconds)


def exposed(spec: Mapping[str, Any], *, stored_bits: bool) -> float:
    """Return the rate of ``{environment: low_earth_orbit, days: 30}``.

    Args:
        spec: ``environment`` and one of ``seconds``, ``hours``, ``days``, ``years``.
        stored_bits: whether the sites are stored bits; of others there is no such rate.

    Raises:
        FaultMistakes: another key, an unknown environment, no such time, or other sites.
    """

    def wrong(text: str, *path: str) -> FaultMistakes:
        return FaultMistakes([Mistake(text, path)])

    units = [unit for unit in _UNITS if unit in spec]
    others = [str(key) for key in spec if key != "environment" and key not in _UNITS]
    if not stored_bits:
        raise wrong("an environment gives the rate of upsets of stored bits only (synapse_bit_flip)")
    if others or len(units) != 1 or "environment" not in spec:
        text = f"give environment and one of {', '.join(_UNITS)}, such as {{environment: low_earth_orbit, days: 30}}"
        raise wrong(text, *others[:1])
    (unit,), time, environment = units, spec[units[0]], spec["environment"]
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise wrong(f"{unit} must be a number, is {said(time)}", unit)
    if not abs(time) <= _MOST_TIME:
        raise wrong(f"{unit} must be at most 1e12, is {said(time)}", unit)
    if not isinstance(environment, str):
        raise wrong(f"environment must be a name, is {said(environment)}", "environment")
    try:
        return upset_probability(environment, float(time) * _UNITS[unit])
    except FaultError as error:
        raise wrong(str(error), unit if environment in ENVIRONMENTS else "environment") from None


def exposure_schema() -> dict[str, Any]:
    """Return the JSON Schema of what :func:`exposed` takes."""
    time = {"type": "number", "minimum": 0, "maximum": _MOST_TIME}
    return {
        "type": "object",
        "properties": {"environment": {"enum": list(ENVIRONMENTS)}, **dict.fromkeys(_UNITS, time)},
        "required": ["environment"],
        "minProperties": 2,
        "maxProperties": 2,
        "additionalProperties": False,
    }
