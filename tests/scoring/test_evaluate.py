"""A run or a file on another data set: the same files, and nothing that training knows."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from brainseg.data.external import load_external
from brainseg.data.parts import read_test, to_input
from brainseg.errors import InputError
from brainseg.evaluation.cases import summarize
from brainseg.experiment import find_evaluations, find_runs
from brainseg.files import (
    read_csv,
    read_json,
    write_csv,
    write_json,
    write_npz,
    write_text,
)
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Unavailable
from brainseg.scoring import evaluate as subject
from brainseg.scoring.evaluate import evaluate, evaluate_all
from brainseg.scoring.models import find_models


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6), dtype=np.uint8)
    return Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC)


def write_set(root, pictures):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    mask = np.zeros((48, 48), np.uint8)
    mask[10:22, 12:30] = 255
    for name, image in pictures.items():
        image.save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


def find_model(path, modes=None):
    (model,) = find_models([path], modes)
    return model


@pytest.fixture
def trained(run, tmp_path):
    """A run that knows where its training's data are, seen from where it was typed."""
    write_set(tmp_path / "typed" / "here", {f"t{number}": picture(number) for number in range(3)})
    config = run.read_config()
    cache = str(tmp_path / "cache")
    config["data"] |= {"name": "folder", "root": "here", "cache_dir": cache, "negatives": None}
    write_text(run.config, yaml.safe_dump(config | {"split": {"name": "random", "seed": 0}}))
    write_json(run.environment, {"folder": str(tmp_path / "typed")})
    rows = [
        {"id": f"t{number}", "class": "tumor", "patient": "", "split": part}
        for number, part in enumerate(("train", "val", "test"))
    ]
    write_csv(run.split, rows, list(rows[0]))
    return run


@pytest.fixture
def other(tmp_path):
    """Two new images, and one that the run was trained on, mirrored."""
    pictures = {"a": picture(10), "b": picture(11), "known": ImageOps.mirror(picture(0))}
    return write_set(tmp_path / "other", pictures)


def test_the_files_are_those_of_a_run(trained, other, caplog):
    with caplog.at_level(logging.INFO, logger="brainseg"):
        found = evaluate(find_model(trained.path), other, progress=False)
    assert found.path == trained.path / "evaluation" / "other"
    test = read_test(found)
    assert test["ids"].tolist() == ["a", "b"]
    for mode in ("checkpoint", "fp32", "int8_dynamic"):
        cases = found.read(found.cases(mode))
        assert [case["id"] for case in cases] == ["a", "b"]
        metrics = read_json(found.metrics_of(mode))
        assert metrics.items() >= summarize(cases).items()
        assert found.predictions(mode).exists()
        assert found.appropriateness(mode).exists()
    session = open_session(trained.onnx("fp32"))
    alone = np.concatenate([session.run(image[None])[:, 0] for image in to_input(test["images"])])
    with np.load(found.predictions("fp32")) as stored:
        np.testing.assert_allclose(stored["probabilities"] / 255, alone, atol=0.51 / 255)
    parts = {row["id"]: row["split"] for row in read_csv(found.split)}
    assert parts == {"a": "test", "b": "test", "known": "left_out"}
    (leak,) = read_csv(found.leaks)
    assert (leak["id"], leak["other"], leak["transform"]) == ("known", "t0", "flip_left_right")
    facts = read_json(found.evaluation)
    assert facts["left_out"] == {"image": 1}
    assert facts["unchecked"] is None
    assert facts["modes"] == ["checkpoint", "fp32", "int8_dynamic"]
    assert facts["status"] == "finished"
    assert list(facts["networks"]) == facts["modes"]
    assert facts["data"] | {"root": "", "folder": ""} == {
        "name": "other", "root": "", "folder": "", "synthetic": False, "n": 2, "clusters": 2,
        "of_own_test": 0, "classes": {"tumor": 2}, "patients": 0, "unmasked": 0,
    }  # fmt: skip
    assert read_json(found.data)["images"] == {"test": {"tumor": 2}, "left_out": {"tumor": 1}}
    assert found.read_config()["data"]["root"] == str(other)
    assert "1 images are left out: 1 for a known image" in caplog.text
    assert "own test images" not in caplog.text


def write_own_test(run, *pictures):
    """Give a run other test images."""
    with np.load(run.test) as arrays:
        test = {name: values[: len(pictures)] for name, values in arrays.items()}
    size = test["images"].shape[1:]
    shrunk = [picture.resize(size, Image.Resampling.BOX) for picture in pictures]
    write_npz(run.test, **test | {"images": np.stack(shrunk)})


@pytest.mark.parametrize("gone", [False, True])
def test_copies_of_its_own_test_images_are_told(trained, other, tmp_path, caplog, gone):
    """Also where the training's data are gone: the run carries its test images."""
    write_own_test(trained, picture(10), picture(2))
    ImageOps.flip(picture(10)).save(other / "images" / "c.png")
    shutil.copy(other / "masks" / "a.png", other / "masks" / "c.png")
    if gone:
        shutil.rmtree(tmp_path / "typed")
    found = evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    data = read_json(found.evaluation)["data"]
    assert (data["n"], data["clusters"]) == ((4, 3) if gone else (3, 2))
    assert data["of_own_test"] == 2
    told = f"2 of {data['n']} images are (copies of) the run's own test images"
    assert told in caplog.text
    parts = {row["id"]: row["split"] for row in read_csv(found.split)}
    assert parts["a"] == parts["c"] == "test"  # kept


def test_phantoms_are_known_to_be_synthetic(trained, other):
    write_json(other / "phantom.json", {})
    found = evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    assert read_json(found.evaluation)["data"]["synthetic"]


def test_scores_of_a_network_that_is_gone_are_not_found(trained, other, change_graph):
    evaluate(find_model(trained.path), other, progress=False)
    everything = ("checkpoint", "fp32", "int8_dynamic")

    def modes():
        return [found.modes for found in find_evaluations(trained)]

    assert modes() == [everything]
    for mode in everything:
        trained.network(mode).touch()
    assert modes() == [everything]
    change_graph(trained.onnx("int8_dynamic"))
    trained.note_made("int8_dynamic")
    assert modes() == [everything[:2]]
    trained.onnx("int8_dynamic").unlink()  # nothing says that it was another
    assert modes() == [everything]
    change(trained.best)
    assert modes() == [("int8_dynamic",)]  # the export is of the checkpoint before
    (found,) = find_evaluations(trained)
    assert found.float_mode() is None


def test_a_quantized_network_of_another_export_is_not_found(trained, other, change_graph):
    evaluate(find_model(trained.path, ["int8_dynamic"]), other, progress=False)
    change_graph(trained.onnx("fp32"))
    assert find_evaluations(trained) == []


def test_an_evaluation_is_no_run(trained, other):
    evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    assert find_runs(trained.path.parent) == [trained]


def test_modes_can_be_chosen_and_the_place_too(trained, other, tmp_path):
    model = find_model(trained.path, ["int8_dynamic"])
    found = evaluate(model, other, out=tmp_path / "there", progress=False)
    assert found.path == tmp_path / "there"
    assert read_json(found.evaluation)["modes"] == ["int8_dynamic"]
    assert not found.metrics.exists()


def test_files_run_on_the_device_that_was_asked_for(trained, other, monkeypatch):
    def open_file(path, device):
        opened.append((path.name, device))
        return open_session(path)

    opened: list[tuple[str, str]] = []
    monkeypatch.setattr(subject, "open_session", open_file)
    monkeypatch.setattr(subject, "require_device", lambda device: None)
    model = find_model(trained.path, ["fp32"])
    found = evaluate(model, other, device="cuda", progress=False)
    assert opened == [("model.fp32.onnx", "cuda")]
    assert read_json(found.evaluation)["devices"] == {"fp32": "cuda"}


def test_a_device_that_is_missing_is_noticed_before_any_work(trained, other, monkeypatch):
    monkeypatch.setattr("brainseg.runtime.cuda.ort.get_available_providers", lambda: [])
    with pytest.raises(Unavailable, match="install onnxruntime-gpu"):
        evaluate(find_model(trained.path), other, device="cuda", progress=False)
    assert not trained.evaluations.exists()


def test_a_narrower_evaluation_keeps_what_a_wider_one_found(trained, other, caplog):
    with caplog.at_level(logging.INFO, logger="brainseg"):
        found = evaluate(find_model(trained.path), other, progress=False)
        before = read_json(found.evaluation)
        files = {file.name: file.stat().st_mtime_ns for file in found.path.glob("*.*.*")}
        files["metrics.json"] = found.metrics.stat().st_mtime_ns
        evaluate(find_model(trained.onnx("int8_dynamic")), other, progress=False)
    after = read_json(found.evaluation)
    assert after["modes"] == before["modes"] == ["checkpoint", "fp32", "int8_dynamic"]
    assert after["networks"] == before["networks"]
    new = {name for name, time in files.items() if (found.path / name).stat().st_mtime_ns > time}
    names = ("cases", "predictions", "metrics", "appropriateness")
    suffixes = ("csv", "npz", "json", "csv")
    made = zip(names, suffixes, strict=True)
    assert new == {f"{name}.int8_dynamic.{suffix}" for name, suffix in made} | {
        "appropriateness.truth.csv"
    }
    assert "are removed" not in caplog.text


def change(file):
    """Make it another network, though one that cannot be read."""
    file.write_bytes(file.read_bytes() + b"changed")


def test_scores_of_a_network_that_changed_are_removed(trained, other, change_graph, caplog):
    found = evaluate(find_model(trained.path), other, progress=False)
    for file in (trained.onnx("fp32"), trained.onnx("int8_dynamic")):
        file.touch()  # the same network
    change_graph(trained.onnx("int8_dynamic"))
    trained.note_made("int8_dynamic")
    with caplog.at_level(logging.INFO, logger="brainseg"):
        evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    assert read_json(found.evaluation)["modes"] == ["checkpoint", "fp32"]
    assert found.metrics.exists()
    assert not found.cases("int8_dynamic").exists()
    assert "The scores of int8_dynamic in" in caplog.text
    trained.onnx("fp32").unlink()  # nothing says that it is the same
    evaluate(find_model(trained.path, ["checkpoint"]), other, progress=False)
    assert read_json(found.evaluation)["modes"] == ["checkpoint"]


def test_scores_of_another_network_are_removed(trained, other, two_runs, tmp_path):
    evaluate(find_model(trained.path, ["fp32"]), other, out=tmp_path / "there", progress=False)
    twin = find_model(two_runs[1].path, ["int8_dynamic"])
    two_runs[1].onnx("fp32").unlink()
    found = evaluate(twin, other, out=tmp_path / "there", progress=False)
    assert read_json(found.evaluation)["modes"] == ["int8_dynamic"]
    assert not found.cases("fp32").exists()


def test_scores_under_other_labels_are_removed(trained, other):
    evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    rows = [{"id": id_, "class": "glioma", "patient": f"of-{id_}"} for id_ in ("a", "b", "known")]
    write_csv(other / "labels.csv", rows, list(rows[0]))
    found = evaluate(find_model(trained.path, ["int8_dynamic"]), other, progress=False)
    assert read_json(found.evaluation)["modes"] == ["int8_dynamic"]


def test_an_earlier_evaluation_leaves_nothing_behind(trained, other):
    found = evaluate(find_model(trained.path), other, progress=False)
    (other / "images" / "b.png").unlink()
    (other / "masks" / "b.png").unlink()
    again = evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    assert again.path == found.path
    assert [case["id"] for case in again.read(again.cases("fp32"))] == ["a"]
    assert [file.name for file in again.path.glob("cases.*")] == ["cases.fp32.csv"]
    assert not again.metrics.exists()
    assert {file.name for file in again.path.glob("predictions.*")} == {"predictions.fp32.npz"}


def test_a_data_set_is_called_as_it_is_typed(trained, other, tmp_path, monkeypatch):
    link = tmp_path / "clinic"
    link.symlink_to(other)
    found = evaluate(find_model(trained.path, ["fp32"]), link, progress=False)
    assert found.path == trained.evaluations / "clinic"
    data = read_json(found.evaluation)["data"]
    assert (data["name"], data["folder"]) == ("clinic", str(other))
    monkeypatch.chdir(other / "images")
    found = evaluate(find_model(trained.path, ["fp32"]), Path(".."), progress=False)
    assert found.path == trained.evaluations / "other"


def test_several_runs_look_at_the_data_once(two_runs, trained, other, monkeypatch):
    for name in ("config", "environment", "split"):
        shutil.copy(getattr(trained, name), getattr(two_runs[1], name))
    loads = []

    def load(*arguments, **options):
        loads.append(arguments)
        return load_external(*arguments, **options)

    monkeypatch.setattr("brainseg.scoring.evaluate.load_external", load)
    models = find_models([run.path for run in two_runs], ["fp32"])
    told: list[Run] = []
    evaluate_all(models, other, told.append, progress=False)
    assert len(loads) == 1
    assert [found.path for found in told] == [run.evaluations / "other" for run in two_runs]
    assert [read_json(found.evaluation)["left_out"] for found in told] == [{"image": 1}] * 2
    rows = [row | {"split": "test"} for row in read_csv(trained.split) if row["id"] == "t0"]
    write_csv(trained.split, [*rows, *read_csv(trained.split)[1:]], list(rows[0]))
    evaluate_all(models, other, told.append, progress=False)
    assert len(loads) == 3  # they do not know the same


def test_a_model_that_fails_does_not_stop_the_others(two_runs, trained, other, tmp_path):
    models = find_models([run.path for run in two_runs], ["fp32"])
    two_runs[0].onnx("fp32").write_bytes(b"damaged")
    told: list[Run] = []
    with pytest.raises(InputError, match=rf"^{two_runs[0].path}: .*model\.fp32\.onnx"):
        evaluate_all(models, other, told.append, progress=False)
    assert [found.path for found in told] == [two_runs[1].evaluations / "other"]
    both = f"{two_runs[0].path}, {two_runs[1].path}: "
    with pytest.raises(InputError, match=rf"^{both}The data folder .*/gone does not exist\.$"):
        evaluate_all(models, tmp_path / "gone", told.append, progress=False)


def test_files_of_one_run_are_evaluated_together(trained, other):
    files = [trained.onnx("fp32"), trained.onnx("int8_dynamic")]
    (model,) = find_models(files)
    found = evaluate(model, other, progress=False)
    assert read_json(found.evaluation)["modes"] == ["fp32", "int8_dynamic"]
    assert all(found.cases(mode).exists() for mode in ("fp32", "int8_dynamic"))
    with pytest.raises(InputError, match="an ONNX file has its own"):
        find_models(files, ["fp32"])


def test_another_data_set_of_the_same_name_takes_no_place(trained, other, tmp_path):
    found = evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    before = found.predictions("fp32").read_bytes()
    twin = write_set(tmp_path / "elsewhere" / "other", {"z": picture(50)})
    with pytest.raises(InputError, match=r"holds an evaluation of other data, .*--out"):
        evaluate(find_model(trained.path, ["fp32"]), twin, progress=False)
    assert found.predictions("fp32").read_bytes() == before


def test_no_other_folder_is_written_into(trained, other, tmp_path):
    before = trained.test.read_bytes()
    write_text(tmp_path / "mine" / "notes.txt", "mine")
    for place in (trained.path, tmp_path / "mine"):
        with pytest.raises(InputError, match="is not empty and holds no evaluation"):
            evaluate(find_model(trained.path, ["fp32"]), other, out=place, progress=False)
    assert trained.test.read_bytes() == before


def test_what_was_cut_off_is_done_again(trained, other, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("brainseg.scoring.evaluate.open_session", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate(find_model(trained.path), other, progress=False)
    place = Run(trained.evaluations / "other")
    assert read_json(place.evaluation)["status"] == "running"
    assert place.metrics.exists()
    evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    facts = read_json(place.evaluation)
    assert (facts["status"], facts["modes"]) == ("finished", ["checkpoint", "fp32"])
    assert all(place.metrics_of(mode).exists() for mode in facts["modes"])


def test_an_evaluation_that_stops_before_its_images_is_not_finished(trained, other, monkeypatch):
    found = evaluate(find_model(trained.path), other, progress=False)
    before = {file: file.read_bytes() for file in found.path.iterdir()}
    for step in ("_describe", "_write_data"):
        with monkeypatch.context() as patch:
            patch.setattr(f"brainseg.scoring.evaluate.{step}", lambda *given: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
        if step == "_describe":
            assert {file: file.read_bytes() for file in found.path.iterdir()} == before
    assert read_json(found.evaluation)["status"] == "running"
    assert find_evaluations(trained) == []


def test_an_earlier_evaluation_is_marked_before_it_is_cleared(trained, other, monkeypatch):
    found = evaluate(find_model(trained.path, ["fp32"]), other, progress=False)
    change(trained.onnx("fp32"))

    def stop(file, missing_ok=False):
        if file.name.startswith("cases"):
            raise KeyboardInterrupt
        unlink(file, missing_ok)

    unlink = Path.unlink
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate(find_model(trained.path, ["checkpoint"]), other, progress=False)
    facts = read_json(found.evaluation)
    assert (facts["status"], facts["modes"]) == ("running", ["fp32"])
    evaluate(find_model(trained.path, ["checkpoint"]), other, progress=False)
    assert read_json(found.evaluation)["modes"] == ["checkpoint"]  # that of the old network went


def test_files_of_another_network_are_not_evaluated(trained, change_graph, caplog):
    change_graph(trained.onnx("fp32"))
    trained.note_made("fp32")
    assert find_model(trained.path).modes == ["checkpoint", "fp32"]
    assert "model.int8_dynamic.onnx was made from another checkpoint or export" in caplog.text
    for path, modes in ((trained.path, ["int8_dynamic"]), (trained.onnx("int8_dynamic"), None)):
        with pytest.raises(InputError, match=r"Make it again: brainseg quantize .* --mode int8_dy"):
            find_model(path, modes)
    change(trained.best)
    with pytest.raises(InputError, match=r"fp32\.onnx was made from another .*: brainseg export"):
        find_model(trained.path, ["fp32"])


def test_a_file_in_a_run_knows_its_training(trained, other):
    found = evaluate(find_model(trained.onnx("int8_dynamic")), other, progress=False)
    assert found.path == trained.path / "evaluation" / "other"
    assert read_json(found.evaluation)["modes"] == ["int8_dynamic"]
    assert read_json(found.evaluation)["left_out"] == {"image": 1}


def test_a_file_from_elsewhere_is_evaluated_with_a_warning(trained, other, tmp_path, caplog):
    file = tmp_path / "away" / "mine.onnx"
    file.parent.mkdir()
    file.write_bytes(trained.onnx("fp32").read_bytes())
    found = evaluate(find_model(file), other, progress=False)
    assert found.path == file.parent / "evaluation" / "mine-other"
    assert read_json(found.evaluation)["modes"] == ["fp32"]  # the file says it itself
    assert len(found.read(found.cases("fp32"))) == 3
    assert "Nobody can tell whether training knows" in caplog.text
    assert "belongs to no run" in read_json(found.evaluation)["unchecked"]
    assert read_json(found.evaluation)["data"]["of_own_test"] is None


def test_class_folders_are_predicted_and_counted(trained, tmp_path, caplog):
    root = tmp_path / "classes" / "Testing"
    for seed, name in enumerate(["glioma", "glioma", "meningioma", "notumor"]):
        (root / name).mkdir(parents=True, exist_ok=True)
        picture(30 + seed).save(root / name / f"{seed}.jpg")
    with caplog.at_level(logging.INFO, logger="brainseg"):
        found = evaluate(find_model(trained.path, ["fp32"]), root.parent, progress=False)
    metrics = read_json(found.metrics_of("fp32"))
    assert (metrics["n"], metrics["n_tumor"], metrics["dice"]) == (1, 0, None)
    assert {name: row["n"] for name, row in metrics["unmasked"].items()} == {
        "glioma": 2,
        "meningioma": 1,
    }
    assert "3 of 4 images show a tumour that nobody outlined" in caplog.text
    assert read_csv(found.appropriateness("truth")) == []


@pytest.mark.parametrize(
    ("path", "modes", "message"),
    [
        ("gone", None, "it is not a finished brainseg run"),
        ("gone.onnx", None, "gone.onnx does not exist"),
        ("none-seed0", ["int8_static"], "quantize .* --mode int8_static"),
        ("none-seed0", ["int4"], "Unknown mode int4. Choose from: checkpoint, fp32, fp16, int8_dy"),
    ],
)
def test_what_is_missing_is_named(run, path, modes, message):
    with pytest.raises(InputError, match=message):
        find_model(run.path.parent / path, modes)


def test_a_run_without_checkpoint_says_so(run):
    run.best.unlink()
    found = find_model(run.path)
    assert (found.checkpoint, set(found.files)) == (False, {"fp32", "int8_dynamic"})
    with pytest.raises(InputError, match=r"best\.ckpt is missing or damaged"):
        find_model(run.path, ["checkpoint"])
    assert find_model(run.path, ["fp32"]).size == 32


def test_a_broken_data_set_leaves_nothing(trained, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        evaluate(find_model(trained.path), tmp_path / "gone", progress=False)
    assert not trained.evaluations.exists()
