"""What `import brainseg` offers to notebooks."""

import doctest
import subprocess
import sys

import onnx
import pytest
import yaml

import brainseg
from brainseg.errors import InputError
from brainseg.files import write_text
from brainseg.run import Run


def write_network(file, size=32):
    """An ONNX file whose probability of a tumour is how bright the image is."""
    shape = ["batch", 1, size, size]
    image, probability = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("image", "probability")
    )
    node = onnx.helper.make_node("Identity", ["image"], ["probability"])
    graph = onnx.helper.make_graph([node], "bright", [image], [probability])
    opset = [onnx.helper.make_opsetid("", 18)]
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), file)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a run and an exported file."""
    run = Run(tmp_path / "outputs/demo/ag-seed0")
    write_text(run.config, yaml.safe_dump({"model": {"attention": "ag"}}))
    for file in (run.onnx("fp32"), tmp_path / "model.int8_static.onnx"):
        write_network(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_are_right(folder):
    result = doctest.testmod(brainseg)
    assert result.attempted >= 7
    assert result.failed == 0


def test_all_names_are_there_and_no_others():
    assert brainseg.__all__ == sorted(brainseg.__all__)
    assert all(getattr(brainseg, name).__doc__ for name in brainseg.__all__)
    assert all(name in brainseg.__doc__ for name in brainseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        brainseg.train  # noqa: B018


def test_importing_it_imports_nothing_else():
    code = "import sys; old = set(sys.modules); import brainseg; print(*sys.modules.keys() - old)"
    command = [sys.executable, "-S", "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    known = sys.stdlib_module_names | {"brainseg"}
    assert {name.split(".")[0] for name in found} <= known


def test_a_folder_without_a_run_is_refused(folder):
    with pytest.raises(InputError, match="not a finished brainseg run"):
        brainseg.open_run("outputs/demo")
    assert brainseg.open_run("outputs/demo/ag-seed0").name == "ag-seed0"
