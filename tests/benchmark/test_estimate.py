import pytest

from brainseg.benchmark.estimate import Estimate, Work, estimate, spell


def test_everything_counts():
    works = [
        Work(10, 500, others=51, load_ms=500),
        Work(100, 20, others=3, images=1000),
        Work(10, 500),  # the control
    ]
    found = estimate(works)
    assert found.timing == pytest.approx(0.01 * 551 + 0.1 * 23 + 0.01 * 500)
    assert found.scoring == pytest.approx(1000 * 0.104)
    assert found.looking == pytest.approx(2.5)


def test_images_are_scored_one_by_one_whatever_the_batch():
    assert estimate([Work(160, 10, images=100, per_pass=16)]).scoring == pytest.approx(1.4)


def test_it_is_said_in_one_line():
    assert str(Estimate(100, 0, 25)) == (
        "at most about 2 min 5 s from here (timing 1 min 40 s, scoring 0 s, memory and placement "
        "25 s)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.2, "1 s"), (59.4, "59 s"), (130, "2 min 10 s"), (3900, "1 h 5 min")],
)
def test_times_are_spelled_as_people_say_them(seconds, text):
    assert spell(seconds) == text
