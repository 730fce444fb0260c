"""Arrays in, arrays out."""

import numpy as np
import pytest

from brainseg.errors import InputError
from brainseg.predict.predictor import load
from brainseg.predict.segment import segment


@pytest.fixture
def predictor(run):
    return load(run.path)


def test_a_run_gives_its_fp32_network_and_others_by_mode(run, predictor):
    assert predictor.session.path == run.onnx("fp32")
    assert load(str(run.path), "int8_dynamic").session.path == run.onnx("int8_dynamic")
    assert load(run.onnx("int8_dynamic")).session.path == run.onnx("int8_dynamic")


def test_integers_and_floats_mean_the_same(predictor):
    image = np.random.default_rng(0).integers(0, 256, (45, 70), np.uint8)
    found = predictor.predict(image)
    assert found.dtype == np.float32
    assert found.shape == (45, 70)
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_array_equal(found, segment(predictor.session, image[None])[0])
    for same in (image.astype(np.int64), image / 255, (image / 255).astype(np.float32)):
        np.testing.assert_array_equal(predictor.predict(same), found)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 8), np.uint8),
        np.full((8, 8), 256),
        np.full((8, 8), 1.1),
        np.full((8, 8), np.nan),
        np.ones((8, 8), bool),
    ],
)
def test_other_images_are_refused(image, predictor):
    with pytest.raises(InputError, match="Expected H×W"):
        predictor.predict(image)


@pytest.mark.parametrize(
    ("path", "mode", "message"),
    [
        ("missing.onnx", "fp32", "does not exist"),
        ("", "fp16", "does not exist"),
        ("elsewhere", "fp32", "does not exist"),
        ("", "none", "Unknown mode none"),
    ],
)
def test_what_is_not_there_is_refused(path, mode, message, run):
    with pytest.raises(InputError, match=message):
        load(run.path / path, mode)


def test_a_file_of_another_checkpoint_is_refused(run, change_graph):
    change_graph(run.onnx("fp32"))
    with pytest.raises(InputError, match="was made from another checkpoint"):
        load(run.path, "int8_dynamic")
