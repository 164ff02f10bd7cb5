"""Max pooling of spikes as a population: what torch's max_pool2d makes of the same spikes, one step later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.errors import ConversionError
from neurofault.graph.pooling import spike_max_pool

torch = pytest.importorskip("torch")

STEPS, CHANNELS = 4, 2


def pooled_by_chip(spikes: np.ndarray, **windows: object) -> np.ndarray:
    """What the population fires under spikes [N, T, C, H, W] of the input."""
    samples, steps, *shape = spikes.shape
    maps = nf.Population("maps", tuple(shape), nf.Source())
    pooled, connection = spike_max_pool("pooled", maps, **windows)
    network = nf.Network("pooling", (maps, pooled), (connection,), steps, nf.Readout("pooled", "count"))
    activity = nf.run(nf.deploy(network), nf.Inputs(events=spikes.reshape(samples, steps, -1)), record=("spikes",)).activity
    found = activity.traces["pooled"].spikes
    assert found is not None
    return found.reshape(samples, steps, *pooled.shape)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(3, 7), st.integers(3, 7)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.booleans(),
    st.integers(1, 2),
    st.integers(0, 2**32 - 1),
)
def test_it_is_torchs_max_pool2d_of_spikes(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padded: bool, dilation: int, seed: int
) -> None:
    padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
    if any(dilation * (k - 1) >= n + 2 * p for n, k, p in zip(size, kernel, padding, strict=True)):
        return
    spikes = np.random.default_rng(seed).random((3, STEPS, CHANNELS, *size)) < 0.2
    maps = torch.from_numpy(spikes).float().reshape(-1, CHANNELS, *size)
    wanted = torch.nn.functional.max_pool2d(maps, kernel, stride, padding, dilation)
    found = pooled_by_chip(spikes, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted.numpy() > 0)


def test_windows_without_a_stride_lie_side_by_side() -> None:
    spikes = np.zeros((1, 2, 1, 4, 4), bool)
    spikes[0, 0, 0, 0, 0] = spikes[0, 0, 0, 1, 1] = spikes[0, 1, 0, 3, 2] = True
    assert pooled_by_chip(spikes, kernel=2)[0, :, 0].astype(int).tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]]]


@pytest.mark.parametrize(
    ("shape", "windows", "message"),
    [
        (
            (16,),
            {"kernel": 2},
            "population 'pooled': max pooling takes spikes of (channels, height, width); 'maps' has the shape (16,)",
        ),
        ((1, 4, 4), {"kernel": 5}, "population 'pooled': no window of (5, 5) fits into 'maps', which is 4 × 4"),
        (
            (1, 4, 4),
            {"kernel": 2, "padding": 2},
            "population 'pooled': kernel (2, 2), stride (2, 2) and dilation (1, 1) must be at least 1, padding (2, 2) 0 to half the kernel",
        ),
        (
            (1, 4, 4),
            {"kernel": 2, "stride": 0},
            "population 'pooled': kernel (2, 2), stride (0, 0) and dilation (1, 1) must be at least 1, padding (0, 0) 0 to half the kernel",
        ),
    ],
    ids=["flat", "large", "padding", "stride"],
)
def test_windows_that_do_not_fit_are_refused(shape: tuple[int, ...], windows: dict[str, int], message: str) -> None:
    with pytest.raises(ConversionError) as error:
        spike_max_pool("pooled", nf.Population("maps", shape, nf.Source()), **windows)
    assert str(error.value) == message
