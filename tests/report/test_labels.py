import pytest

from brainseg.report.labels import LONGEST, label_runs

BASE = {"data.name": "phantom", "optim.lr": 0.001, "loss.name": "bce", "trainer.max_epochs": 5}
MANY = BASE | {
    **{"data.name": "figshare", "optim.lr": 0.01, "loss.name": "bce_dice"},
    **{"trainer.max_epochs": 50, "data.image_size": 224, "schedule.name": "plateau"},
}


def test_runs_that_differ_in_nothing_bear_their_names():
    assert label_runs(["ag", "se"], [BASE, BASE | {"seed": 3}]) == ["ag", "se"]


def test_all_that_differs_is_named_where_it_is_short():
    changed = BASE | {"optim.lr": 0.01, "loss.name": "bce_dice"}

    assert label_runs(["ag", "ag"], [BASE, changed]) == [
        "ag loss bce, lr 0.001",
        "ag loss bce_dice, lr 0.01",
    ]


def test_of_many_settings_those_are_named_that_tell_the_runs_apart():
    other = MANY | {"optim.lr": 0.1}

    assert label_runs(["ag"] * 3, [BASE, MANY, other]) == [
        "ag data phantom, lr 0.001, …",
        "ag data figshare, lr 0.01, …",
        "ag data figshare, lr 0.1, …",
    ]


def test_settings_of_another_kind_of_network_are_its_own():
    own = BASE | {"model.name": "own", "model.args.width": 32}

    assert label_runs(["ag", "own_net"], [BASE, own]) == ["ag", "own_net"]


@pytest.mark.parametrize("value", ["x" * 200, "a long text " * 20, [1, 2, 3] * 30])
def test_a_long_value_is_cut(value):
    labels = label_runs(["ag", "ag"], [BASE, BASE | {"data.patient_pattern": value, "optim.lr": 1}])

    assert all(len(label) <= len("ag ") + LONGEST for label in labels)
