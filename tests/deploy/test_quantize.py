import contextlib
import logging
import shutil

import numpy as np
import onnx
import pytest

from brainseg.data.parts import read_test, read_val, to_input
from brainseg.deploy.options import check_chosen, choose_options, is_made_with
from brainseg.deploy.quantize import QUANTIZERS, quantize
from brainseg.deploy.static import convolution_weights
from brainseg.errors import InputError
from brainseg.files import hash_file, read_json
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.terminal import quiet
from brainseg.vocabulary import MODES, all_modes

pairs = pytest.mark.parametrize(
    ("attention", "mode"),
    [(a, mode) for a in ("none", "ag", "se", "cbam") for mode in all_modes()],
)


SIZES = {"fp16": 0.6, "int8_dynamic": 0.6, "int8_weights": 0.5, "int8_static": 0.7}
"""Share of the tiny network's fp32 file, which is mostly names of nodes."""


@pytest.fixture(scope="session")
def quantized(prepared, tmp_path_factory):
    """Attention and mode → a run that was quantized so; not to be changed."""
    runs = {}

    def get(attention, mode):
        if attention not in runs:
            folder = tmp_path_factory.mktemp("quantized") / attention
            runs[attention] = Run(shutil.copytree(prepared(attention).path, folder))
        if not runs[attention].is_current(mode):
            quantize(runs[attention], mode)
        return runs[attention]

    return get


@pairs
def test_the_quantized_network_is_close_to_the_float_one(quantized, attention, mode):
    run = quantized(attention, mode)
    images = to_input(read_test(run)["images"])
    quantized, exact = (open_session(run.onnx(name)).run(images) for name in (mode, "fp32"))
    assert 0 < np.abs(quantized - exact).mean() < 0.03


@pairs
def test_the_file_is_smaller_and_names_its_mode(quantized, attention, mode):
    run = quantized(attention, mode)
    assert run.onnx(mode).stat().st_size < SIZES[mode] * run.onnx("fp32").stat().st_size
    onnx.checker.check_model(onnx.load(run.onnx(mode)))
    metadata = open_session(run.onnx(mode)).metadata
    assert metadata["mode"] == mode
    assert metadata["attention"] == attention
    assert "parity" not in metadata


def test_dynamic_quantizes_every_convolution_to_unsigned_weights(prepared):
    run = prepared("none")
    before, after = (onnx.load(run.onnx(mode)) for mode in ("fp32", "int8_dynamic"))
    counts = [
        sum(node.op_type == kind for node in model.graph.node)
        for model, kind in ((before, "Conv"), (after, "ConvInteger"))
    ]
    assert counts[0] == counts[1] > 0
    assert not any(node.op_type == "Conv" for node in after.graph.node)
    kernels = {node.input[1] for node in after.graph.node if node.op_type == "ConvInteger"}
    types = {each.data_type for each in after.graph.initializer if each.name in kernels}
    assert types == {onnx.TensorProto.UINT8}


@pairs
def test_what_was_chosen_is_kept_beside_the_file(quantized, attention, mode):
    facts = read_json(quantized(attention, mode).made(mode))
    assert (facts["mode"], facts["options"]) == (mode, defaults(mode))
    run = quantized(attention, mode)
    assert facts["network"] == hash_file(run.onnx(mode))
    assert facts["export"] == hash_file(run.onnx("fp32"))
    assert facts["checkpoint"] == hash_file(run.best)
    assert ("calibration" in facts) == (mode == "int8_static")


def test_static_keeps_its_calibration_images(quantized):
    run = quantized("none", "int8_static")
    facts = read_json(run.made("int8_static"))
    assert sorted(facts["calibration"]["ids"]) == sorted(read_val(run)["ids"])
    assert (facts["calibration"]["part"], facts["float_layers"]) == ("val", [])


def defaults(mode):
    return {name: option.default for name, option in MODES[mode].options.items()}


def test_other_options_make_another_file(run, change_graph):
    chosen = {"int8_weights": {"per_channel": True}}
    assert not is_made_with(run, "int8_weights", {})
    quantize(run, "int8_weights")
    before = run.onnx("int8_weights").read_bytes()
    others = {"int8_weights": {"per_channel": False}, "int8_static": {"method": "entropy"}}
    assert is_made_with(run, "int8_weights", others)
    assert not is_made_with(run, "int8_weights", chosen)
    quantize(run, "int8_weights", chosen)
    assert is_made_with(run, "int8_weights", {})  # a repeated command leaves the choice alone
    assert run.onnx("int8_weights").read_bytes() != before
    change_graph(run.onnx("fp32"))
    assert not is_made_with(run, "int8_weights", {})


def test_what_is_not_given_stays_as_it_was_chosen(run, monkeypatch):
    made = []

    def note(model, run, options):
        made.append(options)
        return model, {}

    def static(**options):
        return {"int8_static": options}

    monkeypatch.setitem(QUANTIZERS, "int8_static", note)
    quantize(run, "int8_static", static(method="percentile", max_drop=0.5))
    quantize(run, "int8_static", static(images=7, max_drop=None))
    quantize(run, "int8_static")
    quantize(run, "int8_static", static(max_drop="none"))
    changed = defaults("int8_static") | {"method": "percentile", "max_drop": 0.5}
    assert made == [changed, *[changed | {"images": 7}] * 2, made[-1]]
    assert made[-1] == changed | {"images": 7, "max_drop": None}
    assert run.read_made("int8_static")["options"] == made[-1]
    assert is_made_with(run, "int8_static", static(max_drop="none"))


def test_a_budget_is_searched_and_told(run):
    quantize(run, "int8_static", {"int8_static": {"max_drop": 1.0}})
    facts = run.read_made("int8_static")
    assert facts["options"]["max_drop"] == 1.0
    assert facts["within"]
    assert facts["loss"] <= 1


def test_equalized_channels_and_mixed_bits_are_in_the_file(run, monkeypatch):
    def choose(model, exact, images):
        return {convolution_weights(exact)[0]: (2.0, 1.0)}

    monkeypatch.setattr("brainseg.deploy.saturation.choose_seven", choose)
    options = {"weight_bits": "mixed", "equalize": True}
    quantize(run, "int8_static", {"int8_static": options})
    assert len(run.read_made("int8_static")["seven_bits"]) == 1
    largest = [
        np.abs(onnx.numpy_helper.to_array(each)).max()
        for each in onnx.load(run.onnx("int8_static")).graph.initializer
        if each.name.endswith("weight_quantized")
    ]
    assert sorted(largest)[0] == 64 < sorted(largest)[1] == 127
    images = to_input(read_test(run)["images"])
    found, exact = (open_session(run.onnx(name)).run(images) for name in ("int8_static", "fp32"))
    assert 0 < np.abs(found - exact).mean() < 0.03


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"max_drop": "0.0004"}, 0.0004),
        ({"max_drop": 1}, 1.0),
        ({"max_drop": "none"}, None),
        ({"images": "20"}, 20),
        ({"method": "entropy"}, "entropy"),
        ({"weight_bits": 8}, "8"),
        ({"equalize": True}, True),
    ],
)
def test_options_are_read_as_they_are_typed(given, read):
    options = choose_options("int8_static", {"int8_static": given})
    assert options == defaults("int8_static") | dict.fromkeys(given, read)
    assert type(options[next(iter(given))]) is type(read)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "kl"}, "kl.*minmax, percentile, entropy"),
        ({"images": 0}, "a whole number of at least 1"),
        ({"images": 1.5}, "a whole number of at least 1"),
        ({"images": True}, "a whole number of at least 1"),
        ({"images": "inf"}, "a whole number of at least 1"),
        ({"seed": 2**32}, "a whole number of at least 0"),
        ({"max_drop": "inf"}, "a number of at least 0, or none"),
        ({"method": ["minmax"]}, "Choose from: minmax"),
        ([1], "Expected options"),
        ({"max_drop": -1}, "a number of at least 0, or none"),
        ({"max_drop": "little"}, "a number of at least 0, or none"),
        ({"weight_bits": 6}, "6. Choose from: auto, 7, 8, mixed"),
        ({"equalize": "yes"}, "true or false"),
        ({"speed": 1}, "speed.*method, equalize, weight_bits, images"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        check_chosen({"int8_static": given}, ["int8_static"])


def test_options_of_a_mode_that_is_not_made_are_refused():
    check_chosen({"int8_static": {"images": None}}, ["fp16"])
    with pytest.raises(InputError, match=r"images was given, but int8_static is not among .*fp16"):
        check_chosen({"int8_static": {"images": 7}}, ["fp16"])


@pytest.mark.parametrize("mode", ["fp16", "int8_dynamic", "int8_weights"])
def test_quantizing_prints_and_logs_nothing(run, capfd, caplog, mode):
    with caplog.at_level(logging.WARNING):
        quantize(run, mode)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.root.isEnabledFor(logging.WARNING)


def test_what_a_user_should_know_is_not_silenced(run, caplog, monkeypatch):
    scores = iter([0.9, 0.8, 0.8])  # of the float network, of 8 bits, and of one candidate
    monkeypatch.setattr("brainseg.deploy.budget.COUNTS", (1,))
    monkeypatch.setattr("brainseg.deploy.budget._mean_iou", lambda *_: next(scores))
    with caplog.at_level(logging.WARNING):
        quantize(run, "int8_static", {"int8_static": {"max_drop": 0}})
    assert [record.name for record in caplog.records] == [
        "brainseg.deploy.calibration",
        "brainseg.deploy.budget",
    ]


def test_quiet_ends_with_its_block(caplog):
    with contextlib.suppress(KeyError), quiet():
        logging.warning("hidden")
        raise KeyError
    logging.warning("shown")
    assert [record.message for record in caplog.records] == ["shown"]


def test_a_failure_leaves_nothing_behind(run, monkeypatch):
    def fail(model, run, options):
        raise RuntimeError("interrupted")

    run.onnx("int8_dynamic").unlink()
    before = sorted(run.path.iterdir())
    monkeypatch.setitem(QUANTIZERS, "int8_dynamic", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        quantize(run, "int8_dynamic")
    assert sorted(run.path.iterdir()) == before


def test_an_unknown_mode_is_refused_with_those_there_are(run):
    with pytest.raises(InputError, match=r"int4.*int8_dynamic"):
        quantize(run, "int4")


def test_the_export_comes_first(run):
    run.onnx("fp32").unlink()
    with pytest.raises(InputError, match="brainseg export"):
        quantize(run, "int8_dynamic")
