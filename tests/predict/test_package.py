"""A package: what is in it, and that its masks are those of `brainseg predict`."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import onnxruntime
import PIL
import pydicom
import pytest
import yaml
from huggingface_hub import ModelCard
from packaging.requirements import Requirement
from PIL import Image

from brainseg import cli
from brainseg.content.read import read_content
from brainseg.data.phantom.write import draw_patient
from brainseg.errors import DamagedFile, InputError
from brainseg.files import read_csv, write_text
from brainseg.lock import locked
from brainseg.predict import package as packages
from brainseg.predict import page_files, standalone
from brainseg.predict.folder_lock import alone_in
from brainseg.predict.package import write_package
from brainseg.predict.packaged import check_sums, model_of
from brainseg.predict.predict import predict
from brainseg.predict.serve import make_server
from brainseg.predict.settings import Settings
from brainseg.run import Run
from brainseg.runtime.session import Unavailable
from brainseg.runtime.web_files import find_ort
from brainseg.vocabulary import RESEARCH_ONLY
from tests.predict.conftest import make_slices
from tests.report.test_card import CONFIG

MODE = "int8_dynamic"
CARD = "---\nlibrary_name: brainseg\n---\n\n# A network\n"
ROOT = Path(__file__).parents[2]
FOREIGN = ("brainseg", "torch", "cv2", "scipy", "skimage", "pandas", "highdicom", "h5py", "rich")
"""Packages that `predict.py` must do without."""


@pytest.fixture(scope="module")
def folder(prepared: Callable[[str], Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package; not to be changed."""
    out = tmp_path_factory.mktemp("packages") / "none-seed0"
    write_package(prepared("none"), MODE, out, CARD)
    return out


@pytest.fixture
def package(folder: Path, tmp_path: Path) -> Path:
    """A copy, which tests may change."""
    return Path(shutil.copytree(folder, tmp_path / "package"))


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the three packages that are needed, and no others."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    needed = (f"onnxruntime=={onnxruntime.__version__}", f"numpy=={np.__version__}")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--retries=1"]
    command = [*pip, "--disable-pip-version-check", *needed, f"pillow=={PIL.__version__}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install onnxruntime here: {done.stderr.splitlines()[-1]}")
    looked = f"from importlib.util import find_spec; print(*filter(find_spec, {FOREIGN}))"
    found = subprocess.run([python, "-I", "-c", looked], capture_output=True, text=True, check=True)
    assert found.stdout == "\n"
    return python


def run(command: list[object], where: Path) -> subprocess.CompletedProcess:
    """Run a command as a stranger would, somewhere else."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    typed = [str(part) for part in command]
    done = subprocess.run(
        typed, capture_output=True, text=True, cwd=where, env=environment, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def alone(package: Path, *arguments: object, where: Path) -> subprocess.CompletedProcess:
    """Run a package's program in this environment, where it finds neither brainseg nor torch."""
    script = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({FOREIGN}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return run([sys.executable, "-c", script, package / "predict.py", *arguments], where)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms in sizes and kinds of files that people have."""
    place = tmp_path_factory.mktemp("pictures")
    (head, _), (other, _) = draw_patient(0, 0, 2, 128, "easy")
    for size in ((32, 32), (64, 64), (128, 128), (101, 57), (31, 200), (20, 25), (300, 17)):
        Image.fromarray(head).resize(size).save(place / f"{size[0]}x{size[1]}.png")
    grey = Image.fromarray(other)
    Image.fromarray(np.dstack([other] * 3)).save(place / "rgb.png")
    Image.fromarray(other.astype(np.uint16) * 200).save(place / "deep.png")
    Image.fromarray(other.astype(np.float32) * 3.3).save(place / "float.tif")
    alpha = np.full_like(other, 255)
    alpha[:40] = 100
    Image.fromarray(np.dstack([other] * 3 + [alpha])).save(place / "rgba.png")
    grey.convert("P").save(place / "palette.png")
    grey.save(place / "slice.jpg", quality=80)
    exif = Image.Exif()
    exif[274] = 6
    grey.crop((0, 0, 90, 128)).save(place / "turned.jpg", exif=exif)
    return place


def check_same(rows: list[dict], theirs: Path) -> None:
    """The table and all pictures of another prediction are those of `brainseg predict`."""
    table = read_csv(theirs / "predictions.csv")
    assert len(table) == len(rows)
    for row, other in zip(rows, table, strict=True):
        for name in ("input", "kind", "width", "height", "area_px", "area_share", "volume_ml"):
            assert other[name] == ("" if row[name] is None else str(row[name])), name
        assert other["note"] == (row["note"] or "")
        assert other["notice"] == RESEARCH_ONLY
        for name in ("mask", "overlay"):
            if row[name].endswith(".png"):
                pixels, expected = (
                    np.asarray(Image.open(path))
                    for path in (theirs.parent / other[name], row[name])
                )
                np.testing.assert_array_equal(pixels, expected, row["input"])


def test_pictures_get_the_very_masks_in_an_empty_environment(
    folder: Path, pictures: Path, empty: Path, tmp_path: Path
) -> None:
    asked = [pictures, "--out", "theirs", "--threads", 1]
    done = run([empty, folder / "predict.py", *asked], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"14 of 14 done: theirs/predictions.csv. {RESEARCH_ONLY}\n"
    model = folder / f"model.{MODE}.onnx"
    rows = predict(model, [pictures], tmp_path / "ours", threads=1)["rows"]
    assert len({row["area_px"] for row in rows}) > 10
    check_same(rows, tmp_path / "theirs")


def test_other_files_name_the_package_that_they_need(
    folder: Path, pictures: Path, empty: Path, tmp_path: Path
) -> None:
    shutil.copy(pictures / "rgb.png", tmp_path / "a.png")
    (tmp_path / "b.nii.gz").write_bytes(b"")
    (tmp_path / "c.dcm").write_bytes(b"")
    (tmp_path / "d.dcm").write_bytes(b"")
    deep = cv2.imencode(".png", np.arange(192, dtype=np.uint16).reshape(8, 8, 3) * 300)[1]
    (tmp_path / "f.png").write_bytes(deep.tobytes())
    given = ["a.png", "b.nii.gz", "c.dcm", "d.dcm", "f.png"]
    done = run([empty, folder / "predict.py", *given, "--out", "out"], tmp_path)
    assert done.returncode == 1
    assert "1 of 5 done" in done.stdout
    assert done.stderr.splitlines() == [
        "Error: NIfTI volumes need another package: pip install nibabel",
        "Error: Colour images of 16 bits and rare kinds of TIFF need another package: pip install "
        "opencv-python-headless",
        "Error: DICOM files need another package: pip install pydicom",
    ]


def test_volumes_get_the_very_masks(folder: Path, head: np.ndarray, tmp_path: Path) -> None:
    affine = np.array([[0, -2.0, 0, 40], [0, 0, 3, -60], [1.5, 0, 0, -20], [0, 0, 0, 1]])
    values = np.kron(head, np.ones((3, 3, 3), np.int16)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "a.nii.gz")
    done = alone(folder, "a.nii.gz", "--out", "theirs", "--threads", 1, where=tmp_path)
    assert done.returncode == 0, done.stderr
    model = folder / f"model.{MODE}.onnx"
    (row,) = predict(model, [tmp_path / "a.nii.gz"], tmp_path / "ours", threads=1)["rows"]
    for name in ("mask", "probability"):
        ours, theirs = (
            nib.load(tmp_path / place / f"a.{name}.nii.gz") for place in ("ours", "theirs")
        )
        np.testing.assert_array_equal(ours.dataobj, theirs.dataobj)
        np.testing.assert_array_equal(ours.affine, theirs.affine)
    (other,) = read_csv(tmp_path / "theirs" / "predictions.csv")
    assert other["volume_ml"] == str(row["volume_ml"])


def test_series_get_the_very_masks(
    folder: Path, head: np.ndarray, tmp_path: Path, save_series: Callable
) -> None:
    values = np.kron(head, np.ones((1, 2, 2), np.uint8))
    names = [f"{number:03d}" for number in (4, 2, 8, 0, 6, 1, 7, 3, 5)]
    slices = save_series(tmp_path / "study", make_slices(values), names)
    done = alone(folder, "study", "--out", "theirs", "--threads", 1, where=tmp_path)
    assert done.returncode == 0, done.stderr
    model = folder / f"model.{MODE}.onnx"
    (row,) = predict(model, [tmp_path / "study"], tmp_path / "ours", threads=1)["rows"]
    (other,) = read_csv(tmp_path / "theirs" / "predictions.csv")
    for name in ("area_px", "volume_ml"):
        assert other[name] == str(row[name])
    arrays = np.load(tmp_path / other["mask"])
    theirs = dict(zip(arrays["instance"].tolist(), arrays["mask"], strict=True))
    assert list(theirs) == [str(each.SOPInstanceUID) for each in slices]
    stored = pydicom.dcmread(row["mask"])
    frames = stored.pixel_array.reshape(-1, *values.shape[1:])
    for frame, groups in zip(frames, stored.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        np.testing.assert_array_equal(frame, theirs.pop(str(source.ReferencedSOPInstanceUID)))
    assert not any(mask.any() for mask in theirs.values())


def test_a_package_is_listed_and_always_the_same(
    folder: Path, prepared: Callable[[str], Run], tmp_path: Path
) -> None:
    write_package(prepared("none"), MODE, tmp_path / "again", CARD)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        *("LICENSE", "NOTICE", "README.md", "card.md", "predict.py", "requirements.txt"),
        *("manifest.json", f"model.{MODE}.onnx", "SHA256SUMS"),
    } <= files
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == files - {"SHA256SUMS"}
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert (
        (folder / "README.md").read_text().startswith("---\nlibrary_name: brainseg\n---\n\n# none")
    )
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    home = str(Path.home())
    assert not any(home in (folder / name).read_text(errors="ignore") for name in files)


def test_the_page_is_in_it(folder: Path) -> None:
    try:
        find_ort()
    except Unavailable as why:
        pytest.skip(str(why))
    assert (folder / "index.html").is_file()
    assert (folder / "page" / "ort" / "LICENSE").is_file()
    assert "\n\n## In a browser\n\n" in (folder / "README.md").read_text()


def test_without_onnxruntime_web_there_is_no_page(
    prepared: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    out = tmp_path / "package"
    monkeypatch.setattr(page_files, "find_ort", lambda: find_ort(folder=tmp_path))
    write_package(prepared("none"), MODE, out, CARD)
    assert "no page for browsers" in caplog.text
    assert "Run `make web`" in caplog.text
    assert "browser" not in (out / "README.md").read_text()
    assert model_of(out)
    assert not {"index.html", "page"} & {path.parts[0] for path in check_sums(out)}
    with pytest.raises(InputError, match=r"has no index\.html\. Expected a package with its page"):
        make_server(out, 0)


def test_the_manifest_says_what_the_network_takes(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    network = (folder / f"model.{MODE}.onnx").read_bytes()
    assert manifest["model_sha256"] == hashlib.sha256(network).hexdigest()
    assert manifest["image_size"] == 32
    assert (manifest["mode"], manifest["threshold"], manifest["plane"]) == (MODE, 0.5, "axial")
    assert (manifest["keep_aspect"], manifest["notice"]) == (False, RESEARCH_ONLY)


def test_requirements_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = {each.name: str(each.specifier) for each in map(Requirement, project["dependencies"])}
    lines = (ROOT / "brainseg" / "predict" / "requirements.txt").read_text().splitlines()
    for line in lines:
        needed = Requirement(line.rpartition(": ")[2])
        assert floors[needed.name] == str(needed.specifier)


def test_what_is_there_is_not_overwritten(package: Path, prepared: Callable[[str], Run]) -> None:
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    with pytest.raises(InputError, match="exists already, and is not overwritten"):
        write_package(prepared("none"), MODE, package, CARD)
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before


def test_nothing_is_left_half_made(
    prepared: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packages, "_list_sums", fill)
    with pytest.raises(InputError, match="The disk is full"):
        write_package(prepared("none"), MODE, tmp_path / "out" / "package", CARD)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_package_serves_as_a_model(package: Path, pictures: Path, tmp_path: Path) -> None:
    assert model_of(package) == package / f"model.{MODE}.onnx"
    assert model_of(pictures) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "of a newer brainseg"),
        ({"model": "../model.onnx"}, "manifest.json is damaged: model"),
        ({"image_size": "32"}, "manifest.json is damaged: image_size"),
        ({"model_sha256": "0" * 64}, r"model\.int8_dynamic\.onnx is"),
        ({"model": "other.onnx"}, r"other\.onnx is"),
        (None, "manifest.json is"),
    ],
)
def test_a_package_that_was_changed_is_refused(
    package: Path, pictures: Path, tmp_path: Path, change: dict | None, told: str, capsys
) -> None:
    file = package / "manifest.json"
    text = json.dumps(json.loads(file.read_text()) | change) if change else "no JSON"
    file.write_text(text)
    with pytest.raises(InputError, match=told):
        model_of(package)
    asked = [str(pictures / "rgb.png"), "--out", str(tmp_path / "out")]
    if change != {"image_size": "32"}:  # which only brainseg reads
        assert standalone.main(asked, package) == 1
        assert capsys.readouterr().err.startswith(f"Error: {package}")
        assert not (tmp_path / "out").exists()


def test_a_network_that_was_changed_is_named(package: Path) -> None:
    with (package / f"model.{MODE}.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DamagedFile, match=rf"model\.{MODE}\.onnx is damaged"):
        model_of(package)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.png", "--out", "out"], "missing.png does not exist"),
        (["empty", "--out", "out"], "Nothing to segment in empty"),
        (["a.png", "--out", "a.png"], "a.png is a file; expected a folder"),
        (["a.png", "--out", "out", "--threshold", "1.5"], "a threshold between 0 and 1"),
        (["a.png", "--out", "out", "--threshold", "half"], "0 and 1, or best; found half"),
        (["a.png", "--out", "out", "--tta", "turns"], "Unknown test-time augmentation turns"),
        (["a.png", "--out", "out", "--plane", "oblique"], "Unknown plane oblique"),
    ],
)
def test_mistakes_are_told_in_words(
    folder: Path,
    pictures: Path,
    tmp_path: Path,
    arguments: list[str],
    told: str,
    capsys,
    monkeypatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(pictures / "rgb.png", "a.png")
    Path("empty").mkdir()
    assert standalone.main(arguments, folder) == 1
    assert told in capsys.readouterr().err


def test_results_are_not_overwritten(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    asked = [str(pictures / "rgb.png"), "--out", str(tmp_path / "out")]
    assert standalone.main(asked, folder) == 0
    assert standalone.main(asked, folder) == 1
    assert "holds the results of an earlier prediction" in capsys.readouterr().err
    assert standalone.main([*asked, "--overwrite"], folder) == 0


def test_an_interrupted_prediction_leaves_nothing(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(standalone, "segment_batch", interrupt)
    asked = [str(pictures / "rgb.png"), "--out", str(tmp_path / "out")]
    assert standalone.main(asked, folder) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_what_fails_in_a_way_nobody_thought_of_is_a_row(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `brainseg predict`: the others are still done."""
    given = sorted(pictures.iterdir())[:2]
    segment, calls = standalone.segment_batch, []

    def fail_once(*args: Any) -> Any:
        calls.append(0)
        if len(calls) == 1:
            raise IndexError("list index out of range")
        return segment(*args)

    monkeypatch.setattr(standalone, "segment_batch", fail_once)
    asked = [*map(str, given), "--out", str(tmp_path / "out")]
    assert standalone.main(asked, folder) == 1
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    assert "cannot be segmented (IndexError: list index" in rows[0]["error"]
    assert not rows[1]["error"]


def test_one_program_at_a_time_writes_to_a_folder(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out, codes = tmp_path / "out", []
    asked = [str(pictures), "--out", str(out)]
    segment = standalone.segment_batch

    def meanwhile(*given: Any) -> np.ndarray:
        if not codes:
            codes.append(None)
            codes[0] = standalone.main([*asked, "--overwrite"], folder)
        return segment(*given)

    monkeypatch.setattr(standalone, "segment_batch", meanwhile)
    assert standalone.main(asked, folder) == 0
    assert codes == [1]
    assert "is being worked on by another process" in capsys.readouterr().err
    rows = read_csv(out / "predictions.csv")
    assert len(rows) == 14
    assert all(Path(row["mask"]).is_file() for row in rows)


def test_the_lock_is_that_of_brainseg(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="worked on by another"):
        alone_in(tmp_path).__enter__()
    with alone_in(tmp_path), pytest.raises(InputError, match="worked on by another"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_results_that_came_meanwhile_are_kept(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out = tmp_path / "out"
    asked = [str(pictures / "rgb.png"), "--out", str(out)]
    check, checked = standalone.check_folder, []

    def slowly(*given: Any) -> None:
        check(*given)
        if not checked:
            checked.append(given)
            assert standalone.main(asked, folder) == 0

    monkeypatch.setattr(standalone, "check_folder", slowly)
    assert standalone.main(asked, folder) == 1
    assert "holds the results of an earlier prediction" in capsys.readouterr().err


def test_a_sequence_of_a_nifti_file_is_chosen(
    folder: Path, head: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([head // 3, head], axis=3), np.eye(4)), file)
    asked = [str(file), "--out", str(tmp_path / "theirs"), "--threads", "1"]
    assert standalone.main(asked, folder) == 1
    assert "--channel of `predict`" in capsys.readouterr().err
    assert standalone.main([*asked, "--channel", "1", "--overwrite"], folder) == 0
    settings, model = Settings(channel=1), folder / f"model.{MODE}.onnx"
    rows = predict(model, [file], tmp_path / "ours", settings, threads=1)["rows"]
    check_same(rows, tmp_path / "theirs")


def test_options_are_those_of_brainseg(
    package: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ("--tta", "flips", "--min-area", "40", "--threshold", "best", "--threads", "1")
    asked = [str(pictures), "--out", str(tmp_path / "theirs"), *options]
    assert standalone.main(asked, package) == 1
    assert "does not say which threshold is best" in capsys.readouterr().err
    file = package / "manifest.json"
    write_text(file, json.dumps(json.loads(file.read_text()) | {"best_threshold": 0.45}))
    assert standalone.main(asked, package) == 0
    settings = Settings(threshold=0.45, tta="flips", min_area=40)
    model = package / f"model.{MODE}.onnx"
    check_same(
        predict(model, [pictures], tmp_path / "ours", settings, threads=1)["rows"],
        tmp_path / "theirs",
    )


def test_missing_packages_are_told_with_what_installs_them(folder: Path, tmp_path: Path) -> None:
    done = run([sys.executable, "-S", "-I", folder / "predict.py", "--help"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "is not installed" in done.stderr
    assert "python -m pip install -r requirements.txt" in done.stderr


def test_the_verbs(
    monkeypatch: pytest.MonkeyPatch, run: Run, pictures: Path, tmp_path: Path, capsys
) -> None:
    known = yaml.safe_load(run.config.read_text())
    data = CONFIG["data"] | known["data"]
    write_text(run.config, yaml.safe_dump(CONFIG | {"model": known["model"], "data": data}))

    def typed(*arguments: object) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["brainseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code

    out = tmp_path / "package"
    assert not typed("package", run.path, "--mode", MODE, "--out", out)
    assert "MiB. For research use only." in capsys.readouterr().out
    assert read_content(run.config)["seed"] == 3
    text, scores = (out / "card.md").read_text(), json.loads(run.metrics_of(MODE).read_text())
    assert f"# {run.name}" in text
    for name in ("card.md", "README.md"):
        (dice,) = (
            result.metric_value
            for result in ModelCard.load(out / name).data.eval_results
            if result.metric_type == "dice"
        )
        assert dice == scores["dice"]
    assert set(re.findall(r"model\.\w+\.onnx", text)) == {f"model.{MODE}.onnx"}
    assert not typed("predict", out, pictures / "rgb.png", "--out", tmp_path / "masks")
    assert (tmp_path / "masks" / "rgb.mask.png").exists()
    asked = ("predict", out, pictures / "rgb.png", "--mode", "fp32", "--out", tmp_path / "d")
    assert "has its own. Leave --mode away" in typed(*asked)
    assert "has no model.int8_static.onnx" in typed("package", run.path, "--out", tmp_path / "b")
    file = out / f"model.{MODE}.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    assert "is damaged" in typed("predict", out, pictures / "rgb.png", "--out", tmp_path / "c")
    assert not (tmp_path / "c").exists()
