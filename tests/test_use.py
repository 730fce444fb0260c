"""`brainseg predict` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from brainseg.cli import app
from brainseg.errors import InputError


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (45, 70), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def brainseg(*words: object) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.stdout, done.exception


def test_a_summary_names_the_table_and_the_disclaimer(run, image, tmp_path):
    told, error = brainseg("predict", run.path, image, "--out", tmp_path / "out")
    assert error is None
    assert f"1 of 1 segmented (1 image): {tmp_path}/out/predictions.csv" in told
    assert "For research use only" in told


def test_json_is_the_manifest_and_nothing_else(run, image, tmp_path):
    told, _ = brainseg("predict", run.path, image, "--out", tmp_path / "out", "--json")
    found = json.loads(told)
    assert found == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert found["network"]["file"] == "model.fp32.onnx"
    assert len(found["network"]["sha256"]) == 64
    assert found["settings"]["threshold"] == 0.5
    assert found["rows"][0]["input"] == str(image)
    assert found["versions"]["numpy"] == np.__version__


def test_what_failed_is_told_and_the_rest_is_done(run, image, tmp_path):
    (tmp_path / "b.png").write_bytes(b"nothing")
    told, error = brainseg(
        "predict", run.path, image, tmp_path / "b.png", "--out", tmp_path / "out"
    )
    assert isinstance(error, InputError)
    assert "b.png cannot be read as an image" in str(error)
    assert "1 of 2 segmented (2 images)" in told


def test_the_best_threshold_comes_from_validation(run, image, tmp_path, caplog):
    caplog.set_level("INFO")
    words = ("predict", run.path, image, "--out", tmp_path / "out", "--threshold", "best")
    _, error = brainseg(*words, "--tta", "flips")
    assert error is None
    known = run.read(run.validation("fp32"))["tta"]
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]
    assert settings["threshold"] == known["flips"]["best"]["threshold"]
    assert "validation slices, tta none: mean IoU" in caplog.text
    assert "validation slices, tta flips: mean IoU" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--threshold", "high"), "a threshold between 0 and 1, or best; found high"),
        (("--threshold", "1.5"), "a threshold between 0 and 1; found 1.5"),
        (("--tta", "all"), "Unknown test-time augmentation all"),
        (("--plane", "oblique"), "Unknown plane oblique"),
    ],
)
def test_options_that_cannot_be_meant(run, image, tmp_path, words, message):
    _, error = brainseg("predict", run.path, image, "--out", tmp_path / "out", *words)
    assert message in str(error)
    assert not (tmp_path / "out").exists()


def test_best_needs_a_run(run, image, tmp_path):
    words = (image, "--out", tmp_path / "out", "--threshold", "best")
    _, error = brainseg("predict", run.onnx("fp32"), *words)
    assert "model.fp32.onnx does not say it: give its run, or a number" in str(error)
