"""Files from strangers: nothing in them is run, and nothing outside their folder is read."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import external_data_helper
from typer.testing import CliRunner

from brainseg.cli import app
from brainseg.errors import InputError
from brainseg.files import read_json, write_json
from brainseg.model.registry import build_network
from brainseg.run import Run


class Attack:
    """Unpickling it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path):
    """A file that only an attack makes."""
    mark = tmp_path / "attacked"
    yield mark
    assert not mark.exists()


@pytest.fixture
def strange(run: Run) -> Run:
    """A finished run from somebody else."""
    run.update_state(stage="done")
    run.onnx("fp32").unlink()  # so that an export has to read the rest
    return run


def refusal(*arguments: object) -> str:
    """What a verb says as it refuses; a traceback is none."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(result.exception, InputError | SystemExit), result.exception
    assert result.exit_code
    return f"{result.output}{result.exception}"


def test_a_pickle_can_be_an_attack(tmp_path: Path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "a")))
    assert (tmp_path / "a").exists()


def test_a_checkpoint_is_data(strange: Run, mark: Path):
    torch.save({"state_dict": Attack(mark)}, strange.best)

    assert "best.ckpt" in refusal("export", strange.path)


def test_weights_are_data(tmp_path: Path, mark: Path):
    torch.save({"conv.weight": Attack(mark)}, tmp_path / "weights.pth")

    with pytest.raises(InputError, match=r"weights\.pth"):
        build_network({"name": "resunet", "weights": str(tmp_path / "weights.pth")})


def test_arrays_are_numbers(strange: Run, mark: Path, tmp_path: Path):
    with np.load(strange.test) as arrays:
        attacking = dict(arrays) | {"classes": np.array([Attack(mark)] * 6, object)}
    np.savez(strange.test, **attacking)

    refusal("data", "show", strange.path, "--out", tmp_path / "sheet.png")


def test_a_configuration_is_plain(strange: Run, mark: Path):
    strange.config.write_text(f"model: !!python/object/apply:os.mkdir ['{mark}']\n")

    assert "config.yaml" in refusal("export", strange.path)


def test_a_run_cannot_bring_code(strange: Run, mark: Path, monkeypatch, tmp_path: Path):
    """Neither beside its files, nor in a folder that it names as the one it was trained in."""
    code = f"import pathlib\nfrom torch import nn\npathlib.Path({str(mark)!r}).touch()\n"
    (strange.path / "strange_module.py").write_text(code + "class Net(nn.Conv2d): pass\n")
    strange.config.write_text(
        yaml.safe_dump({"model": {"name": "own", "target": "strange_module.Net"}})
    )
    write_json(strange.environment, {"folder": str(strange.path)})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert "cannot be imported" in refusal("export", strange.path)


def test_a_configuration_calls_networks_only(strange: Run, mark: Path):
    model = {"name": "own", "target": "os.mkdir", "args": {"path": str(mark)}}
    strange.config.write_text(yaml.safe_dump({"model": model}))

    assert "no subclass of torch.nn.Module" in refusal("export", strange.path)


@pytest.mark.parametrize("place", ["../secret", "weights.bin"])
def test_an_exported_network_is_one_file(run: Run, place: str, tmp_path: Path):
    """Weights in another file would be read from wherever the network says."""
    (tmp_path / "set").mkdir()
    model = onnx.load(run.onnx("fp32"))
    tensor = next(t for t in model.graph.initializer if len(t.raw_data) > 1000)
    (tmp_path / "set" / place).write_bytes(tensor.raw_data)
    external_data_helper.set_external_data(tensor, place)
    tensor.ClearField("raw_data")
    target = tmp_path / "set" / "strange.onnx"
    target.write_bytes(model.SerializeToString())
    picture = Path(tmp_path / "a.png")
    picture.write_bytes(b"")

    assert "one file" in refusal("predict", target, picture, "--out", tmp_path / "out")


def test_names_in_a_run_make_no_paths(strange: Run, tmp_path: Path):
    state = read_json(strange.state)
    write_json(strange.state, state | {"reason": "[/bold]", "status": "failed", "stage": "train"})
    before = {path for path in tmp_path.rglob("*") if strange.path not in path.parents}
    with np.load(strange.test) as arrays:
        named = dict(arrays) | {"ids": np.array([f"../../../evil{i}" for i in range(6)])}
    np.savez(strange.test, **named)

    CliRunner().invoke(app, ["report", str(strange.experiment)])
    allowed = strange.experiment / "report"
    after = {path for path in tmp_path.rglob("*") if strange.path not in path.parents}
    assert all(path == allowed or allowed in path.parents for path in after - before)
