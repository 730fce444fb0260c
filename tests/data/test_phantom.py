import dataclasses
import socket
from pathlib import Path

import numpy as np
import pytest
from nilearn import datasets
from PIL import Image
from scipy import ndimage

from brainseg.data.layouts.folder import read_folder
from brainseg.data.phantom import write as phantom
from brainseg.data.phantom.anatomy import paint_head, templates
from brainseg.data.phantom.face import face
from brainseg.data.phantom.field import Ellipsoid, Tube, inside, mirrored, smooth_noise, union
from brainseg.data.phantom.tumor import SELLA, dura_depth, is_near, outline, place
from brainseg.errors import InputError
from brainseg.files import read_csv
from brainseg.vocabulary import CLASSES, TUMORS

RECIPE = {"patients": 24, "slices": 2, "size": 48, "seed": 3, "difficulty": "easy"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "set"
    phantom.write_phantom(root, **RECIPE)
    return root


@pytest.fixture(scope="module")
def brain_mask():
    image = datasets.load_mni152_brain_mask(resolution=1)
    return image.get_fdata() > 0.5, image.affine[:3, 3]


def look_up(volume, origin, points):
    index = np.round(points - origin.reshape(3, 1, 1)).astype(int)
    limit = np.array(volume.shape).reshape(3, 1, 1)
    within = ((index >= 0) & (index < limit)).all(0)
    return np.where(within, volume[tuple(np.clip(index, 0, limit - 1))], 0)


def bytes_of(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def read(path):
    return np.asarray(Image.open(path))


def patients(kind, difficulty="easy", count=6):
    first = CLASSES.index(kind)
    return [phantom.make_patient(first + 4 * turn, 5, difficulty) for turn in range(count)]


def central(patient, size=96):
    """Image and mask of the slice through the tumour's centre, and its MNI coordinates."""
    image, mask = phantom.draw_slice(patient, 0.0, size, np.random.default_rng(0))
    return image / 255, mask, phantom.slice_points(patient, 0.0, size)


def test_layout_is_that_of_the_real_data(root):
    names = {f"{number}.png" for number in range(1, 49)}
    assert {path.name for path in root.iterdir()} == {
        "images",
        "masks",
        "labels.csv",
        "phantom.json",
    }
    for folder in ("images", "masks"):
        assert {path.name for path in (root / folder).iterdir()} == names
        for path in (root / folder).iterdir():
            with Image.open(path) as image:
                assert (image.mode, image.size) == ("L", (48, 48))
    cases = read_folder(root)
    assert len(cases) == 48
    assert cases[2].patient == "phantom-3-0002"
    assert cases[2].label == "meningioma"


def test_classes_have_equal_shares_and_a_patient_has_one(root):
    rows = read_csv(root / "labels.csv")
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 49)]
    assert {(row["patient"], row["class"]) for row in rows} == {
        (f"phantom-3-{number + 1:04d}", CLASSES[number % 4]) for number in range(24)
    }


def test_another_seed_draws_other_patients():
    assert phantom.name_patient(0, 0) == "phantom-0001"
    assert len({phantom.name_patient(n, seed) for n in range(20) for seed in range(20)}) == 400


def test_masks_are_empty_for_notumor_only_and_never_trivial(root):
    for row in read_csv(root / "labels.csv"):
        mask = read(root / "masks" / f"{row['id']}.png")
        assert set(np.unique(mask)) <= {0, 255}
        if row["class"] == "notumor":
            assert not mask.any()
        else:
            assert (mask > 0).sum() >= 5  # 20 pixels at 96×96


def test_same_arguments_give_the_same_bytes(root, tmp_path):
    phantom.write_phantom(tmp_path / "again", **RECIPE)
    assert bytes_of(tmp_path / "again") == bytes_of(root)


def test_a_patient_is_the_same_in_a_larger_set_and_another_with_another_seed(root, tmp_path):
    phantom.write_phantom(tmp_path / "few", **RECIPE | {"patients": 12})
    phantom.write_phantom(tmp_path / "other", **RECIPE | {"patients": 12, "seed": 4})
    for number in range(1, 25):
        name = f"images/{number}.png"
        assert (tmp_path / "few" / name).read_bytes() == (root / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (root / name).read_bytes()


def test_every_class_is_shown_in_three_planes():
    for kind in CLASSES:
        assert {patient.plane for patient in patients(kind, count=3)} == set(phantom.PLANES)


def test_slices_are_oriented_anterior_and_superior_up():
    for patient in patients("notumor", count=3):
        points = phantom.slice_points(patient, 0.0, 32)
        up, left = (points[:, 0] - points[:, -1]).mean(1), (points[:, :, 0] - points[:, :, -1])
        assert np.argmax(np.abs(up)) == (1 if patient.plane == "axial" else 2)
        assert up.max() > 150
        if patient.plane == "sagittal":
            assert np.argmax(left.mean(1)) == 1


def test_templates_need_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the templates asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    templates.cache_clear()
    assert set(templates()) == {"gray", "white", "depth", "vessels"}


def test_depth_agrees_with_the_brain_mask(brain_mask):
    mask, origin = brain_mask
    points = np.random.default_rng(0).uniform(-60, 60, (3, 40, 40))
    depth = templates()["depth"].at(points)
    within = look_up(mask, origin, points) > 0
    assert within[depth > 6].mean() > 0.95  # but for deep fissures, which count as brain
    assert not within[depth < -4].any()


@pytest.mark.parametrize("kind", TUMORS)
@pytest.mark.parametrize("difficulty", list(phantom.DIFFICULTIES))
def test_tumours_lie_inside_the_head(kind, difficulty):
    for patient in patients(kind, difficulty, 3):
        _, mask, points = central(patient)
        depth = templates()["depth"].at(points)
        healthy = paint_head(points, points, depth, patient.tissue, patient.texture)
        head = ndimage.binary_fill_holes(healthy > 0.02)
        assert mask.any()
        assert head[mask].all()


def test_glioma_lies_in_the_brain_with_a_bright_rim_around_a_dark_core(brain_mask):
    for patient in patients("glioma"):
        image, mask, points = central(patient)
        assert (look_up(*brain_mask, points)[mask] > 0).mean() > 0.9  # fissures are no brain
        deep = ndimage.distance_transform_edt(mask)
        rim, core = image[(deep > 1.5) & (deep < 3)], image[deep > 0.85 * deep.max()]
        assert rim.mean() > 2 * core.mean()


def test_oedema_is_dark_and_no_part_of_the_mask():
    for patient in patients("glioma"):
        image, mask, points = central(patient)
        healthy, _, _ = central(dataclasses.replace(patient, tumor=None))
        around = ndimage.distance_transform_edt(~mask)
        # Two pixels off, where the soft edge of the rim has ended.
        swollen = (around > 2) & (around < 4) & (templates()["depth"].at(points) > 4)
        assert image[swollen].mean() < 0.85 * healthy[swollen].mean()
        # Farther off it only moves the brain aside, and nothing outside the brain.
        far = (around > 20) & (templates()["depth"].at(points) < -2)
        np.testing.assert_allclose(image[far], healthy[far], atol=2 / 255)


def test_meningioma_touches_the_dura_and_stays_below_the_skull(brain_mask):
    mask, origin = brain_mask
    beyond = ndimage.distance_transform_edt(~mask)
    for patient in patients("meningioma", count=10):
        _, tumour, points = central(patient)
        # Off the brain, on its outside (deep fissures are not).
        outside = look_up(beyond, origin, points)[tumour]
        assert outside.max() < 8
        if patient.tumor.falx:  # on one side of the midline, and reaching it
            side = patient.tumor.falx * points[0][tumour]
            assert -2 < side.min() < 2 or patient.plane == "sagittal"
        else:
            assert templates()["depth"].at(points)[tumour].min() < 1.5


@pytest.mark.parametrize(("kind", "highest"), [("glioma", -1), ("meningioma", 1.5)])
def test_outlines_stop_at_the_surface_of_the_brain(kind, highest):
    tumor = dataclasses.replace(patients(kind, count=1)[0].tumor, falx=0.0)
    height = np.array([[highest - 0.5, highest + 0.5]])
    points = np.broadcast_to(tumor.centre.reshape(3, 1, 1), (3, 1, 2))
    np.testing.assert_array_equal(outline(tumor, points, -height) > 0, [[True, False]])


def test_pituitary_tumours_grow_in_the_sella():
    for patient in patients("pituitary"):
        _, mask, points = central(patient)
        x, y, z = points[:, mask].mean(1)
        assert abs(x) < 8
        assert abs(y - SELLA[1]) < 8
        assert -36 < z < -10
        if patient.plane != "sagittal":  # near the middle column
            assert abs(np.nonzero(mask)[1].mean() / 95 - 0.5) < 0.1


def test_meningioma_and_pituitary_are_homogeneous_and_glioma_is_not():
    spread = {
        kind: [image[mask].std() / image[mask].mean() for image, mask, _ in map(central, group)]
        for kind, group in ((kind, patients(kind)) for kind in TUMORS)
    }
    assert max(spread["meningioma"] + spread["pituitary"]) < 0.15
    assert min(spread["glioma"]) > 0.25


def test_easy_tumours_are_large_and_brighter_than_all_else():
    for kind in TUMORS:
        for patient in patients(kind):
            image, mask, _ = central(patient)
            assert 0.015 < mask.mean() < 0.08
            bright = np.median(image[mask]) if kind != "glioma" else np.quantile(image[mask], 0.8)
            assert bright > 1.15 * np.quantile(image[~mask], 0.99)


def test_hard_tumours_are_smaller_and_fainter():
    for kind in TUMORS:
        hard, easy = (
            [central(patient, 64) for patient in patients(kind, difficulty)]
            for difficulty in ("hard", "easy")
        )
        assert np.mean([m.mean() for _, m, _ in hard]) < np.mean([m.mean() for _, m, _ in easy])
        assert max(i[m].mean() for i, m, _ in hard) < min(i[m].max() for i, m, _ in easy)


def test_glioma_centres_avoid_the_midline_and_meningioma_centres_follow_the_surface():
    depth = templates()["depth"].at
    for trial in range(10):
        rng = np.random.default_rng(trial)
        assert abs(place("glioma", 25.0, 0, rng, depth)[0]) > 12
        centre = place("meningioma", 20.0, 0, rng, depth)
        assert depth(centre[:, None])[0] == pytest.approx(12.0, abs=1.0)
        assert place("meningioma", 20.0, -1, rng, depth)[0] == -12


def test_smooth_noise_is_standardised_smooth_and_its_own():
    rng = np.random.default_rng(0)
    points = rng.uniform(-120, 120, (3, 20_000))
    first, second = smooth_noise(rng, 9.0), smooth_noise(rng, 9.0)
    assert first(points).mean() == pytest.approx(0, abs=0.1)
    assert first(points).std() == pytest.approx(1, abs=0.1)
    assert np.abs(first(points + 0.5) - first(points)).max() < 0.6
    assert np.corrcoef(first(points), second(points))[0, 1] == pytest.approx(0, abs=0.1)


def test_inside_is_half_at_the_edge():
    np.testing.assert_allclose(inside(np.array([-3.0, 0.0, 0.5, 3.0])), [0, 0.5, 0.75, 1])


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    original = phantom.draw_patient

    def interrupted(number, **recipe):
        if number == 3:
            raise KeyboardInterrupt
        return original(number, **recipe)

    monkeypatch.setattr(phantom, "draw_patient", interrupted)
    with pytest.raises(KeyboardInterrupt):
        phantom.write_phantom(tmp_path / "set", **RECIPE)
    assert list(tmp_path.iterdir()) == []


def test_the_set_of_a_faster_process_is_kept(root, tmp_path, monkeypatch):
    target, original = tmp_path / "set", phantom.write_files

    def overtaken(folder: Path, recipe):
        original(folder, recipe)
        target.mkdir()
        original(target, recipe)
        (target / "theirs").touch()

    monkeypatch.setattr(phantom, "write_files", overtaken)
    phantom.write_phantom(target, **RECIPE | {"patients": 12, "slices": 1})
    assert (target / "theirs").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_finished_set_is_not_drawn_again(root, monkeypatch):
    monkeypatch.setattr(phantom, "write_files", lambda *_: pytest.fail("drawn again"))
    phantom.write_phantom(root, **RECIPE)


def test_a_folder_with_other_files_is_refused_and_kept(root):
    before = bytes_of(root)
    with pytest.raises(InputError, match="Choose another folder"):
        phantom.write_phantom(root, **RECIPE | {"seed": 9})
    assert bytes_of(root) == before


@pytest.mark.parametrize("number", [1, 2, 5])
def test_any_number_of_patients_is_drawn(root, tmp_path, number):
    phantom.write_phantom(tmp_path / "few", **RECIPE | {"patients": number})
    rows = read_csv(tmp_path / "few" / "labels.csv")
    assert rows == read_csv(root / "labels.csv")[: 2 * number]
    for row in rows:
        name = f"images/{row['id']}.png"
        assert (tmp_path / "few" / name).read_bytes() == (root / name).read_bytes()


@pytest.mark.parametrize("difficulty", list(phantom.DIFFICULTIES))
def test_healthy_slices_are_of_the_same_heads_and_show_no_tumour(tmp_path, difficulty):
    recipe = RECIPE | {"patients": 8, "difficulty": difficulty}
    phantom.write_phantom(tmp_path / "without", **recipe)
    phantom.write_phantom(tmp_path / "with", **recipe, healthy_slices=3)
    rows = read_csv(tmp_path / "with" / "labels.csv")
    assert [row["id"] for row in rows] == [str(number + 1) for number in range(8 * 2 + 6 * 3)]
    classes = {}
    for row in rows:
        empty = not read(tmp_path / "with" / "masks" / f"{row['id']}.png").any()
        assert empty == (row["class"] == "notumor")
        classes.setdefault(row["patient"], []).append(row["class"])
    assert list(classes.values()) == 2 * [
        *([kind] * 2 + ["notumor"] * 3 for kind in TUMORS),
        ["notumor"] * 2,
    ]
    # The other slices are what they are without.
    for first, second in ((1, 1), (2, 2), (3, 6), (4, 7)):
        theirs = tmp_path / "with" / "images" / f"{second}.png"
        assert theirs.read_bytes() == (tmp_path / "without/images" / f"{first}.png").read_bytes()


@pytest.mark.parametrize("kind", TUMORS)
def test_healthy_slices_equal_those_of_the_head_without_its_tumour(kind):
    for patient in patients(kind, "hard", 3):
        offsets = phantom.healthy_offsets(patient, 4, np.random.default_rng(0))
        assert len(offsets) == 4
        for offset in offsets:
            without = dataclasses.replace(patient, tumor=None)
            points = phantom.slice_points(patient, offset, 48)
            depth = templates()["depth"].at(points)
            assert (depth > 0).mean() > 0.03  # it shows brain
            assert not is_near(patient.tumor, points, depth).any()
            image, mask = phantom.draw_slice(patient, offset, 48, np.random.default_rng(0))
            healthy, _ = phantom.draw_slice(without, offset, 48, np.random.default_rng(0))
            assert not mask.any()
            # but for the brain that the tumour has pushed aside
            assert np.abs(image.astype(float) - healthy).mean() < 2


def test_more_healthy_slices_than_places_are_drawn():
    patient = patients("glioma", "hard", 1)[0]
    assert len(phantom.healthy_offsets(patient, 100, np.random.default_rng(0))) == 100


def test_the_dura_beside_a_meningioma_is_brighter_than_elsewhere():
    ratios = []
    for patient in patients("meningioma", "hard", 12):
        image, mask, points = central(patient)
        around = ndimage.distance_transform_edt(~mask) * patient.view / 96  # mm
        depth = templates()["depth"].at(points)
        surface = dura_depth(patient.tumor, points, depth)
        dura = (np.abs(surface + 1) < 1.5) & (depth > -2) & (around > 2)
        tail = dura & (around < 0.3 * patient.radius)
        if tail.sum() >= 5:
            ratios.append(image[tail].mean() / np.median(image[dura & (around > 30)]))
    assert len(ratios) >= 6
    assert min(ratios) > 1.3


def test_rims_of_gliomas_vary_in_thickness():
    spread = []
    for patient in patients("glioma"):
        image, mask, _ = central(patient)
        rows, columns = np.nonzero(mask)
        angles = np.arctan2(rows - rows.mean(), columns - columns.mean())
        bright = image[mask] > 0.75 * patient.tumor.brightness
        sectors = np.digitize(angles, np.linspace(-np.pi, np.pi, 9)) - 1
        shares = [bright[sectors == sector].mean() for sector in range(8)]
        spread.append(np.std(shares) / np.mean(shares))
    assert np.mean(spread) > 0.2


def test_hard_tumours_cover_what_real_ones_cover():
    """Quantiles of mask areas measured on figshare: 2 % and 98 % of each class."""
    real = {"glioma": (0.003, 0.064), "meningioma": (0.0023, 0.048), "pituitary": (0.002, 0.026)}
    for kind, (low, high) in real.items():
        areas = np.array([central(p, 48)[1].mean() for p in patients(kind, "hard", 24)])
        assert 0.5 * low < areas.min() < 4 * low
        assert 0.5 * high < areas.max() < 1.5 * high
        assert low < np.median(areas) < 0.6 * high


def test_hard_slices_are_as_bright_as_real_ones():
    """Medians over figshare: of the head 0.22 to 0.35, of the darkest and brightest pixels."""
    images = [central(p, 64)[0] for kind in TUMORS for p in patients(kind, "hard", 6)]
    head = [np.median(image[image > 0.08]) for image in images]
    assert 0.2 < np.median(head) < 0.33
    assert 0.5 < np.median([np.quantile(image, 0.99) for image in images]) < 0.8
    assert np.median([np.quantile(image, 0.05) for image in images]) < 0.02


def test_a_head_has_bright_fat_and_sinuses_dark_fluid_air_and_bone():
    patient = dataclasses.replace(
        patients("notumor", count=2)[1], warp=(np.zeros_like,) * 3, folds=(np.zeros_like,) * 3
    )
    patient = dataclasses.replace(patient, texture=lambda points: np.zeros(points.shape[1:]))

    def shade(*place):
        points = np.array(place, float).reshape(3, 1)
        depth = templates()["depth"].at(points)
        return paint_head(points, points, depth, patient.tissue, patient.texture)[0]

    white = shade(-24, -30, 32)
    assert white == pytest.approx(patient.tissue["white"], rel=0.1)
    assert shade(0, -94, -18) > 1.05 * white  # torcular
    assert shade(36, 44, -48) > 0.6 * patient.tissue["fat"]  # orbit
    for dark in ((-6, 14, 12), (32, 62, -41), (28, 52, -70), (0, 8, -76), (0, -150, 0)):
        assert shade(*dark) < 0.7 * white  # ventricle, eye, maxillary sinus, throat, outside


def test_noise_free_shapes_have_the_distances_of_geometry():
    points = np.random.default_rng(0).uniform(-20, 20, (3, 500))
    ball, tube = Ellipsoid((2, 0, 0), (6, 6, 6)), Tube((-8, 0, 0), (8, 0, 0), 3.0)
    radius = np.linalg.norm(points - [[2], [0], [0]], axis=0)
    np.testing.assert_allclose(ball.distance(points), 6 - radius, atol=1e-4)
    nearest = np.stack([np.clip(points[0], -8, 8), 0 * points[0], 0 * points[0]])
    np.testing.assert_allclose(
        tube.distance(points), 3 - np.linalg.norm(points - nearest, axis=0), atol=1e-9
    )
    volume = union([ball, tube], (-24, -24, -24), (24, 24, 24), 1.0, reach=40.0)
    both = np.maximum(ball.distance(points), tube.distance(points))
    np.testing.assert_allclose(volume.at(points), both, atol=0.5)


def test_a_face_is_symmetric():
    points = np.random.default_rng(0).uniform([[-80], [-100], [-170]], [[80], [100], [0]], (3, 400))
    for volume in face().values():
        np.testing.assert_allclose(
            volume.at(points), volume.at(points * [[-1], [1], [1]]), atol=1e-3
        )
    assert len(mirrored([Ellipsoid((3, 0, 0), (1, 1, 1)), Ellipsoid((0, 0, 0), (1, 1, 1))])) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": 0}, "patients of at least 1; found patients=0"),
        ({"healthy_slices": -1}, "healthy_slices of at least 0"),
        ({"slices": 0}, "slices of at least 1"),
        ({"size": 16}, "size of at least 32"),
        ({"seed": -1}, "seed of at least 0"),
        ({"difficulty": "medium"}, "Unknown difficulty medium. Choose from: easy, hard"),
    ],
)
def test_wrong_arguments_are_explained(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        phantom.write_phantom(tmp_path / "set", **RECIPE | change)
    assert list(tmp_path.iterdir()) == []
