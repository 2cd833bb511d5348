import threading

import numpy as np
import pytest
import torch
from numba import njit

from swath.nn import kernels
from swath.nn.kernels import Array


@njit  # not cached: the cache does not notice when the operations change
def _map_exponential(values: Array, results: Array) -> None:
    for i in range(0, len(values), 16):
        kernels.store(results, i, kernels.exponential(kernels.load(values, i)))


@njit
def _map_sigmoid(values: Array, results: Array) -> None:
    for i in range(0, len(values), 16):
        kernels.store(results, i, kernels.sigmoid(kernels.load(values, i)))


@njit
def _sum_lanes(values: Array, results: Array) -> None:
    kernels.store(results, 0, kernels.lane_sums(values, 0))


def _mapped(function, values):
    results = np.empty_like(values)
    function(values, results)
    return results


def test_compiled_exponential_is_within_two_in_ten_million():
    x = np.linspace(-87, 0, 400_000, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(_mapped(_map_exponential, x) / exact - 1).max() < 2e-7


def test_compiled_exponential_of_zero_is_exactly_one_and_never_zero_infinite_or_hiding_a_nan():
    x = np.array([0, -0.0, -1e30, -np.inf, 1e30, np.nan] + [0] * 10, np.float32)
    y = _mapped(_map_exponential, x)
    assert y[0] == y[1] == 1
    assert 0 < y[2] < 1.7e-38
    assert y[3] == y[2]
    assert np.isfinite(y[4])
    assert np.isnan(y[5])


def test_compiled_sigmoid_equals_the_logistic_function():
    x = np.linspace(-60, 60, 4800, dtype=np.float32)
    np.testing.assert_allclose(_mapped(_map_sigmoid, x), 1 / (1 + np.exp(-x.astype(np.float64))), rtol=5e-7)


def test_lane_sums_put_the_sum_of_vector_i_into_lane_i():
    values = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    results = np.empty(16, np.float32)
    _sum_lanes(values.reshape(-1), results)
    np.testing.assert_allclose(results, values.astype(np.float64).sum(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_runs_exactly_once_on_no_more_threads_than_asked_for(threads):
    before = torch.get_num_threads()
    counts, names, lock = np.zeros(101, int), set(), threading.Lock()

    def kernel(start, stop):
        with lock:
            counts[start:stop] += 1
            names.add(threading.get_ident())

    torch.set_num_threads(threads)
    try:
        kernels.share_out(kernel, 101)
    finally:
        torch.set_num_threads(before)
    assert (counts == 1).all()
    assert len(names) <= threads


def test_an_error_in_a_helper_thread_is_not_swallowed():
    before = torch.get_num_threads()

    def kernel(start, stop):
        raise ValueError("broken")

    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="broken"):
            kernels.share_out(kernel, 8)
    finally:
        torch.set_num_threads(before)
