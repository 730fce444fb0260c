"""A damaged file of a run: named, passed over, and made again; a stranger's: refused."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from brainseg.arrays import check_room, read_npz
from brainseg.content.read import KINDS, kind_of, read_content
from brainseg.deploy.stages import prepare
from brainseg.errors import DamagedFile, InputError
from brainseg.files import read_json, write_csv, write_json
from brainseg.report.write import write_report
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.vocabulary import CHECKPOINT
from tests.conftest import copy_run

MODE = "int8_dynamic"
EPOCH = {"epoch": 0, "train_loss": 1.5, "val_loss": 1.2, "val_mean_iou": 0.5, "val_tumor_iou": None}
SESSION = {
    "started_at": "2026-01-01T00:00:00+00:00",
    **{"device": "cpu", "threads": [1], "passes": 5, "other_cpu_share": None, "control": None},
    "environment": {"python": "3.11"},
}


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "garbage": lambda content: b"\xff\xfe\x00PK\x03\x04",
    "another shape": lambda content: b"[1, 2]\n",
    "deep": lambda content: b"[" * 20_000,
    "flipped": flip,
}


def complete(run: Run) -> Run:
    """Add what training leaves to a run that has a network only."""
    test = run.read(run.test)
    config = run.read_config() | {"seed": int(run.name[-1])}
    config["data"]["name"] = "phantom"
    run.config.write_text(yaml.safe_dump(config))
    case = {name: test[name][0] for name in ("ids", "classes", "patients")}
    row = {"id": case["ids"], "class": case["classes"], "patient": case["patients"]}
    write_csv(run.split, [row | {"split": "test"}], ["id", "class", "patient", "split"])
    write_csv(run.leaks, [], ["id", "shared", "other"])
    write_csv(run.history, [EPOCH], list(EPOCH))
    facts = {"images": {"test": {"glioma": 6}}, "leaks": {}, "leaking_patients": 0}
    write_json(run.data, facts | {"shortcut_auc": None})
    write_json(run.environment, {"python": "3.11", "versions": {"torch": "2"}, "gpus": []})
    validated = {"threshold": 0.5, "mean_iou": 0.7, "tumor_iou": None}
    way = {"usual": validated, "best": validated, "ms": 1.5}
    write_json(run.validation("fp32"), {"network": "0", "n": 2, "tta": {"none": way}})
    counts = {"counts": [[1, 0, 0, 9]], "mean_iou": 1.0}
    lossy = counts | {"change": None, "interval": None, "flipped": 0.0}
    exact = dict.fromkeys(("val", "test"), counts | {"patients": ["a"]})
    rounded = [{"mapping": "symmetric", "bits": 8, "val": lossy, "test": lossy}]
    robustness = {"export": run.hash_network("fp32"), "exact": exact, "rounded": rounded}
    write_json(run.robustness, robustness)
    write_json(run.benchmarks, {"cpu-1": SESSION})
    run.update_state(stage="done", identity={"seed": 0}, files=run.hash_trained())
    return run


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory) -> Path:
    """An experiment of two runs that have every file."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    for name in ("none-seed0", "none-seed1"):
        complete(copy_run(prepared("none"), folder / name))
    return folder


@pytest.fixture
def experiment(whole: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of it that costs nothing; figures, which read the same files, are left out."""
    monkeypatch.setattr("brainseg.report.figures.gallery.draw_all", lambda *_: [])
    shutil.copytree(whole, tmp_path / "study", copy_function=os.link)
    return tmp_path / "study"


def damage(file: Path, content: bytes) -> None:
    file.unlink()  # it is a link
    file.write_bytes(content)


def names_of(run: Path) -> list[str]:
    return sorted(
        file.relative_to(run).as_posix()
        for file in run.rglob("*")
        if file.is_file() and kind_of(file)
    )


def test_every_kind_of_file_is_damaged_here(whole: Path):
    found = {kind_of(Path(name)) for name in names_of(whole / "none-seed0")}
    elsewhere = ("evaluation.json", "drawn.json", "ranges.json")
    assert found == {kind for pattern, kind in KINDS.items() if pattern not in elsewhere}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found_and_what_makes_the_file_again_is_told(experiment: Path, kind: str):
    run = Run(experiment / "none-seed0")
    for name in names_of(run.path):
        content = (run.path / name).read_bytes()
        damage(run.path / name, DAMAGES[kind](content))
        told = run.find_damage()
        # a flipped bit may leave JSON as good as before, or be in the hash of another file
        assert kind == "flipped" or told.keys() == {run.path / name}
        assert all(
            re.search(r" is damaged: .*(makes it again|Remove it)", t) for t in told.values()
        )
        damage(run.path / name, content)
    assert run.find_damage() == {}


def test_a_report_goes_on_without_what_is_damaged(experiment: Path):
    run = experiment / "none-seed0"
    for name in names_of(run):
        content = (run / name).read_bytes()
        damage(run / name, content[: len(content) // 2])
        page = write_report(experiment)
        rows = read_json(experiment / "report" / "table.json")["rows"]
        assert [row["mode"] for row in rows if row["run"] == "none-seed1"] == ["fp32", MODE]
        assert f"] none-seed0: {name} is damaged: " in "\n".join(page.tables[0].notes)
        damage(run / name, content)


def test_a_flipped_bit_is_noticed_in_all_but_what_changes_often(experiment: Path):
    run = experiment / "none-seed0"
    unknown = set()
    for name in names_of(run):
        content = (run / name).read_bytes()
        damage(run / name, content.replace(b"0", b"1", 1) if b"0" in content else content + b"\n")
        if not Run(run).find_damage():
            unknown.add(name)
        damage(run / name, content)
    made = {f"model.{mode}.json" for mode in ("fp32", MODE)}
    assert unknown <= {
        "config.yaml",
        "state.json",
        "scored.json",
        "deploy.json",
        "benchmarks.json",
        "validation.fp32.json",
        "robustness.json",
    } | made | {"model.json"}


@pytest.mark.parametrize(
    "name",
    [
        *("metrics.json", f"cases.{MODE}.csv", f"cases.val.{MODE}.csv", "cases.checkpoint.csv"),
        *(f"predictions.{MODE}.npz", "attention.npz", "appropriateness.truth.csv"),
        *(f"metrics.{MODE}.json", f"appropriateness.{MODE}.csv", f"model.{MODE}.json"),
        *("model.json", "scored.json", "deploy.json", f"model.{MODE}.onnx"),
    ],
)
def test_what_is_made_of_the_network_is_made_again(experiment: Path, name: str):
    run = Run(experiment / "none-seed0")
    before = (run.path / name).read_bytes()
    damage(run.path / name, flip(before) if name.endswith(".onnx") else before[: len(before) // 2])
    assert prepare(run, [MODE], progress=False)
    assert prepare(run, [MODE], progress=False) == []
    assert run.find_damage() == {}
    if name not in ("scored.json", "deploy.json"):
        assert (run.path / name).read_bytes() == before
    assert [row.mode for row in read_rows(run)] == ["fp32", MODE]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", "flipped"])
def test_without_its_checkpoint_a_run_serves_what_was_exported(
    experiment: Path, content, caplog, monkeypatch
):
    run = Run(experiment / "none-seed0")
    whole = run.best.read_bytes()
    run.best.unlink()
    if content is not None:
        run.best.write_bytes(flip(whole) if content == "flipped" else content)
    names = names_of(run.path)
    before = {name: (run.path / name).read_bytes() for name in names}
    assert run.is_trained()
    assert prepare(run, [MODE], progress=False) == []
    assert "best.ckpt is missing or damaged" in caplog.text
    assert {name: (run.path / name).read_bytes() for name in names_of(run.path)} == before
    run.predictions(MODE).unlink()
    assert prepare(run, [MODE], progress=False) == [f"scored {MODE}"]
    run.metrics.unlink()  # which only the checkpoint gives
    assert prepare(run, [MODE], progress=False) == []
    damage(run.onnx("fp32"), b"")
    with pytest.raises(
        InputError, match=r"best\.ckpt is missing or damaged, and so are the exported"
    ):
        prepare(run, [MODE], progress=False)


def test_a_changed_network_is_not_opened(experiment: Path):
    from brainseg.predict.predictor import load
    from brainseg.scoring.models import find_file

    run = Run(experiment / "none-seed0")
    file = run.onnx(MODE)
    damage(file, flip(file.read_bytes()))
    with pytest.raises(DamagedFile, match=rf"quantize .* --mode {MODE}` makes it again"):
        load(file)
    with pytest.raises(InputError, match="is damaged: it is not the file that was written"):
        find_file(run.path, MODE)
    assert run.is_current("fp32")


def test_a_file_without_record_is_opened_wherever_it_lies(whole: Path, tmp_path: Path):
    from brainseg.predict.predictor import load

    file = tmp_path / "model.fp32.onnx"
    shutil.copy(whole / "none-seed0" / file.name, file)
    assert load(file).predict(np.zeros((40, 30), np.uint8)).shape == (40, 30)


def test_weights_in_other_files_are_refused(whole: Path, tmp_path: Path):
    import onnx

    from brainseg.runtime.open import open_session

    model = onnx.load(whole / "none-seed0" / "model.fp32.onnx")
    model.doc_string = "location"  # the word alone is no reason
    onnx.save(model, tmp_path / "one.onnx")
    assert open_session(tmp_path / "one.onnx").image_size
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="weights")
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(InputError, match="takes weights from other files"):
            open_session(tmp_path / "two.onnx", runtime=runtime)


def test_names_that_lead_out_of_the_run_are_refused(experiment: Path):
    run = Run(experiment / "none-seed0")
    scored = run.read(run.scored)
    scored["fp32"]["place"] = "../../elsewhere"
    damage(run.scored, b"")
    write_json(run.scored, scored)
    with pytest.raises(DamagedFile, match=r"fp32.*pattern"):
        run.read(run.scored)
    row = read_json(run.deploy)[0]
    damage(run.deploy, b"")
    write_json(run.deploy, [row | {"mode": "../../secret"}])
    with pytest.raises(DamagedFile, match="mode"):
        read_rows(run)


def test_archives_of_strangers_run_nothing_and_fill_no_memory(experiment: Path, tmp_path: Path):
    run = Run(experiment / "none-seed0")
    evil = tmp_path / "touched"

    class Evil:
        def __reduce__(self):
            return Path.touch, (evil,)

    run.val.unlink()
    np.savez(run.val, ids=np.array([Evil()], dtype=object))
    with pytest.raises(DamagedFile, match="Python objects"):
        run.read(run.val)
    assert not evil.exists()
    header = np.lib.format.magic(1, 0) + b"\x76\x00"
    told = b"{'descr': '|u1', 'fortran_order': False, 'shape': (200000, 200000), }"
    import zipfile

    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("images.npy", header + told.ljust(117) + b"\n")
    with pytest.raises(ValueError, match="more than are there"):
        read_npz(tmp_path / "large.npz")
    with pytest.raises(ValueError, match="GiB of memory are free"):
        check_room(1 << 60, "it")


def test_a_configuration_runs_no_code_and_does_not_grow(experiment: Path):
    run = Run(experiment / "none-seed0")
    for text, told in {
        "a: !!python/object/apply:os.getcwd []": "could not determine a constructor",
        "a: &a [x]\nb: *a": "aliases",
        "[" * 5000: "config.yaml is damaged",
        "model: [1]": "model: Input should be a valid dictionary",
        yaml.safe_dump({"trainer": {"max_epochs": 2}}): "is missing",
    }.items():
        damage(run.config, text.encode())
        with pytest.raises(DamagedFile, match=re.escape(told)):
            run.read(run.config)


def test_a_missing_file_is_told_with_what_makes_it(tmp_path: Path):
    run = Run(tmp_path / "study" / "none-seed0")
    with pytest.raises(InputError, match=r"s\.json is missing\. `brainseg export .*none-seed0`"):
        run.read(run.metrics)
    place = run.evaluations / "other"
    with pytest.raises(InputError, match=r"`brainseg evaluate .*none-seed0 --data"):
        read_content(Run(place).metrics_of(CHECKPOINT))
