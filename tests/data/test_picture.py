"""Everything in a picture file that changes its numbers is honoured or refused."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from brainseg.data.image import decode_image, read_image, read_mask
from brainseg.data.intensity import to_grey
from brainseg.data.picture import read_picture
from brainseg.errors import InputError

RAMP = np.arange(1, 12 * 7 + 1).reshape(12, 7)
DEEP = (RAMP * 700).astype(np.uint16)
DRAWN = np.zeros((12, 7), bool)
DRAWN[3:6, 2:4] = True
TURNS = {1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 6: np.rot90(RAMP, -1)}


def make_png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour_files_are_all_kept(tmp_path: Path, suffix: str, channels: int):
    layers = [DEEP] * 3 + [np.full_like(DEEP, 65535)] * (channels - 3)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.dstack(layers))
    assert np.array_equal(read_picture(path).values[..., 0], DEEP)
    assert np.array_equal(read_image(path), to_grey(DEEP, ""))


def test_sixteen_bits_with_alpha(tmp_path: Path):
    both = np.dstack([DEEP, np.full_like(DEEP, 65535)]).astype(">u2")
    both[0, :, 1] = 0
    rows = b"".join(b"\0" + row.tobytes() for row in both)
    (tmp_path / "a.png").write_bytes(make_png(7, 12, 16, 4, rows))
    pixels = read_image(tmp_path / "a.png")
    assert not pixels[0].any()
    assert np.array_equal(pixels[1:], to_grey(DEEP[1:], ""))


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64])
def test_tiff_of_any_type_is_scaled(tmp_path: Path, kind: type):
    values = (DEEP // 4).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values)
    decoded = decode_image(tmp_path / "a.tif")
    np.testing.assert_allclose(decoded.pixels, to_grey(values, ""), atol=1)
    assert "scaled to 8 bits" in decoded.note


def test_large_unsigned_numbers_stay_positive(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP.astype(np.uint32) * 60000)
    assert np.array_equal(read_image(tmp_path / "a.tif"), to_grey(DEEP, ""))


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_deep_rgb_tiff_is_grey_or_refused(tmp_path: Path, kind: type):
    grey = DEEP.astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([grey] * 3), photometric="rgb")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), to_grey(grey, ""), atol=1)
    tifffile.imwrite(tmp_path / "b.tif", np.dstack([grey, grey * 0, grey]), photometric="rgb")
    with pytest.raises(InputError, match=r"b\.tif is a colour image"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_zero(tmp_path: Path, kind: type):
    tifffile.imwrite(tmp_path / "a.tif", RAMP.astype(kind), photometric="miniswhite")
    pixels = read_image(tmp_path / "a.tif").astype(int)
    assert (np.diff(pixels.ravel()) < 0).all()
    top = np.iinfo(kind).max
    tifffile.imwrite(tmp_path / "m.tif", np.where(DRAWN, 0, top).astype(kind), photometric=0)
    assert np.array_equal(read_mask(tmp_path / "m.tif"), DRAWN)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp.png", "deep.tif"])
def test_orientation_is_honoured(tmp_path: Path, orientation: int, name: str):
    path, tags = tmp_path / name, Image.Exif()
    tags[0x0112] = orientation
    if name == "deep.tif":
        deep = np.dstack([RAMP.astype(np.uint16) * 700] * 3)
        extra = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, deep, photometric="rgb", extratags=extra)
        assert np.array_equal(read_picture(path).values[..., 0], TURNS[orientation] * 700)
    else:
        kind = {"a.png": "PNG", "a.tif": "TIFF"}.get(name, "WEBP")
        Image.fromarray(RAMP.astype(np.uint8)).save(path, kind, exif=tags, lossless=True)
        pixels = read_image(path).astype(int)
        assert np.array_equal(pixels, TURNS[orientation])


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "GIF", "WEBP"])
def test_several_pages_or_frames_are_refused(tmp_path: Path, kind: str):
    pages = [Image.fromarray((RAMP + 70 * n).astype(np.uint8)) for n in range(3)]
    pages[0].save(tmp_path / "a.png", kind, save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match=r"holds 3 pages or frames\."):
        read_image(tmp_path / "a.png")


def test_several_pages_of_floats_are_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 8, 8, 3), np.float32), photometric="rgb")
    with pytest.raises(InputError, match="several pages"):
        read_image(tmp_path / "a.tif")


def save_palette(path: Path, index: np.ndarray, colours: list[tuple[int, int, int]]) -> Path:
    image = Image.fromarray(index.astype(np.uint8), "P")
    image.putpalette([part for colour in colours for part in colour])
    image.save(path)
    return path


VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]


def test_in_a_map_of_colours_the_number_is_the_label(tmp_path: Path):
    assert np.array_equal(read_mask(save_palette(tmp_path / "a.png", DRAWN, VOC)), DRAWN)
    both = save_palette(tmp_path / "b.png", DRAWN * 3, VOC)
    both = save_palette(tmp_path / "b.png", DRAWN * 3 - (RAMP == 24), VOC)
    with pytest.raises(InputError, match=r"data\.labels=\[2,3\]"):
        read_mask(both)
    assert np.array_equal(read_mask(both, (2, 3)), DRAWN)


def test_a_palette_of_greys_is_read_as_shown(tmp_path: Path):
    path = save_palette(tmp_path / "a.png", ~DRAWN, [(255, 255, 255), (0, 0, 0)])
    assert np.array_equal(read_mask(path), DRAWN)


def test_a_palette_without_black_for_zero_is_refused(tmp_path: Path):
    path = save_palette(tmp_path / "a.png", ~DRAWN, [(255, 0, 0), (0, 0, 0)])
    with pytest.raises(InputError, match="first colour is not black"):
        read_mask(path)


def test_masks_keep_their_own_numbers(tmp_path: Path, save):
    labels = np.where(DRAWN, 2, 0).astype(np.uint16)
    labels[3, 2] = 4
    path = save(tmp_path / "a.png", labels)
    with pytest.raises(InputError, match=r"data\.labels=\[2,4\]"):
        read_mask(path)
    assert read_mask(path, (4,)).sum() == 1


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.dstack([DRAWN * 255, DRAWN * 0, DRAWN * 0]), "has colours"),
        (np.dstack([DRAWN * 1, DRAWN * 0, DRAWN * 0]), "has colours"),
        (np.dstack([DRAWN * 0] * 3 + [DRAWN * 255]), "has transparent pixels"),
    ],
)
def test_masks_in_colour_or_behind_glass_are_refused(tmp_path: Path, save, pixels, message: str):
    with pytest.raises(InputError, match=message):
        read_mask(save(tmp_path / "a.png", pixels.astype(np.uint8)))


def test_an_image_that_cannot_be_seen_is_refused(tmp_path: Path, save):
    hidden = np.dstack([RAMP, RAMP, RAMP, RAMP * 0]).astype(np.uint8)
    with pytest.raises(InputError, match="transparent everywhere"):
        read_image(save(tmp_path / "a.png", hidden))


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("YCbCr", ".jpg"), ("LAB", ".tif")])
def test_other_colour_spaces(tmp_path: Path, mode: str, suffix: str):
    grey = Image.fromarray((RAMP * 3).astype(np.uint8)).convert("RGB")
    grey.convert(mode).save(tmp_path / f"a{suffix}", quality=100)
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}"), RAMP * 3, atol=4)


def test_names_do_not_have_to_match_the_format(tmp_path: Path):
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(tmp_path / "a.png", "JPEG")
    assert (read_image(tmp_path / "a.png") == 100).all()


def test_other_formats_are_not_even_tried(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image \(it is no picture\)"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(200_000, 200_000), (6_000, 6_000)])
def test_declared_sizes_are_checked_before_memory_is_taken(tmp_path: Path, size: tuple[int, int]):
    (tmp_path / "a.png").write_bytes(make_png(*size, 8, 0, b"\0"))
    with pytest.raises(InputError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path, save):
    data = bytearray(save(tmp_path / "a.png", (RAMP * 3).astype(np.uint8)).read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        read_image(tmp_path / "a.png")


def test_a_single_pixel_is_an_image(tmp_path: Path, save):
    assert read_image(save(tmp_path / "a.png", np.full((1, 1), 7, np.uint8))).tolist() == [[7]]


def test_one_pixel_in_memory_is_what_pillow_shows(tmp_path: Path):
    packed = io.BytesIO()
    Image.fromarray(np.full((1, 1), 300, np.uint16)).save(packed, "PNG")
    (tmp_path / "a.png").write_bytes(packed.getvalue())
    assert read_picture(tmp_path / "a.png").values.tolist() == [[300]]
