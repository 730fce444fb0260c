import contextlib
import logging

import numpy as np
import onnx
import pytest

from brainseg.deploy.quantize import MODES, check_modes, quantize
from brainseg.deploy.quiet import quiet
from brainseg.deploy.session import open_session
from brainseg.deploy.testset import read_test, to_input
from brainseg.errors import InputError

pairs = pytest.mark.parametrize(
    ("attention", "mode"), [(a, mode) for a in ("none", "ag", "se", "cbam") for mode in MODES]
)


@pairs
def test_the_quantized_network_is_close_to_the_float_one(prepared, attention, mode):
    run = prepared(attention)
    images = to_input(read_test(run)["images"])
    quantized, exact = (open_session(run.onnx(name)).run(images) for name in (mode, "fp32"))
    assert 0 < np.abs(quantized - exact).mean() < 0.03


@pairs
def test_the_file_is_smaller_and_names_its_mode(prepared, attention, mode):
    run = prepared(attention)
    assert run.onnx(mode).stat().st_size < 0.6 * run.onnx("fp32").stat().st_size
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


def test_quantizing_prints_and_logs_nothing(run, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        quantize(run, "int8_dynamic")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.root.isEnabledFor(logging.WARNING)


def test_quiet_ends_with_its_block(caplog):
    with contextlib.suppress(KeyError), quiet():
        logging.warning("hidden")
        raise KeyError
    logging.warning("shown")
    assert [record.message for record in caplog.records] == ["shown"]


def test_a_failure_leaves_nothing_behind(run, monkeypatch):
    def fail(source, target):
        target.write_bytes(b"half")
        raise RuntimeError("interrupted")

    run.onnx("int8_dynamic").unlink()
    before = sorted(run.path.iterdir())
    monkeypatch.setitem(MODES, "int8_dynamic", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        quantize(run, "int8_dynamic")
    assert sorted(run.path.iterdir()) == before


def test_an_unknown_mode_is_refused_with_those_that_there_are(run):
    for refuse in (lambda: quantize(run, "int4"), lambda: check_modes(["int8_dynamic", "int4"])):
        with pytest.raises(InputError, match=r"int4.*int8_dynamic"):
            refuse()


def test_the_export_comes_first(run):
    run.onnx("fp32").unlink()
    with pytest.raises(InputError, match="brainseg export"):
        quantize(run, "int8_dynamic")
