"""Keys that nothing reads."""

import pytest

from brainseg.errors import InputError
from brainseg.training.keys import check_keys

USUAL = {
    "seed": 0,
    "optim": {"lr": 1e-3},
    "data": {"name": "nifti", "root": None, "planes": "axial"},
    "schedule": {"name": "one_cycle"},
    "deploy": {"passes": 5, "options": {"int8_static": {"images": None}}},
}


def changed(**groups):
    """The usual configuration with some values added."""
    return {
        name: USUAL.get(name, {}) | groups[name]
        if isinstance(groups.get(name), dict)
        else groups.get(name, USUAL.get(name))
        for name in {**USUAL, **groups}
    }


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (
            {"optim": {"learning_rate": 0.1}},
            r"optim\.learning_rate\. The nearest .* optim\.lr",
        ),
        ({"optim": {"weights": {"decay": 1}}}, r"reads optim\.weights"),
        ({"optim": {"empty": {}}}, r"reads optim\.empty"),
        ({"data": {"lr": 0.1}}, r"reads data\.lr\. The nearest name is optim\.lr"),
        ({"lr": 0.1}, r"reads lr\. The nearest name is optim\.lr"),
        ({"sed": 1}, r"reads sed\. The nearest name is seed"),
        (
            {"deploy": {"pass": 5}},
            r"deploy\.pass\. .* deploy\.passes\. deploy has: passes",
        ),
        ({"optim": 3}, r"optim\.lr was removed|optim was removed"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(groups: dict, told: str):
    with pytest.raises(InputError, match=told):
        check_keys(changed(**groups), USUAL)


def test_what_was_taken_away_is_missed():
    config = {name: value for name, value in USUAL.items() if name != "optim"}
    with pytest.raises(InputError, match=r"optim was removed or replaced\. .*~optim"):
        check_keys(config, USUAL)


def test_what_readers_and_constructors_take_may_be_added():
    check_keys(
        changed(
            data={"patient_pattern": "(P.)"},
            schedule={"pct_start": 0.2},
            deploy={"options": {"int8_static": {"images": 50}}},
        ),
        USUAL,
    )
