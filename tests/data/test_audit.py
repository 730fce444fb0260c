"""The audit: counts, what is broken, what stands twice, and the page that shows it."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy import ndimage

from brainseg.data.audit.collect import audit, to_json
from brainseg.data.audit.measure import find_head, measure
from brainseg.data.audit.page import print_audit, write_audit
from brainseg.data.layouts.folder import read_folder
from brainseg.errors import InputError
from brainseg.files import write_csv
from brainseg.policy import content_policy


def head_slice(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A round head with structure of its own, and the mask of a square tumour (96×96 both)."""
    rng = np.random.default_rng(number)
    rows, columns = np.indices((96, 96)) - 48
    radius = np.hypot(rows, columns * rng.uniform(0.9, 1.1))
    texture = ndimage.gaussian_filter(rng.normal(size=(96, 96)), 4) * 300
    image = np.where(radius < 40, 100 + texture, 0)
    mask = np.zeros((96, 96), bool)
    top, left = rng.integers(30, 50, 2)
    mask[top : top + 14, left : left + 12] = True
    return np.uint8(np.clip(image + 60 * mask, 0, 255)), mask


@pytest.fixture
def masked(tmp_path: Path, save) -> Path:
    """Nine slices of three patients with masks in the head."""
    root = tmp_path / "masked"
    rows = []
    for number in range(1, 10):
        image, mask = head_slice(number)
        save(root / "images" / f"{number}.png", image)
        save(root / "masks" / f"{number}.png", np.uint8(255) * mask)
        rows.append({"id": number, "class": "glioma", "patient": f"p{number % 3}"})
    write_csv(root / "labels.csv", rows, ["id", "class", "patient"])
    return root


@pytest.fixture
def folders(tmp_path: Path, masked: Path, save) -> Path:
    """Class folders: a mirrored slice of `masked`; three without tumour, two of them equal."""
    root = tmp_path / "folders"
    mirrored = np.fliplr(head_slice(3)[0])
    save(root / "Training" / "glioma" / "x.jpg", mirrored)
    save(root / "Training" / "notumor" / "a.png", head_slice(50)[0])
    save(root / "Training" / "notumor" / "b.png", head_slice(50)[0])
    save(root / "Testing" / "notumor" / "c.png", head_slice(51)[0])
    return root


def test_counts_are_those_of_the_files(masked: Path, tmp_path: Path):
    facts = to_json(audit([masked], tmp_path))
    (described,) = facts["data_sets"]
    assert (described["layout"], described["images"], described["patients"]) == ("folder", 9, 3)
    assert described["sizes"] == {"96×96": 9}
    assert described["bits"] == {"8": 9}
    row = described["classes"]["glioma"]
    images, masks = zip(*(head_slice(number) for number in range(1, 10)), strict=True)
    areas = [mask.mean() for mask in masks]
    assert row["mask_area"]["p50"] == pytest.approx(np.median(areas), abs=1e-4)
    assert row["mean"]["p5"] == pytest.approx(
        np.percentile([i.mean() for i in images], 5), abs=1e-3
    )
    edges = [np.concatenate([i[0], i[-1], i[:, 0], i[:, -1]]).mean() for i in images]
    assert row["border"]["p95"] == pytest.approx(np.percentile(edges, 95), abs=1e-3)
    assert row["black"]["p50"] == pytest.approx(np.median([(i == 0).mean() for i in images]), 1e-3)
    assert (row["masks"], row["empty_masks"], row["components"]) == (9, 0, {"1": 9})
    assert (facts["problems"], facts["pairs"], facts["clusters"]) == ([], [], [])


def test_copies_are_found_within_and_across(masked: Path, folders: Path, tmp_path: Path):
    facts = to_json(audit([masked, folders], tmp_path))
    pairs = {(Path(p["a"]).name, Path(p["b"]).name): p for p in facts["pairs"]}
    assert set(pairs) == {("3.png", "x.jpg"), ("a.png", "b.png")}
    near, exact = pairs["3.png", "x.jpg"], pairs["a.png", "b.png"]
    assert (near["kind"], near["transform"]) == ("near", "flip_left_right")
    assert 0 < near["distance"] < 0.01
    assert near["a"] == f"{masked}/images/3.png"  # as typed
    assert (exact["kind"], exact["transform"], exact["distance"]) == ("exact", "none", 0.0)
    assert facts["pair_counts"] == {"near": 1, "exact": 1}
    assert [len(cluster) for cluster in facts["clusters"]] == [2, 2]
    assert facts["overlaps"] == [
        {"a": f"{folders} glioma", "b": f"{masked} glioma", "pairs": 1, "in_a": 1, "in_b": 1},
        {"a": f"{folders} notumor", "b": f"{folders} notumor", "pairs": 1, "in_a": 2, "in_b": 2},
    ]


def corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


CORNER = np.pad(np.full((8, 8), 255, np.uint8), ((0, 88), (0, 88)))


def save_to(part: str, pixels: np.ndarray, name: str = "2.png") -> Callable[[Path], None]:
    return lambda root: Image.fromarray(pixels).save(root / part / name)


def add_unlabelled(root: Path) -> None:
    image, mask = head_slice(70)
    save_to("images", image, "77.png")(root)
    save_to("masks", np.uint8(255) * mask, "77.png")(root)


def relabel(root: Path) -> None:
    labels = root / "labels.csv"
    labels.write_text(labels.read_text().replace("2,glioma", "2,notumor"))


def black(height: int, width: int, *channels: int) -> np.ndarray:
    return np.zeros((height, width, *channels), np.uint8)


BROKEN = {  # how it is broken; the kind and the message of the problem; the images that remain
    "unreadable image": (
        lambda root: corrupt(root / "images" / "2.png"), "image", "cannot be read", 8
    ),
    "coloured image": (
        save_to("images", black(96, 96, 3) + np.uint8([255, 0, 0])), "image", "is a colour", 8
    ),
    "nothing to see": (save_to("images", black(96, 96)), "flat", "shows nothing", 9),
    "missing mask": (
        lambda root: (root / "masks" / "2.png").unlink(), "mask", "have no mask", 9
    ),
    "mask with grey values": (save_to("masks", head_slice(2)[0]), "mask", "is not a mask", 9),
    "map of labels": (
        save_to("masks", 2 * np.uint8(head_slice(2)[1])), "mask", "data.labels=[2]", 9
    ),
    "unreadable mask": (
        lambda root: corrupt(root / "masks" / "2.png"), "mask", "cannot be read", 9
    ),
    "other size": (
        save_to("masks", black(40, 50)), "size", "96×96 pixels, its mask 50×40", 9
    ),
    "mask outside the head": (save_to("masks", CORNER), "outside", "lies outside the head", 9),
    "id twice": (save_to("images", head_slice(2)[0], "2.jpg"), "id", "same stem", 9),
    "unlabelled image": (add_unlabelled, "label", "lacks 1 images, such as 77", 10),
    "tumour of the class notumor": (relabel, "label", "class notumor, but its mask", 9),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_noted_and_the_rest_is_audited(masked: Path, tmp_path: Path, name: str):
    break_it, kind, message, images = BROKEN[name]
    break_it(masked)
    facts = to_json(audit([masked], tmp_path))
    assert facts["problem_counts"] == {kind: 1}
    assert message in facts["problems"][0]["message"]
    assert facts["data_sets"][0]["images"] == images


def test_a_folder_without_any_image_is_refused(tmp_path: Path, masked: Path):
    for path in (masked / "images").iterdir():
        corrupt(path)
    with pytest.raises(InputError, match="No image could be read"):
        audit([masked], tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        audit([tmp_path / "gone"], tmp_path)


def test_volumes_are_audited_with_pictures(tmp_path: Path):
    for patient in ("P1", "P2"):  # the same examination under two names
        volume = np.stack([head_slice(number)[0] for number in range(4)], axis=-1)
        mask = np.stack([head_slice(number)[1] for number in range(4)], axis=-1)
        folder = tmp_path / "set" / patient
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / "t1c.nii.gz")
        nib.save(nib.Nifti1Image(np.uint8(mask), np.eye(4)), folder / "seg.nii.gz")
    found = audit([tmp_path / "set"], tmp_path / "cache")
    write_audit(found, tmp_path / "out")
    pairs = to_json(found)["pairs"]
    assert [(pair["kind"], pair["a"]) for pair in pairs] == [
        ("exact", f"{tmp_path}/set/P1/t1c.nii.gz axial {index}") for index in range(4)
    ]
    assert (tmp_path / "out" / "index.html").read_text().count("base64") == 4 * 2 + 4 * 2


def test_a_folder_given_twice_is_refused(masked: Path, tmp_path: Path):
    with pytest.raises(InputError, match="given twice"):
        audit([masked, masked / ".." / masked.name], tmp_path)


def test_the_head_is_what_its_outline_encloses():
    image = np.zeros((60, 60), np.uint8)
    rows, columns = np.indices(image.shape) - 30
    radius = np.hypot(rows, columns)
    image[(radius < 24) & (radius > 20)] = 200  # scalp; the brain in it is dark
    head = find_head(image)
    assert head[radius < 23].all()
    assert not head[radius > 26].any()


def test_the_page_shows_every_pair_and_needs_no_network(
    masked: Path, folders: Path, tmp_path: Path
):
    (masked / "masks" / "5.png").unlink()
    found = audit([masked, folders], tmp_path)
    write_audit(found, tmp_path / "out")
    write_audit(found, tmp_path / "out")  # an existing folder is written into
    facts = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert facts == to_json(found)
    page = (tmp_path / "out" / "index.html").read_text()
    for text in ("3.png", "x.jpg", "flip left right", "have no mask", "1 exact and 1"):
        assert text in page
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert f'content="{content_policy(style)}"' in unescape(page)
    assert not re.findall(r"<script| style=", page)
    # two across data sets or drawn at random: the mirrored one with its middle picture
    assert page.count("data:image/jpeg;base64,") == 3 + (3 + 2) + (2 + 2)
    assert not re.search(r"(src|href)=\"http", page)


def test_the_summary_says_what_matters(masked: Path, folders: Path, tmp_path: Path, capsys):
    print_audit(to_json(audit([masked, folders], tmp_path)), Console(width=120))
    out = capsys.readouterr().out
    assert "1 exact and 1 near-duplicate pairs; turned: flip_left_right 1" in out
    assert "Problems: none." in out
    assert re.search(r"glioma\s+9\s+3\s+9\s+0", out)
    bracketed = masked.rename(masked.parent / "set [1]")  # rich takes brackets for markup
    print_audit(to_json(audit([bracketed], tmp_path)), Console(width=200))
    assert "set [1] (folder)" in " ".join(capsys.readouterr().out.split())


def test_an_image_that_cannot_be_read_is_not_measured(masked: Path):
    case = read_folder(masked)[0]
    assert measure(case)[0].path == str(case.image)
    corrupt(case.image)
    measured, problems = measure(case)
    assert measured is None
    assert [problem.kind for problem in problems] == ["image"]


def test_labels_that_no_mask_holds_are_a_problem(masked: Path, tmp_path: Path):
    (problem,) = to_json(audit([masked], tmp_path, options={"labels": "7"}))["problems"]
    assert "holds any of the labels 7" in problem["message"]
    assert not to_json(audit([masked], tmp_path, options={"labels": "255"}))["problems"]


def test_notes_are_printed_once_with_their_number(tmp_path: Path, save, capsys):
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png", np.tile(np.arange(60, dtype=np.uint16), (60, 1)))
        save(tmp_path / "masks" / f"{name}.png", np.zeros((60, 60), np.uint8))
    print_audit(to_json(audit([tmp_path], tmp_path / "cache")), Console(width=120))
    assert capsys.readouterr().out.count("2 of 2 files: 16-bit image scaled to 8 bits.") == 1
