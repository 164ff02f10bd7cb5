from __future__ import annotations

import math

import numpy as np
import pytest

from neurofault import faults
from neurofault.errors import FaultError
from neurofault.faults.environment import rate_from_beam, rate_from_fit


def test_fit_is_failures_in_a_billion_hours():
    assert math.isclose(rate_from_fit(1.0) * 2**20 * 3600e9, 1.0)


def test_loihi_at_sea_level_flips_about_once_in_twenty_years():
    bits = 33 * 2**23  # 33 MB of memory
    years = 1 / (expected(bits, 365.25 * 86400))
    assert 18 < years < 25


def expected(bits, seconds):
    return faults.expected_upsets("sea_level", seconds, bits)


def test_environments_order_as_they_should_and_name_their_sources():
    rate = {name: environment.upsets_per_bit_second for name, environment in faults.ENVIRONMENTS.items()}
    assert rate["sea_level"] < rate["altitude_12km"] < rate["neutron_beam"]
    assert math.isclose(rate["altitude_12km"] / rate["sea_level"], 400)
    assert all(environment.derivation for environment in faults.ENVIRONMENTS.values())
    unsourced = {name for name, environment in faults.ENVIRONMENTS.items() if not environment.sources}
    assert unsourced == {"altitude_12km", "low_earth_orbit"}
    for name, environment in faults.ENVIRONMENTS.items():
        assert (name in unsourced) == ("no source" in environment.derivation)
        assert environment.evidence == "assumed"
        assert not any("from memory" in source for source in environment.sources)


def test_a_bit_is_wrong_after_an_odd_number_of_upsets():
    always = faults.Environment("own", "own", 0.5, "", (), "assumed")
    rng = np.random.default_rng(0)
    wrong = (rng.poisson(0.5 * 1.5, 200_000) % 2).mean()
    assert abs(faults.upset_probability(always, 1.5) - wrong) < 0.005
    assert faults.upset_probability(always, 0) == 0
    assert faults.upset_probability(always, 1e9) == 0.5
    assert math.isclose(faults.upset_probability("low_earth_orbit", 86400), 1e-8, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: faults.upset_probability("sea_levl", 1),
            r"no environment 'sea_levl' \(did you mean 'sea_level'\?\); environments: sea_level, ",
        ),
        (lambda: faults.upset_probability("sea_level", -1), "time must be at least 0 seconds, is -1"),
        (lambda: faults.expected_upsets("sea_level", 1, -1), "bits must be at least 0, are -1"),
        (lambda: rate_from_fit(-1), "FIT/Mbit must be at least 0, is -1"),
        (lambda: rate_from_beam(-1, 1), "cross-section and flux must be at least 0, are -1 and 1"),
        (lambda: faults.sample_size(0, 0.1), "population must be at least 1, is 0"),
        (lambda: faults.sample_size(10, 1.0), "margin must lie between 0 and 1, is 1.0"),
        (lambda: faults.sample_size(10, 0.1, 1.0), "confidence must lie between 0 and 1, is 1.0"),
        (lambda: faults.share_interval(3, 2, 10), "need 0 ≤ critical ≤ tried ≤ population, are 3, 2, 10"),
    ],
)
def test_impossible_numbers_are_refused(call, message):
    with pytest.raises(FaultError, match=message):
        call()


@pytest.mark.parametrize(
    ("population", "margin", "confidence", "wanted"),
    [(10**9, 0.05, 0.95, 385), (10**9, 0.01, 0.99, 16587), (500, 0.05, 0.95, 218), (10, 0.001, 0.999, 10)],
)
def test_sample_sizes_are_those_of_the_textbook(population, margin, confidence, wanted):
    assert faults.sample_size(population, margin, confidence) == wanted


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    population, truth, tried = 400, 60, 120
    sites = np.arange(population) < truth
    held = 0
    for _ in range(1000):
        low, high = faults.share_interval(int(rng.permutation(sites)[:tried].sum()), tried, population)
        held += low <= truth / population <= high
    assert 0.93 <= held / 1000 <= 0.985
    assert faults.share_interval(60, 400, 400) == (0.15, 0.15)
    assert faults.share_interval(0, 0, 400) == (0.0, 1.0)


def test_sequential_sampling_stops_when_the_margin_is_met_and_keeps_it():
    rng = np.random.default_rng(2)
    population, share = 5000, 0.07
    sites = np.arange(population) < share * population
    misses, spent = 0, []
    for _ in range(200):
        order = rng.permutation(sites)
        tried = 0
        while True:
            tried += 100
            critical = int(order[:tried].sum())
            if faults.enough(critical, tried, population, 0.02):
                break
        spent.append(tried)
        misses += abs(critical / tried - share) > 0.02
    assert np.mean(spent) < faults.sample_size(population, 0.02) / 2
    assert misses <= 20
    assert not faults.enough(0, 20, population, 0.5)
    assert faults.enough(0, 20, 20, 0.5)


def test_an_exposure_is_a_rate():
    fault = faults.fault_from_mapping({"kind": "synapse_bit_flip", "rate": {"environment": "low_earth_orbit", "days": 30}})
    assert fault == faults.SynapseBitFlip(rate=faults.upset_probability("low_earth_orbit", 30 * 86400))


@pytest.mark.parametrize(
    ("kind", "rate", "message"),
    [
        (
            "core_dead",
            {"environment": "sea_level", "days": 1},
            "an environment gives the rate of upsets of stored bits only (synapse_bit_flip)",
        ),
        (
            "synapse_bit_flip",
            {"environment": "sea_level", "dayz": 1},
            "give environment and one of seconds, hours, days, years, such as {environment: low_earth_orbit, days: 30}",
        ),
        ("synapse_bit_flip", {"environment": "sea_level", "days": "x"}, "days must be a number, is 'x'"),
        ("synapse_bit_flip", {"environment": "sea_level", "days": -2}, "time must be at least 0 seconds, is -172800.0"),
    ],
)
def test_a_wrong_exposure_is_refused(kind, rate, message):
    with pytest.raises(FaultError) as error:
        faults.fault_from_mapping({"kind": kind, "rate": rate})
    assert str(error.value) == f"{kind}: rate: {message}"
