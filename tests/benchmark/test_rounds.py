import numpy as np
import pytest

from brainseg.benchmark import rounds
from brainseg.benchmark.rounds import limits, time_until_sure


class Clock:
    """Rounds whose times are drawn instead of measured; notes who takes part in which."""

    def __init__(self, medians, spread, interrupted_at=None):
        self.medians, self.spread, self.interrupted_at = medians, spread, interrupted_at
        self.parts = []
        self.rng = np.random.default_rng(1)

    def __call__(self, variants, chunk, images, rng):
        count = len(list(chunk))
        if self.interrupted_at is not None and len(self.parts) == self.interrupted_at:
            raise KeyboardInterrupt
        self.parts.append((tuple(variants), count))
        noise = 1 + self.spread * self.rng.standard_normal((len(variants), count))
        return np.array([self.medians[name] for name in variants])[:, None] * noise


@pytest.fixture
def time(monkeypatch):
    def run(clock, references, most):
        monkeypatch.setattr(rounds, "time_rounds", clock)
        names = list(range(len(references)))
        rng = np.random.default_rng(0)
        return time_until_sure(names, references, most, iter(range(max(most))), 1, rng)

    return run


def test_a_quiet_machine_needs_few_rounds(time):
    clock = Clock([10.0, 5.0], spread=0.001)
    timed = time(clock, [0, 0], [500, 500])
    assert clock.parts == [((0, 1), 50)]
    assert timed.complete.all()
    assert not timed.interrupted
    value, _ = timed.ratio(0, 1, np.random.default_rng(0))
    assert value == pytest.approx(2, abs=0.01)


def test_what_is_not_sure_goes_on_with_what_it_is_compared_with(time):
    clock = Clock([10.0, 5.0, 4.0], spread=0.0)
    steady = clock.__call__

    class Restless(Clock):
        def __call__(self, variants, *given):
            times = steady(variants, *given)
            if 2 in variants:
                row = variants.index(2)
                times[row] *= self.rng.uniform(0.5, 2, times.shape[1])
            return times

    timed = time(Restless([], 0.0), [0, 0, 0], [200, 200, 200])
    assert [names for names, _ in clock.parts] == [(0, 1, 2), (0, 2), (0, 2), (0, 2)]
    assert [len(timed.of(index)) for index in range(3)] == [200, 50, 200]
    assert np.isnan(timed.milliseconds[1, 50:]).all()
    assert timed.complete.all()
    low, high = timed.ratio(0, 2, np.random.default_rng(0))[1]
    assert high - low > 0.02  # stopped by the limit


def test_a_slow_one_has_its_own_limit(time):
    clock = Clock([10.0, 5.0, 500.0], spread=0.05)
    timed = time(clock, [0, 0, 0], limits([10.0, 5.0, 500.0], [0, 0, 0], 100))
    assert clock.parts[0] == ((0, 1, 2), 20)
    assert [len(timed.of(index)) for index in range(3)] == [100, 100, 20]
    assert timed.complete.all()
    assert timed.ratio(0, 2, np.random.default_rng(0))[0] == pytest.approx(0.02, rel=0.1)


def test_what_was_complete_when_interrupted_is_told(time):
    clock = Clock([10.0, 5.0, 500.0], spread=0.2, interrupted_at=2)
    timed = time(clock, [0, 0, 0], [500, 500, 20])
    assert timed.interrupted
    assert timed.complete.tolist() == [True, False, True]  # the first is compared with itself
    assert len(timed.of(2)) == 20


def test_an_interruption_while_ratios_are_looked_at_costs_one_step(time, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "ratio", interrupted)
    timed = time(Clock([10.0, 5.0, 500.0], spread=0.2), [0, 0, 0], [500, 500, 20])
    assert timed.interrupted
    assert timed.complete.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("milliseconds", "passes", "expected"),
    [
        ([10, 20, 99], 500, [500, 500, 500]),
        ([10, 101, 5], 500, [500, 20, 500]),
        ([10, 101, 5], 8, [8, 8, 8]),
    ],
)
def test_ten_times_slower_is_hopeless(milliseconds, passes, expected):
    assert limits(milliseconds, [0, 0, 0], passes) == expected


def test_never_more_rounds_than_asked_for(time):
    clock = Clock([10.0, 5.0], spread=0.5)
    timed = time(clock, [0, 0], [7, 7])
    assert clock.parts == [((0, 1), 7)]
    assert timed.complete.all()
