import numpy as np
import pytest
from scipy import stats

from brainseg.benchmark import timing
from brainseg.benchmark.timing import OtherLoad, ratio, summarize_latency, time_rounds


def test_all_variants_see_the_same_image_in_random_order():
    calls = []
    variants = [lambda image, name=name: calls.append((name, image)) for name in range(3)]
    times = time_rounds(variants, range(40), 5, np.random.default_rng(0))
    assert times.shape == (3, 40)
    assert (times > 0).all()
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(rounds) == 40
    assert all(len({image for _, image in each}) == 1 for each in rounds)
    assert all({name for name, _ in each} == {0, 1, 2} for each in rounds)
    assert {image for _, image in calls} == set(range(5))
    assert len({tuple(name for name, _ in each) for each in rounds}) == 6  # all orders occur


def test_times_belong_to_their_variant_in_milliseconds(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: 0.002 * next(clock))
    extra = [lambda _: None, lambda _: next(clock)]  # the second one takes a tick more
    times = time_rounds(extra, range(10), 3, np.random.default_rng(0))
    np.testing.assert_allclose(times[0], 2)
    np.testing.assert_allclose(times[1], 4)


def test_no_round_gives_no_times():
    assert time_rounds([print, print], range(0), 1, np.random.default_rng(0)).shape == (2, 0)


def test_percentiles_and_mean():
    values = np.random.default_rng(1).gamma(2, 10, 500)
    found = summarize_latency(values)
    ordered = np.sort(values)
    assert list(found) == ["p50", "p90", "p99", "mean"]
    assert found["p50"] == pytest.approx(np.median(values))
    assert found["mean"] == pytest.approx(values.sum() / 500)
    assert ordered[448] <= found["p90"] <= ordered[450]
    assert ordered[493] <= found["p99"] <= ordered[495]


def test_a_drift_that_both_share_cancels():
    drift = np.linspace(10, 30, 50)
    assert ratio(2 * drift, drift, np.random.default_rng(0)) == (2.0, [2.0, 2.0])


def test_the_ratio_is_above_one_for_a_faster_variant():
    speedup, interval = ratio([30, 40, 50], [10, 20, 10], np.random.default_rng(0))
    assert speedup == 3
    assert interval == [2, 5]


def test_the_interval_agrees_with_scipy():
    rng = np.random.default_rng(2)
    reference, variant = rng.gamma(50, 1, 300), rng.gamma(40, 1, 300)
    median, interval = ratio(reference, variant, rng)
    expected = stats.bootstrap(
        (reference / variant,), np.median, method="percentile", n_resamples=5000, rng=rng
    ).confidence_interval
    assert median == np.median(reference / variant)
    assert interval == pytest.approx(list(expected), abs=0.01)
    assert interval[0] < median < interval[1]


def test_the_same_thing_twice_holds_one():
    rng = np.random.default_rng(3)
    _, (low, high) = ratio(rng.gamma(50, 1, 500), rng.gamma(50, 1, 500), rng)
    assert low < 1 < high


@pytest.mark.parametrize(
    ("then", "now", "share"),
    [
        ((100, 50, 10), (110, 56, 13), 0.3),  # 10 s passed, 6 busy, 3 our own
        ((100, 50, 10), (110, 53, 13), 0),
        ((100, 50, 10), (110, 53, 14), 0),  # clocks of different resolution
        ((100, 50, 10), (100, 50, 10), 0),
    ],
)
def test_the_load_of_others(monkeypatch, then, now, share):
    readings = iter([then, now])
    monkeypatch.setattr(timing, "_cpu_seconds", lambda: next(readings))
    assert OtherLoad("cpu").share() == pytest.approx(share)


def test_our_own_work_is_part_of_all_work():
    total, busy, own = timing._cpu_seconds()
    assert total > busy > own > 0


@pytest.mark.parametrize(
    ("before", "after", "share"), [(0.0, 0.0, 0), (0.4, 0.0, 0.4), (0.0, 0.7, 0.7), (None, None, 0)]
)
def test_others_may_use_the_gpu(monkeypatch, before, after, share):
    readings = iter([before, after])
    monkeypatch.setattr(timing, "gpu_use", lambda: next(readings))
    monkeypatch.setattr(timing, "GPU_SETTLES", 0)
    monkeypatch.setattr(timing, "_cpu_seconds", lambda: (0, 0, 0))
    assert OtherLoad("cuda").share() == share
