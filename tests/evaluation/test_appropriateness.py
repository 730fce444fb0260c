import json

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.draw import ellipse
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image
from sklearn.metrics import roc_auc_score

from brainseg.evaluation.appropriateness import (
    COLUMNS,
    EXPECTED,
    LIMITS,
    compare_classes,
    measure_appropriateness,
)
from brainseg.evaluation.head import find_head
from brainseg.evaluation.tumor import count_components, measure_tumor
from brainseg.vocabulary import MEASURES

SIDE, RADIUS = 160, 64  # the drawn head's
CENTRE = (80, 80)
BRAIN, SCALP, SKULL = 90, 220, 10
CONTRAST = SCALP - SKULL


def disc(radius, centre=CENTRE, side=SIDE):
    rows, columns = np.indices((side, side))
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


def square(side, degrees=0.0):
    rows, columns = np.indices((SIDE, SIDE)) - 80
    angle = np.deg2rad(degrees)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return (abs(along) < side / 2) & (abs(across) < side / 2)


def draw_head():
    """Scalp, a skull as dark as air, and brain."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    for radius, grey in ((RADIUS, SCALP), (RADIUS - 5, SKULL), (RADIUS - 10, BRAIN)):
        image[disc(radius)] = grey
    return image


def draw(mask, grey=180, blur=0.0):
    """The head with a tumour of one grey value, its edge blurred."""
    share = gaussian_filter(mask.astype(float), blur) if blur else mask
    image = draw_head()
    return np.rint(image + share * (grey - image.astype(float))).astype(np.uint8)


def measure(mask, image=None):
    return measure_tumor(draw(mask) if image is None else image, mask)


def test_the_head_is_the_disc_with_its_skull():
    head = find_head(draw_head())
    assert np.count_nonzero(head.mask ^ disc(RADIUS)) < 0.02 * disc(RADIUS).sum()
    assert head.diameter == pytest.approx(2 * RADIUS, rel=0.01)
    assert head.centre == pytest.approx(CENTRE, abs=0.5)
    assert head.depth.max() == pytest.approx(RADIUS, abs=1)
    assert head.contrast == CONTRAST


def test_the_head_is_convex_as_in_scikit_image_though_an_airway_opens_at_the_edge():
    image = draw_head()
    image[100:, 70:90] = 0
    head = find_head(image).mask
    reference = convex_hull_image(disc(RADIUS) & (image > SKULL))
    assert np.count_nonzero(head ^ reference) < 0.005 * reference.sum()
    assert head[110, 80]


def test_a_frame_and_a_caption_are_not_of_the_head():
    image = draw_head()
    image[[0, -1]] = image[:, [0, -1]] = 255
    image[3:9, 5:60] = 255
    assert find_head(image).centre == pytest.approx(CENTRE, abs=0.5)


def test_the_edge_of_the_image_stands_for_the_surface_where_it_cuts_the_head():
    cut = find_head(np.ascontiguousarray(draw_head()[:120]))
    assert cut.depth[119, 80] == 1
    assert cut.depth[80, 80] == pytest.approx(40, abs=1)


def test_noise_and_light_leave_the_head_as_it_is():
    rng = np.random.default_rng(0)
    noisy = np.clip(0.5 * draw_head() + rng.rayleigh(4, (SIDE, SIDE)), 0, 255).astype(np.uint8)
    assert find_head(noisy).diameter == pytest.approx(2 * RADIUS, rel=0.02)


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64), np.uint8), np.full((64, 64), 90, np.uint8), 255 * disc(3, (9, 9))]
)
def test_without_a_head_only_shape_and_texture_are_defined(image):
    image = image.astype(np.uint8)
    assert find_head(image) is None
    tumor = disc(8, (30, 30), side=len(image))
    measures = measure_tumor(image, tumor)
    defined = {name for name, value in measures.items() if value is not None}
    assert defined == {"roundness", "solidity"} | (
        {"heterogeneity"} if image[tumor].any() else set()
    )


@pytest.mark.parametrize("radius", [3, 5, 8, 12, 20, 40])
def test_a_disc_is_round_and_solid_at_any_size(radius):
    measures = measure(disc(radius))
    assert measures["roundness"] == pytest.approx(1, abs=0.035)
    assert measures["solidity"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("degrees", [0, 10, 22.5, 30, 45])
def test_a_square_has_a_roundness_of_a_quarter_pi_at_any_angle(degrees):
    measures = measure(square(60, degrees))
    assert measures["roundness"] == pytest.approx(np.pi / 4, abs=0.025)
    assert measures["solidity"] == pytest.approx(1, abs=0.02)


def test_no_shape_is_rounder_than_a_disc():
    rng = np.random.default_rng(0)
    for _ in range(50):
        blob = gaussian_filter(rng.normal(size=(40, 40)), rng.uniform(1, 5))
        measures = measure(np.pad(blob > np.quantile(blob, 0.8), 60))
        assert 0 < measures["roundness"] <= 1
        assert 0 < measures["solidity"] <= 1 + 1e-9


def test_an_oval_is_less_round_but_solid_and_a_bay_is_neither():
    oval, bay = np.zeros((2, SIDE, SIDE), bool)
    oval[ellipse(80, 80, 30, 15)] = True
    # Ramanujan's perimeter of an ellipse.
    length = np.pi * (3 * 45 - np.sqrt((3 * 30 + 15) * (30 + 3 * 15)))
    assert measure(oval)["roundness"] == pytest.approx(
        4 * np.pi * (np.pi * 30 * 15) / length**2, abs=0.02
    )
    assert measure(oval)["solidity"] > 0.99
    bay[50:110, 50:110] = True
    bay[70:90, 60:110] = False
    reference = regionprops(bay.astype(int))[0].solidity
    assert measure(bay)["solidity"] == pytest.approx(reference, abs=0.02)
    assert measure(bay)["roundness"] < 0.5


def test_distance_to_the_surface_counts_from_edge_to_edge_in_diameters():
    for gap in (0, 10, 30):
        tumor = disc(8, (80, 80 - RADIUS + 8 + gap))
        expected = gap / (2 * RADIUS)
        assert measure(tumor)["surface_distance"] == pytest.approx(expected, abs=0.01)
    assert measure(disc(8, (5, 5)), draw_head())["surface_distance"] == 0  # outside the head


def test_distance_to_the_centre_is_the_centroid_s_whatever_the_direction():
    for centre in ((80, 80), (80, 112), (48, 80)):
        expected = np.hypot(*np.subtract(centre, CENTRE)) / (2 * RADIUS)
        assert measure(disc(6, centre))["centre_distance"] == pytest.approx(expected, abs=0.01)


def test_area_is_a_share_of_the_head():
    assert measure(disc(16))["area_share"] == pytest.approx((16 / RADIUS) ** 2, rel=0.05)


def test_a_clean_edge_is_as_sharp_as_the_step_and_blur_lowers_it():
    steps = [measure(disc(20), draw(disc(20), blur=blur))["sharpness"] for blur in (0, 1, 3, 6)]
    assert steps[0] == pytest.approx((180 - BRAIN) / CONTRAST, abs=0.01)
    assert steps == sorted(steps, reverse=True)
    assert steps[3] < 0.5 * steps[0]


def test_a_dark_tumour_can_be_as_sharp_as_a_bright_one():
    bright, dark = (measure(disc(20), draw(disc(20), BRAIN + by)) for by in (60, -60))
    assert dark["sharpness"] == pytest.approx(bright["sharpness"], abs=0.005)


def test_an_outline_drawn_too_wide_is_less_sharp():
    image = draw(disc(20))
    assert measure(disc(26), image)["sharpness"] < 0.5 * measure(disc(20), image)["sharpness"]


def test_a_bright_rim_a_dark_rim_and_none():
    core, image = disc(12), draw(disc(20), 180)
    assert measure(disc(20), image)["ring_contrast"] == 0
    image[core] = 60
    assert measure(disc(20), image)["ring_contrast"] == pytest.approx(120 / CONTRAST, abs=0.03)
    image[core] = 220
    assert measure(disc(20), image)["ring_contrast"] == pytest.approx(-40 / CONTRAST, abs=0.03)


def test_a_hole_belongs_to_the_tumour_that_encloses_it():
    image = draw(disc(20))
    image[disc(8)] = 40
    assert measure(disc(20) & ~disc(8), image) == measure(disc(20), image)


def test_heterogeneity_is_the_coefficient_of_variation():
    image = draw(disc(20))
    assert measure(disc(20), image)["heterogeneity"] == 0
    image[:, 80:][disc(20)[:, 80:]] = 60
    inside = image[disc(20)]
    assert measure(disc(20), image)["heterogeneity"] == pytest.approx(inside.std() / inside.mean())


def test_the_largest_region_is_measured():
    large, small = disc(14, (80, 100)), disc(6, (50, 60))
    image = draw(large | small)
    assert measure(large | small, image) == measure(large, image)
    assert count_components(large | small) == 2
    assert count_components(np.eye(4, dtype=bool)) == 1


def irregular():
    """A slice with texture and a tumour without symmetry, as an image and a mask."""
    rows, columns = np.indices((SIDE, SIDE))
    noise = gaussian_filter(np.random.default_rng(3).normal(size=(2, SIDE, SIDE)), (0, 5, 5)) * 18
    tumor = np.hypot(rows - 66, columns - 96) + 7 * noise[0] < 15
    image = draw(tumor, blur=1) + 15 * noise[1] * (draw_head() > 0)
    return np.clip(image, 0, 255).astype(np.uint8), tumor


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90, np.transpose])
def test_mirrored_and_turned_images_measure_the_same(turn):
    image, tumor = irregular()
    turned = measure_tumor(turn(image), turn(tumor))
    assert turned == pytest.approx(measure_tumor(image, tumor), abs=0.001)


@pytest.mark.parametrize("factor", [2, 3])
def test_larger_images_measure_nearly_the_same(factor):
    image, tumor = irregular()
    scaled = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(255 * tumor.astype(np.uint8), scaled.shape[::-1]) >= 128
    assert measure_tumor(scaled, mask) == pytest.approx(measure(tumor, image), abs=0.03)


def test_brighter_images_measure_the_same():
    image, tumor = irregular()
    dark = measure_tumor((image // 2).astype(np.uint8), tumor)
    assert dark == pytest.approx(measure_tumor(image, tumor), abs=0.003)


def test_masks_of_nothing_of_one_pixel_and_of_everything():
    nothing, one, all_ = disc(0), disc(1), np.ones((SIDE, SIDE), bool)
    assert (nothing.sum(), one.sum()) == (0, 1)
    assert set(measure(nothing).values()) == {None}
    undefined = {name for name, value in measure(one).items() if value is None}
    assert undefined == {"roundness", "solidity", "ring_contrast"}
    full = measure(all_, draw_head())
    assert full["sharpness"] is None  # nothing of the head is outside
    assert full["surface_distance"] == 0
    assert full["centre_distance"] == pytest.approx(0, abs=0.01)
    assert full["roundness"] == pytest.approx(np.pi / 4, abs=0.01)


def test_a_head_of_one_grey_value_has_no_scale_of_intensity():
    image = (90 * disc(RADIUS)).astype(np.uint8)
    measures = measure_tumor(image, disc(10))
    assert measures["sharpness"] is measures["ring_contrast"] is None
    assert measures["surface_distance"] is not None
    dark = measure_tumor(np.where(disc(10), 0, draw_head()), disc(10))
    assert dark["heterogeneity"] is None  # a mean of 0


def test_rows_are_of_tumour_classes_and_of_false_alarms():
    masks = np.stack([disc(10), disc(0), disc(0), disc(7) | disc(3, (50, 50))])
    images = np.stack([draw(mask) for mask in masks])
    classes = ["glioma", "pituitary", "notumor", "notumor"]
    rows = measure_appropriateness(list("abcd"), classes, ["1", "2", "", "4"], images, masks)
    assert [row["id"] for row in rows] == ["a", "b", "d"]
    assert all(list(row) == COLUMNS for row in rows)
    assert [row["detected"] for row in rows] == [True, False, True]
    assert [row["components"] for row in rows] == [1, 0, 2]
    assert [row["area_px"] for row in rows] == masks.sum(axis=(1, 2))[[0, 1, 3]].tolist()
    assert {rows[1][name] for name in MEASURES} == {None}
    assert rows[0] | measure_tumor(images[0], masks[0]) == rows[0]
    as_bytes = (masks * 255).astype(np.uint8)
    again = measure_appropriateness(list("abcd"), classes, ["1", "2", "", "4"], images, as_bytes)
    assert again == rows
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_rows_refuse_other_lengths_and_shapes():
    images, masks = np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8), bool)
    with pytest.raises(ValueError, match="differ"):
        measure_appropriateness("ab", ["glioma"] * 2, "12", images, masks[:, :4])
    with pytest.raises(ValueError, match="zip"):
        measure_appropriateness("a", ["glioma"] * 2, "12", images, masks)


def test_what_is_expected_is_measured_and_can_be_told_to_people():
    entries = [entry for entries in EXPECTED.values() for entry in entries]
    assert {entry.measure for entry in entries} <= MEASURES.keys()
    assert {entry.direction for entry in entries} == {"high", "low"}
    assert all(text.endswith(".") for text in (*LIMITS, *(entry.says for entry in entries)))
    asked = {(name, entry.measure) for name, group in EXPECTED.items() for entry in group}
    assert len(asked) == len(entries)


def rows_of(measure_, **values):
    """Rows with nothing but one measure, per class; `None` is a tumour that was not detected."""
    empty = dict.fromkeys(MEASURES)
    return [
        {"class": name, "patient": f"{name}{at}", "detected": value is not None}
        | empty
        | {measure_: value}
        for name, own in values.items()
        for at, value in enumerate(own)
    ]


def test_medians_are_those_of_the_class_where_it_was_measured():
    found = compare_classes(rows_of("roundness", glioma=[0.1, 0.2, 0.3, 0.4, None], notumor=[0.9]))
    medians = {entry["measure"]: entry["median"] for entry in found["glioma"]}
    assert (medians["roundness"], medians["solidity"]) == (0.25, None)


def test_expectations_compare_a_class_with_the_others_in_the_expected_direction():
    values = {
        "glioma": [0.2, 0.4, 0.7],
        "meningioma": [0.5, 0.8, 0.9, None],
        "pituitary": [0.6, 0.3],
    }
    rows = rows_of("roundness", **values, other=[0.0], notumor=[0.0])
    expected = compare_classes(rows)
    (glioma,) = (entry for entry in expected["glioma"] if entry["measure"] == "roundness")
    assert glioma["median"] == 0.4
    low = [roc_auc_score([1, 1, 1, 0, 0, *[0] * more], [-0.2, -0.4, -0.7, *others])
           for more, others in ((1, [-0.5, -0.8, -0.9]), (0, [-0.6, -0.3]))]  # fmt: skip
    assert glioma["auc"] == pytest.approx(dict(zip(("meningioma", "pituitary"), low, strict=True)))
    assert glioma["auc"] == pytest.approx({"meningioma": 8 / 9, "pituitary": 0.5})
    (meningioma,) = (entry for entry in expected["meningioma"] if entry["measure"] == "roundness")
    assert meningioma["auc"] == pytest.approx({"glioma": 8 / 9, "pituitary": 5 / 6})


def test_a_class_that_looks_like_the_others_is_told_by_chance():
    same = rows_of("roundness", glioma=[0.5], meningioma=[0.5], pituitary=[0.5])
    for entries in compare_classes(same).values():
        for entry in (entry for entry in entries if entry["measure"] == "roundness"):
            assert set(entry["auc"].values()) == {0.5}


def test_without_others_or_without_rows_nothing_is_compared():
    for rows in ([], rows_of("roundness", glioma=[0.5, 0.6]), rows_of("roundness", tumor=[0.5])):
        found = json.loads(json.dumps(compare_classes(rows), allow_nan=False))
        entries = [entry for entries in found.values() for entry in entries]
        assert {area for entry in entries for area in entry["auc"].values()} == {None}


def test_drawn_classes_that_look_as_they_should_agree():
    names, images, masks = [], [], []
    for shift in range(-3, 4):
        glioma = disc(14, (60 + shift, 90)) & ~disc(9, (60 + shift, 104))
        blurred = draw(glioma, 130, blur=3)
        blurred[disc(5, (62 + shift, 86))] = 60
        meningioma, pituitary = disc(12, (80 + shift, 32)), disc(6, (80 + shift, 80))
        names += ["glioma", "meningioma", "pituitary"]
        masks += [glioma, meningioma, pituitary]
        images += [blurred, draw(meningioma, 200), draw(pituitary, 180)]
    texts = [str(index) for index in range(len(names))]
    rows = measure_appropriateness(texts, names, texts, np.stack(images), np.stack(masks))
    expected = compare_classes(rows)
    for entry in expected["glioma"]:
        assert min(entry["auc"].values()) > 0.9, entry
    for name in ("meningioma", "pituitary"):
        for entry in expected[name]:
            assert entry["auc"]["glioma"] > 0.9, entry
