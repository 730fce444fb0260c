import pytest

from brainseg.benchmark.estimate import Estimate, estimate, spell


def test_everything_counts():
    found = estimate([10, 100], [500, 20], [0, 1000], [500])
    assert found.timing == pytest.approx(0.01 * 550 + 0.1 * 22)
    assert found.scoring == pytest.approx(1000 * 0.104)
    assert found.looking == pytest.approx(2.5)


def test_it_is_said_in_one_line():
    assert str(Estimate(100, 0, 25)) == (
        "at most 2 min 5 s (timing 1 min 40 s, scoring 0 s, memory and placement 25 s)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.2, "1 s"), (59.4, "59 s"), (130, "2 min 10 s"), (3900, "1 h 5 min")],
)
def test_times_are_spelled_as_people_say_them(seconds, text):
    assert spell(seconds) == text
