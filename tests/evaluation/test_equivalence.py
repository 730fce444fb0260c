"""What two one-sided tests tell, against those of SciPy."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.equivalence import (
    TOST_LEVEL,
    Verdict,
    equivalent_within,
    is_not_worse,
    judge,
)

PIXELS = 10_000


def share_found(counts):
    """A metric that is a mean over patients of equal size, as the t-test has it."""
    counts = np.asarray(counts, float)
    return counts[..., 0] / counts.sum(axis=-1)


def scored(patients, mean, spread, seed):
    """Counts of an image per patient from two networks, and the change in each patient."""
    rng = np.random.default_rng(seed)
    found = rng.integers(3000, 5000, patients)
    after = found + np.rint(rng.normal(mean, spread, patients) * PIXELS).astype(int)
    counts = [np.stack([tp, 0 * tp, PIXELS - tp, 0 * tp], 1) for tp in (found, after)]
    return *counts, [f"p{number}" for number in range(patients)], (after - found) / PIXELS


def larger_p(changes, margin):
    """The larger p-value of two one-sided t-tests."""
    return max(
        ttest_1samp(changes, -margin, alternative="greater").pvalue,
        ttest_1samp(changes, margin, alternative="less").pvalue,
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_90_percent_interval_within_the_margin_is_two_one_sided_tests_at_5(seed):
    rng = np.random.default_rng(seed)
    changes = rng.normal(rng.normal(0, 0.0005), 0.001, 12)
    interval = ttest_1samp(changes, 0).confidence_interval(TOST_LEVEL)
    for margin in (0.0002, 0.0004, 0.0007, 0.001, 0.002):
        passes = larger_p(changes, margin) < 0.05
        assert (judge(interval, margin) == Verdict.equivalent) == passes
        lower = ttest_1samp(changes, -margin, alternative="greater").pvalue < 0.05
        assert is_not_worse(interval, margin) == lower
    smallest = equivalent_within(interval)
    assert larger_p(changes, smallest) == pytest.approx(0.05)


@pytest.mark.parametrize("patients", [10, 40])
@pytest.mark.parametrize("mean", [0.0, -0.002])
def test_the_bootstrap_agrees_with_the_t_test_where_both_hold(patients, mean):
    before, after, names, changes = scored(patients, mean, 0.003, seed=patients)
    found = paired_interval(before, after, names, share_found, level=TOST_LEVEL, resamples=20000)
    expected = ttest_1samp(changes, 0).confidence_interval(TOST_LEVEL)
    width = expected.high - expected.low
    assert found == pytest.approx((expected.low, expected.high), abs=0.04 * width)
    smallest = equivalent_within(expected)
    for margin in (0.9 * smallest, 1.1 * smallest):
        passes = larger_p(changes, margin) < 0.05
        assert (judge(found, margin) == Verdict.equivalent) == passes


def test_what_is_not_equivalent_is_called_so_as_rarely_as_promised():
    wrong = 0
    for seed in range(300):
        before, after, names, _ = scored(15, -0.001, 0.002, seed)
        interval = paired_interval(before, after, names, share_found, level=TOST_LEVEL)
        wrong += is_not_worse(interval, 0.001)  # exactly the margin is lost
    assert wrong / 300 == pytest.approx(0.05, abs=0.035)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.0004, 0.0004), "equivalent"),
        ((0.0, 0.0), "equivalent"),
        ((0.7696 - 0.77, 0.0001), "equivalent"),  # −0.0004 but for rounding
        ((-0.0004, 0.0009), "not worse"),
        ((0.0005, 0.0009), "not worse"),
        ((-0.0012, 0.0008), "not shown"),
        ((-0.0012, -0.0004), "not shown"),
        ((-0.0012, -0.0005), "worse"),
        (None, None),
    ],
)
def test_verdicts(interval, verdict):
    assert judge(interval, 0.0004) == verdict


def test_the_smallest_margin_is_the_farther_end():
    assert equivalent_within([-0.0012, 0.0008]) == 0.0012
    assert equivalent_within([-0.0002, 0.0008]) == 0.0008
