"""The page's modules in chromium, against NumPy, Pillow, OpenCV and nibabel."""

import base64
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image
from playwright.sync_api import Browser, Page

from brainseg.data.image import decode_image, resize_image
from brainseg.data.intensity import to_grey
from brainseg.data.layouts.nifti_volume import load_volume
from brainseg.errors import InputError
from brainseg.predict.resize import resize_map
from brainseg.predict.segment import segment
from brainseg.predict.settings import Settings
from brainseg.runtime.open import open_session

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def page(browser: Browser, serving, make_package, model: Path, tmp_path_factory) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(serving(make_package(tmp_path_factory.mktemp("modules"), model)))
    yield page
    page.close()


def call(page: Page, module: str, body: str, given: Any) -> Any:
    """Run the body of a function of `m`, a module of the page, and `given`."""
    script = f"""async (given) => {{
        const m = await import(new URL("page/{module}", document.baseURI).href);
        const toFile = ([name, bytes]) => new File(
            [Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], name);
        {body}
    }}"""
    return page.evaluate(script, given)


def packed(name: str, data: bytes) -> list[str]:
    return [name, base64.b64encode(data).decode()]


def test_images_are_resized_as_by_opencv(page: Page):
    shapes = [(31, 33), (32, 32), (5, 97), (64, 96), (70, 64), (96, 96), (2, 50), (99, 120)]
    images = [RNG.integers(0, 256, shape, np.uint8) for shape in shapes]
    given = [[*image.shape, image.ravel().tolist()] for image in images]
    for size in (32, 45):
        body = f"""return given.map(([height, width, pixels]) =>
            [...m.resizeImage(Uint8Array.from(pixels), width, height, {size})])"""
        for image, found in zip(images, call(page, "resize.mjs", body, given), strict=True):
            assert np.array_equal(resize_image(image, size).ravel(), found), (image.shape, size)


@pytest.mark.parametrize("shape", [(32, 32), (97, 200), (1, 300), (16, 16)])
def test_probabilities_are_resized_as_in_python(page: Page, shape: tuple[int, int]):
    values = RNG.random((32, 32), np.float32)
    body = "return [...m.resizeProbability(Float32Array.from(given[0]), 32, 32, ...given[1])]"
    found = call(page, "resize.mjs", body, [values.ravel().tolist(), shape[::-1]])
    assert np.array_equal(resize_map(values, *shape).ravel(), np.array(found, np.float32))


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("shape", [(32, 32), (40, 71), (50, 20)])
def test_images_are_segmented_as_in_python(
    page: Page, model: Path, keep_aspect: bool, shape: tuple[int, int]
):
    image = RNG.integers(0, 256, shape, np.uint8)
    settings = Settings(keep_aspect=keep_aspect)
    expected = segment(open_session(model), image[None], settings)[0]
    body = """const base = new URL(".", document.baseURI);
        const manifest = { ...await m.readManifest(base), keep_aspect: given[0] };
        const network = await m.Network.open(manifest, base, 1, () => {});
        const small = await network.segment(Uint8Array.from(given[1]), ...given[2]);
        const full = network.enlarge(small, ...given[2]);
        network.close();
        return [...full]"""
    found = call(page, "network.mjs", body, [keep_aspect, image.ravel().tolist(), shape[::-1]])
    assert np.abs(expected.ravel() - np.array(found)).max() < 1e-6


NUMBERS = {
    "bright pixels": np.append(RNG.gamma(2, 200, 4000), [1e6, np.nan, np.inf]),
    "padding apart": np.append(np.full(500, -1000.0), RNG.gamma(2, 200, 4000)),
    "padding beside black": np.concatenate(
        [np.full(500, -1.0), np.zeros(900), RNG.gamma(2, 9, 4000)]
    ),
    "padding above": np.append(RNG.gamma(2, 200, 4000), np.full(300, 65535.0)),
    "a floor below zero": np.append(np.full(2000, -50.0), RNG.gamma(2, 30, 4000) - 45),
    "some noise below zero": np.append(RNG.normal(0, 1, 90), RNG.gamma(2, 30, 4000)),
    "integers": RNG.integers(0, 4096, 5000).astype(float),
    "one value": np.full(50, 7.0),
    "nothing": np.zeros(50),
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_numbers_become_grey_as_in_python(page: Page, values: np.ndarray):
    body = "return [...m.toGrey(Float64Array.from(given.map((each) => each ?? NaN)), 'x')]"
    given = [value if np.isfinite(value) else None for value in values.tolist()]
    found = call(page, "intensity.mjs", body, given)
    assert np.array_equal(to_grey(values, "x").ravel(), found)


@pytest.mark.parametrize("values", [np.full(9, np.nan), RNG.normal(0, 1, 900)])
def test_what_cannot_be_grey_is_refused_in_the_same_words(page: Page, values: np.ndarray):
    with pytest.raises(InputError) as caught:
        to_grey(values, "x")
    body = """try { m.toGrey(Float64Array.from(given, (each) => each ?? NaN), "x"); }
        catch (error) { return error.message; }"""
    given = [value if np.isfinite(value) else None for value in values.tolist()]
    told = call(page, "intensity.mjs", body, given)
    assert told.split(".")[0] == str(caught.value).split(".")[0]


def save_picture(values: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    smooth = np.clip(np.hypot(*np.mgrid[-20:20, -23:30]) * 9, 0, 255).astype(np.uint8)
    noisy = RNG.integers(0, 256, (37, 41), np.uint8)
    grey = Image.fromarray(noisy)
    alpha = Image.merge("LA", (grey, Image.fromarray(RNG.integers(0, 256, noisy.shape, np.uint8))))
    tinted = Image.merge("RGB", (grey, grey.point(lambda value: max(value - 9, 0)), grey))
    turned = Image.Exif()
    turned[274] = 6
    return {
        "grey.png": save_picture(noisy, "PNG"),
        "bits.png": save_picture(Image.fromarray(noisy > 127), "PNG"),
        "deep.png": save_picture(noisy.astype(np.uint16) * 13 + 5, "PNG"),
        "alpha.png": save_picture(alpha, "PNG"),
        "tinted.png": save_picture(tinted, "PNG"),
        "tinted-alpha.png": save_picture(tinted.convert("RGBA"), "PNG"),
        "palette.png": save_picture(grey.convert("P"), "PNG"),
        "key.png": save_picture(grey, "PNG", transparency=int(noisy[0, 0])),
        "few.png": save_picture(grey.quantize(4), "PNG", bits=2),
        "grey.bmp": save_picture(noisy, "BMP"),
        "tinted.bmp": save_picture(tinted, "BMP"),
        "grey.jpg": save_picture(smooth, "JPEG"),
        "turned.jpg": save_picture(smooth, "JPEG", exif=turned),
        "rgb.jpg": save_picture(np.repeat(smooth[..., None], 3, 2), "JPEG"),
        "lossless.webp": save_picture(np.repeat(noisy[..., None], 3, 2), "WEBP", lossless=True),
        "lossy.webp": save_picture(np.repeat(smooth[..., None], 3, 2), "WEBP"),
    }


@pytest.mark.parametrize(("name", "data"), pictures().items(), ids=list(pictures()))
def test_pictures_are_read_as_in_python(page: Page, tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    expected = decode_image(tmp_path / name).pixels
    body = """const { pixels, width, height } = await m.readPicture(toFile(given));
        return [[...pixels], height, width]"""
    found, *shape = call(page, "picture.mjs", body, packed(name, data))
    assert tuple(shape) == expected.shape
    apart = np.abs(expected.ravel() - np.array(found))
    lossy = name.endswith((".jpg", "lossy.webp"))  # decoders may round differently
    assert apart.max() <= (2 if lossy else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pngs_are_written_for_other_readers(page: Page, dtype: type):
    values = RNG.integers(0, np.iinfo(dtype).max, (7, 11), dtype, endpoint=True)
    kind = values.dtype.name.capitalize()
    body = f"return [...await m.writePng({kind}Array.from(given), 11, 7, 'Not a medical device.')]"
    data = bytes(call(page, "png.mjs", body, values.ravel().tolist()))
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), values)
        assert image.info["Disclaimer"] == "Not a medical device."


OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, 0.2, -0.4) @ np.diag([1.5, 2.0, 0.8]), [-30, 20, 7]
)


@pytest.mark.parametrize(
    "dtype", ["|u1", "|i1", "<i2", ">i2", "<u2", "<i4", ">u4", "<f4", ">f8", "<i8", "<u8"]
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_volumes_are_read_as_in_python(page: Page, tmp_path: Path, dtype: str, kind: Any):
    values = RNG.gamma(2, 20, (5, 6, 7)).clip(0, 120).astype(dtype)
    image = kind(values, OBLIQUE, kind.header_class(endianness="<" if dtype[0] != ">" else ">"))
    image.set_data_dtype(dtype)
    path = tmp_path / ("x.nii.gz" if dtype[-1] == "8" else "x.nii")
    nib.save(image, path)
    body = """const { header, grey } = await m.readVolume(toFile(given));
        return [[...grey], header.affine, header.shape, header.volume]"""
    grey, affine, shape, volume = call(
        page, "nifti.mjs", body, packed(path.name, path.read_bytes())
    )
    expected, turned = load_volume(path)
    code = nib.io_orientation(image.affine)
    assert np.allclose(affine, image.affine[:3], atol=1e-4)
    assert tuple(shape) == values.shape
    assert volume == pytest.approx(1.5 * 2.0 * 0.8, rel=1e-5)
    found = np.array(grey, np.uint8).reshape(values.shape, order="F")
    assert np.array_equal(apply_orientation(found, code), to_grey(expected, "x"))
    assert np.allclose(turned, image.affine @ inv_ornt_aff(code, values.shape))


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_volumes_are_written_on_the_voxels_of_another(
    page: Page, tmp_path: Path, kind: Any, endianness: str
):
    header = kind.header_class(endianness=endianness)
    image = kind(RNG.random((5, 6, 7, 1)).astype(np.float32), OBLIQUE, header)
    image.set_qform(OBLIQUE, 1)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"of the original"))
    nib.save(image, tmp_path / "x.nii")
    values = RNG.random(5 * 6 * 7, np.float32)
    body = """const { header } = await m.readVolume(toFile(given[0]));
        const made = [Float32Array.from(given[1]), Uint8Array.from(given[1], Math.round)];
        const write = async (each) => [...await m.writeVolume(header, each, "Words.")];
        return Promise.all(made.map(write))"""
    given = [packed("x.nii", (tmp_path / "x.nii").read_bytes()), values.tolist()]
    written = call(page, "nifti.mjs", body, given)
    for data, expected in zip(written, (values, np.rint(values)), strict=True):
        made = kind.from_bytes(gzip.decompress(bytes(data)))
        assert made.header.endianness == endianness
        assert made.shape == (5, 6, 7)
        assert np.array_equal(made.get_fdata().ravel(order="F"), expected.astype(np.float32))
        assert np.array_equal(made.affine, nib.load(tmp_path / "x.nii").affine)
        assert not made.header.extensions
        assert made.header["descrip"].item() == b"brainseg. Words."


def test_scaling_counts(page: Page, tmp_path: Path):
    image = nib.Nifti1Image(RNG.random((4, 4, 4)) * 300 - 5, np.eye(4))
    image.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
    nib.save(image, tmp_path / "x.nii")
    values = nib.load(tmp_path / "x.nii").get_fdata()
    assert not np.array_equal(values, np.rint(values))
    body = "return [...(await m.readVolume(toFile(given))).grey]"
    found = call(page, "nifti.mjs", body, packed("x.nii", (tmp_path / "x.nii").read_bytes()))
    assert np.array_equal(to_grey(values, "x").ravel(order="F"), found)


def orientations() -> list[np.ndarray]:
    """Every way in which axes can lie, and oblique ones."""
    codes = [
        f"{a}{b}{c}" for a in "RLAPSI" for b in "RLAPSI" for c in "RLAPSI"
        if len({"RLAPSI".index(letter) // 2 for letter in (a, b, c)}) == 3
    ]  # fmt: skip
    ways = [ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(code)) for code in codes]
    straight = [inv_ornt_aff(way, (4, 5, 6)) for way in ways]
    return [
        *straight,
        *(each @ OBLIQUE for each in straight),
        *(OBLIQUE @ each for each in straight),
    ]


def test_axes_are_found_as_by_nibabel(page: Page):
    affines = orientations()
    body = """return given.map((each) => m.orient(each)
        .map(({ axis, flipped }) => [axis, flipped ? -1 : 1]))"""
    found = call(page, "affine.mjs", body, [each[:3].tolist() for each in affines])
    for affine, axes in zip(affines, found, strict=True):
        assert np.array_equal(nib.io_orientation(affine), axes), affine


@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 0), ("coronal", 1), ("axial", 2)])
def test_slices_are_cut_as_in_python_and_put_back(page: Page, plane: str, axis: int):
    values = RNG.integers(0, 256, (4, 5, 6), np.uint8)
    body = """const [values, shape, affine, plane] = given;
        const cuts = m.cut(shape, m.orient(affine), plane, [1, 1, 1]);
        const slices = Array.from({ length: cuts.count },
            (_, i) => m.takeSlice(Uint8Array.from(values), cuts, i));
        const back = new Uint8Array(values.length);
        slices.forEach((slice, i) => m.putSlice(slice, back, cuts, i));
        return [slices.map((slice) => [...slice]), [cuts.height, cuts.width], [...back]]"""
    for affine in orientations()[::3]:
        given = [values.ravel(order="F").tolist(), values.shape, affine[:3].tolist(), plane]
        slices, shape, back = call(page, "affine.mjs", body, given)
        turned = apply_orientation(values, nib.io_orientation(affine))
        expected = [np.take(turned, i, axis)[::-1, ::-1].T for i in range(turned.shape[axis])]
        assert tuple(shape) == expected[0].shape
        assert np.array_equal([each.ravel() for each in expected], slices)
        assert back == given[0]
