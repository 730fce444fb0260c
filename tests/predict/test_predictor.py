"""Arrays in, arrays out."""

import numpy as np
import pytest

from brainseg.errors import InputError
from brainseg.predict.predict import segment
from brainseg.predict.predictor import load


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
    np.testing.assert_array_equal(found, segment(predictor.session, image))
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
    ],
)
def test_other_images_are_refused(image, predictor):
    with pytest.raises(InputError, match="Expected H×W"):
        predictor.predict(image)


@pytest.mark.parametrize(
    ("path", "mode"), [("missing.onnx", "fp32"), ("", "fp16"), ("", "none"), ("elsewhere", "fp32")]
)
def test_what_is_not_there_is_refused(path, mode, run):
    with pytest.raises(InputError, match="does not exist"):
        load(run.path / path, mode)
