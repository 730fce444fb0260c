"""Files of a trained run that are damaged or gone: made again, or refused by name."""

import logging
import shutil
from pathlib import Path

import pytest
import yaml

from brainseg.errors import InputError
from brainseg.files import read_csv, write_csv
from brainseg.run import Run
from brainseg.training.job import run_job

TRAINED_AGAIN = "brainseg.training.job.fit"


@pytest.fixture(autouse=True)
def without_deploying(monkeypatch):
    monkeypatch.setattr("brainseg.training.job.prepare_modes", lambda *_: [])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole: Run, configure, tmp_path: Path, monkeypatch) -> Run:
    """A trained run that may not be trained again."""
    run_job(configure(), whole)  # the second time there is nothing left to do
    monkeypatch.setattr(TRAINED_AGAIN, lambda *_, **__: pytest.fail("trained again"))
    return Run(shutil.copytree(whole.path, tmp_path / "run"))


def contents(run: Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"{")])
def test_a_lost_state_is_told_by_the_other_files(run: Run, configure, damage):
    before = run.read_state()
    damage(run.state)
    run_job(configure(), run)
    after = run.read_state()
    assert (after["stage"], after["status"]) == ("done", "finished")
    assert after["identity"] == before["identity"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"{")])
def test_without_state_and_configuration_nothing_is_overwritten(run: Run, configure, damage):
    damage(run.state)
    damage(run.config)
    before = contents(run)
    for _ in range(2):  # the same command again
        with pytest.raises(
            InputError, match=r"state\.json and config\.yaml are damaged or missing"
        ):
            run_job(configure(), run)
        assert contents(run) == before | {".lock": b""}


def test_a_lost_state_of_another_run_is_refused(run: Run, configure):
    run.state.unlink()
    with pytest.raises(InputError, match=r"optim\.lr: 0\.001 there, 0\.1 now"):
        run_job(configure(optim={"lr": 0.1}), run)


def test_a_first_epoch_is_not_taken_for_a_whole_training(run: Run, configure, monkeypatch):
    """It was killed after its first `best.ckpt` and before its first `last.ckpt`."""
    rows = read_csv(run.history)
    write_csv(run.history, rows[:1], list(rows[0]))
    run.state.write_bytes(b"")
    before = contents(run)
    for _ in range(2):
        with pytest.raises(InputError, match=r"history\.csv has 1 of 3 epochs"):
            run_job(configure(), run)
    assert contents(run).items() >= before.items()
    monkeypatch.setattr(TRAINED_AGAIN, lambda *_: None)
    run.state.unlink()
    run_job(configure(force=True), run)
    assert not run.best.exists()


def test_force_starts_over_where_the_state_is_gone(run: Run, configure, monkeypatch):
    monkeypatch.setattr(TRAINED_AGAIN, lambda *_: None)
    run.state.unlink()
    run.config.unlink()
    run_job(configure(force=True), run)
    assert not run.best.exists()


@pytest.mark.parametrize("name", ["split.csv", "leaks.csv", "data.json", "val.npz", "config.yaml"])
def test_a_lost_file_is_made_again_and_no_other_one(run: Run, configure, caplog, name: str):
    before = contents(run)
    others = {file: file.stat().st_ino for file in run.path.glob("*.*") if file.name != name}
    (run.path / name).unlink()
    with caplog.at_level(logging.INFO, "brainseg"):
        run_job(configure(), run)
    assert f"Made again: {name}." in caplog.text
    assert contents(run).keys() == before.keys()
    if name == "config.yaml":
        assert yaml.safe_load(run.config.read_text()) == yaml.safe_load(before[name])
    else:
        assert (run.path / name).read_bytes() == before[name]
    del others[run.state]
    assert {file: file.stat().st_ino for file in others} == others


def test_a_lost_file_that_would_not_fit_to_the_others_is_refused(run: Run, configure):
    """Today's code divides otherwise than that which made the run."""
    rows = read_csv(run.split)
    train = next(row for row in rows if row["split"] == "train")
    train["split"] = "test"
    write_csv(run.split, rows, list(rows[0]))
    run.update_state(files=run.hash_trained())
    run.leaks.unlink()
    before = contents(run)
    with pytest.raises(InputError, match=r"leaks\.csv in .*: split\.csv would be another one"):
        run_job(configure(), run)
    after = contents(run)
    assert {name for name in after if after[name] != before.get(name)} == {"state.json"}
