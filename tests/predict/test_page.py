"""The page that segments, as people use it, in the system's chromium."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Request, Worker, expect

from brainseg.data.image import read_image
from brainseg.data.intensity import to_grey
from brainseg.policy import APP_POLICY
from brainseg.predict import page_files
from brainseg.predict.predict import segment
from brainseg.runtime.open import open_session
from brainseg.vocabulary import RESEARCH_ONLY

SIDE = 32
LONG = 60_000
"""Milliseconds that a busy machine may need for all slices."""


@pytest.fixture(scope="module")
def address(serving, make_package, model: Path, tmp_path_factory) -> str:
    """Of a page whose network finds what is brighter than half."""
    return serving(make_package(tmp_path_factory.mktemp("page"), model))


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh profile; a test's parameter may bring options such as its viewport."""
    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
    context = browser.new_context(**options | getattr(request, "param", {}))
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """The page; it may neither complain nor ask for anything beyond its folder."""
    page = context.new_page()
    complaints: list[str] = []
    requests: list[Request] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    context.on("request", lambda request: requests.append(request))
    page.goto(address)
    yield page
    assert complaints == []
    sent = [request.url for request in requests if request.failure != "csp"]
    assert f"{address}manifest.json" in sent
    assert [url for url in sent if not url.startswith((address, f"blob:{address}"))] == []


@pytest.fixture
def volume(tmp_path: Path) -> Callable[..., Path]:
    """A file of 32×32×32 smooth values, with any affine."""

    def write(affine: np.ndarray, name: str = "head.nii.gz", dtype: str = "<i2") -> Path:
        x, y, z = np.mgrid[:SIDE, :SIDE, :SIDE]
        blob = 900 * np.exp(-((x - 9) ** 2 + (y - 20) ** 2 + (z - 13) ** 2) / 40)
        values = blob + 60 + x + 2 * y + 3 * z
        nib.save(nib.Nifti1Image(values.astype(dtype), affine), tmp_path / name)
        return tmp_path / name

    return write


def open_files(page: Page, *files: Path) -> None:
    page.locator("#input").set_input_files(files)


def save(page: Page, button: str, into: Path) -> Path:
    expect(page.get_by_role("button", name=button)).to_be_enabled(timeout=LONG)
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    target = into / waiting.value.suggested_filename
    waiting.value.save_as(target)
    return target


def network_worker(page: Page) -> Worker:
    """The page's own worker; those that it starts itself wait for work, and answer nothing."""
    (worker,) = [each for each in page.workers if each.url.startswith("blob:")]
    return worker


def look(page: Page) -> str:
    """What is drawn."""
    return str(page.locator("#canvas").evaluate("canvas => canvas.toDataURL()"))


def affine_of(codes: str) -> np.ndarray:
    """Of a file whose axes point so, 1.5, 2 and 0.5 mm apart."""
    way = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return np.diag([1.5, 2.0, 0.5, 1]) @ inv_ornt_aff(way, (SIDE,) * 3)


def test_masks_are_those_of_brainseg(
    context: BrowserContext, prepared, make_package, serving, tmp_path: Path
) -> None:
    """Of a network of ours, on images of other shapes than the network's."""
    run = prepared("none")
    images = np.load(run.test)["images"]
    files = []
    for number, shape in enumerate([(32, 32), (70, 50), (20, 41)]):
        picture = Image.fromarray(images[number]).resize(shape[::-1], Image.Resampling.BICUBIC)
        files.append(tmp_path / f"slice{number}.png")
        picture.save(files[-1])
    for mode, most in (("fp32", 1e-4), ("int8_dynamic", 0.1)):
        session = open_session(run.onnx(mode))
        package = make_package(tmp_path / mode, run.onnx(mode), mode=mode)
        page = context.new_page()
        page.goto(serving(package))
        open_files(page, *files)
        for file in files:
            expected = segment(session, read_image(file)[None])[0]
            page.get_by_role("button", name=file.name).click()
            mask = np.asarray(Image.open(save(page, "Save mask", tmp_path)))
            found = np.asarray(Image.open(save(page, "Save probability", tmp_path))) / 65535
            assert np.abs(found - expected).max() < most
            near = np.abs(expected - 0.5) < most
            assert set(np.unique(mask)) <= {0, 255}
            assert np.array_equal((mask == 255)[~near], (expected >= 0.5)[~near])
            assert near.mean() < 0.5, "most of the mask is compared"


@pytest.mark.parametrize(
    ("codes", "plane"),
    [("RAS", "axial"), ("LPS", "axial"), ("PIR", "coronal"), ("SLA", "sagittal")],
)
def test_a_mask_lies_on_the_voxels_it_was_found_in(
    page: Page, volume, codes: str, plane: str, tmp_path: Path
) -> None:
    file = volume(affine_of(codes), dtype=">f4" if codes == "LPS" else "<i2")
    image = nib.load(file)
    open_files(page, file)
    page.get_by_label("Plane").select_option(plane)
    mask = nib.load(save(page, "Save mask", tmp_path))
    probability = nib.load(save(page, "Save probability", tmp_path))
    expected = to_grey(image.get_fdata(), file) >= 128  # slices are as large as the network's
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mask.dataobj), expected)
    assert np.array_equal(probability.get_fdata() >= 0.5, expected)
    for made in (mask, probability):
        assert made.header["descrip"].item().decode() == f"brainseg. {RESEARCH_ONLY}"
        for field in ("pixdim", "qform_code", "sform_code", "xyzt_units"):
            assert np.array_equal(made.header[field], image.header[field])
        assert np.array_equal(made.affine, image.affine)
    millilitres = expected.sum() * 1.5 * 2.0 * 0.5 / 1000
    expect(page.locator("#numbers")).to_contain_text(f"{millilitres:.2f} ml")


@pytest.mark.parametrize(
    ("plane", "directions"),
    [("axial", {0: "R", 1: "A"}), ("coronal", {0: "R", 2: "S"}), ("sagittal", {1: "A", 2: "S"})],
)
def test_right_is_left_and_front_is_up(
    context, serving, make_package, corner: Path, volume, plane: str, directions, tmp_path: Path
) -> None:
    """A network that marks a corner of what is shown: it must be the patient's own corner."""
    address = serving(make_package(tmp_path / "package", corner, plane=plane))
    page = context.new_page()
    page.goto(address)
    for codes in ("RAS", "LPI", "ASL"):
        open_files(page, volume(affine_of(codes), f"{codes}.nii"))
        mask = nib.load(save(page, "Save mask", tmp_path))
        inside = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() > 0))
        outside = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() == 0))
        for axis in directions:
            assert inside[:, axis].min() > np.median(outside[:, axis]), (codes, axis)
        for letter, edge in zip(directions.values(), ("left", "top"), strict=True):
            expect(page.locator(f"[data-edge={edge}]")).to_have_text(letter)


def test_paging_through_slices(page: Page, volume) -> None:
    open_files(page, volume(affine_of("RAS")))
    status, stage = page.locator("#status"), page.locator("#stage")
    expect(status).to_contain_text("Axial slice 17 of 32. Tumour: ", timeout=LONG)
    expect(page.get_by_role("button", name="Save mask")).to_be_enabled(timeout=LONG)
    before = look(page)
    for key, slice_ in (("ArrowRight", 18), ("ArrowUp", 17), ("End", 32), ("ArrowDown", 32)):
        stage.press(key)
        expect(status).to_contain_text(f"slice {slice_} of 32")
    expect(status).to_contain_text("Nothing is marked here.")
    assert look(page) != before
    stage.press("Home")
    expect(page.locator("#position")).to_have_value("1")
    page.locator("#position").press("ArrowRight")
    page.get_by_role("button", name="Next slice").click()
    expect(status).to_contain_text("slice 3 of 32")
    stage.hover()
    page.mouse.wheel(0, 100)
    expect(status).to_contain_text("slice 4 of 32")
    page.get_by_label("Plane").select_option("coronal")
    expect(status).to_contain_text("Coronal slice 17 of 32", timeout=LONG)


def test_threshold_outline_and_probability(page: Page, tmp_path: Path) -> None:
    ramp = np.tile(np.arange(SIDE, dtype=np.uint8) * 8, (SIDE, 1))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    open_files(page, tmp_path / "ramp.png")
    area, stage = page.locator("#numbers dd"), page.locator("#stage")

    def count(threshold: float) -> str:
        share = 1 / (1 + np.exp(25 - 50 * (ramp / 255)))
        return f"{(share >= threshold).sum()} px"

    expect(area).to_have_text(count(0.5))
    page.get_by_role("button", name="Use 0.25, the best on validation").click()
    expect(area).to_have_text(count(0.25))
    expect(page.locator("#threshold-value")).to_have_text("0.25")
    stage.press("+")
    expect(area).to_have_text(count(0.3))
    page.get_by_label("Threshold", exact=True).press("End")
    expect(area).to_have_text(count(0.99))
    mask = np.asarray(Image.open(save(page, "Save mask", tmp_path)))
    assert f"{(mask == 255).sum()} px" == count(0.99)
    looks = [look(page)]
    for key, box in (("p", "Probability"), ("c", "Outline")):
        stage.press(key)
        looks.append(look(page))
        expect(page.get_by_role("checkbox", name=box)).to_be_checked(checked=key == "p")
    assert len(set(looks)) == 3
    stage.press("p")
    stage.press("c")
    assert look(page) == looks[0]
    with page.expect_download() as waiting:
        stage.press("s")
    assert waiting.value.suggested_filename == "ramp.mask.png"


def test_one_of_several_volumes_is_chosen(page: Page, tmp_path: Path) -> None:
    values = np.stack([np.full((8, 8, 4), 100.0), np.arange(256).reshape(8, 8, 4)], axis=-1)
    values[:4, ..., 0] = np.arange(128).reshape(4, 8, 4)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "two.nii")
    open_files(page, tmp_path / "two.nii")
    expect(page.locator("#notes")).to_contain_text("The file holds 2 volumes; volume 1 is shown.")
    page.get_by_label("Volume", exact=True).select_option("2")
    expect(page.locator("#notes")).to_have_text("The file holds 2 volumes; volume 2 is shown.")
    mask = nib.load(save(page, "Save mask", tmp_path))
    assert mask.shape == (8, 8, 4)
    assert mask.header["dim"][0] == 3
    assert mask.get_fdata()[0].sum() == 0


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name → a file that cannot be used, and what is told of it."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    nib.save(nib.Nifti1Image(noise.reshape(10, 10, 16), np.eye(4)), folder / "whole.nii.gz")
    packed = (folder / "whole.nii.gz").read_bytes()
    contents = {
        "cut.png": (whole[:400], "cut off"),
        "changed.png": (whole[:200] + b"x" + whole[201:], "checksum is wrong"),
        "empty.png": (b"", "is empty"),
        "words.txt": (b"words", "is no image that can be read. Expected PNG"),
        "scan.tif": (b"II*\0" + bytes(99), "is a TIFF.*Save it as PNG"),
        "scan.dcm": (bytes(128) + b"DICM", "is a DICOM file.*brainseg predict"),
        "broken.jpg": (b"\xff\xd8\xff\xe0broken", "cannot be read as an image"),
        "cut.nii.gz": (packed[: len(packed) // 2], "is (cut off|damaged)"),
        "changed.nii": (bytes(400), "is no NIfTI volume"),
    }
    files = {}
    for name, (data, told) in contents.items():
        (folder / name).write_bytes(data)
        files[name] = (folder / name, told)
    pictures = {
        "mask.png": (
            np.where(noise > 127, 255, 0).astype(np.uint8),
            "two grey levels .0 and 255.",
        ),
        "colours.png": (rng.integers(0, 256, (40, 40, 3), np.uint8), "is a colour image"),
    }
    for name, (values, told) in pictures.items():
        Image.fromarray(values).save(folder / name)
        files[name] = (folder / name, told)
    volumes = {
        "labels.nii": (
            noise.reshape(10, 10, 16) // 128,
            "has 2 different values, as labels",
        ),
        "five.nii": (np.ones((3, 3, 3, 2, 2)), "has 5 dimensions"),
        "flat.nii": (np.ones((3, 3)), "has 2 dimensions"),
        "scored.nii": (rng.normal(0, 1, (9, 9, 9)), "is negative in .*normalised"),
        "complex.nii": (np.ones((3, 3, 3), np.complex64), "numbers of type 32"),
    }
    for name, (values, told) in volumes.items():
        kept = values if values.dtype.kind == "c" else values.astype(np.float32)
        nib.save(nib.Nifti1Image(kept, np.eye(4)), folder / name)
        files[name] = (folder / name, told)
    lost = nib.Nifti1Image(noise.reshape(10, 10, 16), None)
    nib.save(lost, folder / "lost.nii")
    files["lost.nii"] = (folder / "lost.nii", "has no orientation")
    nib.save(nib.Nifti1Image(noise.reshape(4, 25, 16)[:, :3], np.eye(4)), folder / "thin.nii")
    files["thin.nii"] = (folder / "thin.nii", "has 4 × 3 × 16 voxels.*at least 8 pixels a side")
    return files


def test_what_cannot_be_used_is_told_and_the_rest_goes_on(page: Page, tmp_path: Path) -> None:
    files = bad_files(tmp_path)
    good = tmp_path / "whole.png"
    open_files(page, *(file for file, _ in files.values()), good)
    for name, (_, told) in files.items():
        page.get_by_role("button", name=name).click()
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text(re.compile(re.escape(name) + ".*" + told))
        expect(page.get_by_role("button", name=name)).to_contain_text("cannot be used")
        expect(page.get_by_role("button", name="Save mask")).to_be_hidden()
    page.get_by_role("button", name="whole.png").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("button", name="Save mask")).to_be_enabled(timeout=LONG)


def test_nothing_can_be_sent_elsewhere(page: Page) -> None:
    """The browser refuses it, to the page and to its worker; `page` sees that none was sent."""
    expect(page.locator("#loading")).to_be_hidden(timeout=LONG)
    attempt = """() => fetch("https://example.com/", { mode: "no-cors", method: "POST", body: "a" })
        .then(() => "sent", () => "refused")"""
    other = page.context.new_page()  # the complaints of this one are expected
    other.goto(page.url)
    expect(other.locator("#loading")).to_be_hidden(timeout=LONG)
    assert other.evaluate(attempt) == "refused"
    assert network_worker(other).evaluate(attempt) == "refused"
    other.evaluate("() => { navigator.sendBeacon('https://example.com/', 'slice'); }")
    with other.expect_event("requestfailed") as waiting:
        other.evaluate("() => { new Image().src = 'https://example.com/slice.png'; }")
    assert waiting.value.failure == "csp"
    other.close()


def test_the_policy_is_the_one_that_the_server_sends() -> None:
    start = (page_files.PAGE / "index.html").read_text()
    assert f'content="{APP_POLICY}"' in start
    assert RESEARCH_ONLY in start


@pytest.fixture
def plain_server(make_package, model: Path, tmp_path: Path) -> Iterator[str]:
    """A static server that knows nothing of the page."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: Any) -> None:
            pass

    folder = make_package(tmp_path / "plain", model)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_another_server_gives_one_thread_and_the_same_policy(
    context: BrowserContext, plain_server: str, tmp_path: Path
) -> None:
    page = context.new_page()
    page.goto(plain_server)
    expect(page.locator("#loading")).to_be_hidden(timeout=LONG)
    assert page.evaluate("crossOriginIsolated") is False
    page.get_by_role("button", name="Help").click()
    expect(page.locator("#about")).to_contain_text("1 thread.")
    attempt = """() => fetch("https://example.com/").then(() => "sent", () => "refused")"""
    assert network_worker(page).evaluate(attempt) == "refused"


def test_threads_are_used_where_the_server_allows(page: Page) -> None:
    page.goto(f"{page.url}?threads=2")
    expect(page.locator("#loading")).to_be_hidden(timeout=LONG)
    cores = page.evaluate("navigator.hardwareConcurrency")
    expect(page.locator("#about")).to_contain_text("2 threads." if cores > 1 else "1 thread.")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("manifest", r"manifest\.json is not beside this page.*brainseg package"),
        ("json", r"manifest\.json beside this page is damaged"),
        ("model", r"model\.fp32\.onnx is not beside this page"),
        ("damage", r"its checksum differs"),
        ("size", r"cannot be run \(it takes 1×32×32 numbers, and manifest\.json says 1×64×64"),
        ("wasm", r"WebAssembly did not start here"),
        ("worker", r"worker did not start"),
    ],
)
def test_a_broken_package_is_told(
    context, serving, make_package, model: Path, tmp_path: Path, change: str, told: str
) -> None:
    folder = make_package(tmp_path / "package", model)
    manifest = folder / "manifest.json"
    if change == "manifest":
        manifest.unlink()
    elif change == "json":
        manifest.write_text("{")
    elif change == "model":
        (folder / "model.fp32.onnx").unlink()
    elif change == "damage":
        (folder / "model.fp32.onnx").write_bytes(b"damaged")
    elif change == "size":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"image_size": 64}))
    elif change == "wasm":
        (folder / "page" / "ort" / "ort-wasm-simd-threaded.wasm").write_bytes(b"damaged")
    else:
        (folder / "page" / "worker.mjs").unlink()
    page = context.new_page()
    page.goto(serving(folder))
    expect(page.get_by_role("alert")).to_contain_text(re.compile(told), timeout=LONG)
    expect(page.locator("#loading")).to_be_hidden()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "slice.png")
    open_files(page, tmp_path / "slice.png")
    expect(page.locator("#status")).to_have_text("The network does not run.")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(told))


@pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True)
def test_a_page_that_did_not_start_says_why(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_text("This page has not started.")).to_be_visible()
    expect(page.get_by_text(RESEARCH_ONLY)).to_be_visible()


everywhere = pytest.mark.parametrize(
    "context",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"viewport": {"width": 360, "height": 740}, "has_touch": True},
    ],
    indirect=True,
)


@everywhere
def test_it_is_accessible_and_fits(page: Page, volume, tmp_path: Path) -> None:
    fits = "document.scrollingElement.scrollWidth <= innerWidth"
    for file in (None, volume(affine_of("RAS")), bad_files(tmp_path)["mask.png"][0]):
        if file:
            open_files(page, file)
            expect(page.get_by_role("button", name=file.name)).not_to_contain_text("read")
        expect(page.locator("#loading")).to_be_hidden(timeout=LONG)
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        assert page.evaluate(fits)
        for notice in (RESEARCH_ONLY, "No image leaves this computer."):
            expect(page.get_by_text(notice)).to_be_visible()
    for control in page.locator("button:visible, input:visible, select:visible").all():
        owner = control.locator("xpath=ancestor-or-self::*[self::label or not(self::label)][1]")
        box = owner.bounding_box()
        assert box
        assert box["width"] >= 18
    page.get_by_role("button", name="Help").click()
    assert Axe().run(page).response["violations"] == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_every_control_is_reached_by_keys(page: Page, volume) -> None:
    open_files(page, volume(affine_of("RAS")))
    expect(page.get_by_role("button", name="Save mask")).to_be_enabled(timeout=LONG)
    page.locator("#help-open").focus()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        node = page.evaluate("document.activeElement.id || document.activeElement.tagName")
        if node == "BODY":
            break
        reached.append(node)
    wanted = ["stage", "previous", "position", "next", "BUTTON", "add", "save", "save-probability"]
    assert [node for node in reached if node in wanted] == wanted
    assert {"plane", "threshold", "best", "outline", "probability", "brightness"} <= set(reached)
