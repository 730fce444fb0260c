"""Intervals of scores (`bootstrap`) and what differences are worth (`differences`)."""

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, permutation_test, t, ttest_1samp, ttest_rel
from sklearn.metrics import roc_auc_score

from brainseg.evaluation.bootstrap import (
    FEWEST,
    auc_bootstrap,
    expanded_percentiles,
    patient_bootstrap,
    pooled_bootstrap,
)
from brainseg.evaluation.differences import (
    holm,
    paired_interval,
    paired_test,
    training_interval,
    training_test,
)
from brainseg.evaluation.metrics import mean_iou, mean_ious, tumor_iou, tumor_ious
from brainseg.evaluation.patients import are_known


def tails(patients, level=0.95):
    """The percentiles of an expanded interval, as Hesterberg writes them."""
    low = norm.cdf(-np.sqrt(patients / (patients - 1)) * t.isf((1 - level) / 2, patients - 1))
    return low, 1 - low


def clustered(patients=30, seed=0):
    """Scores that differ more between patients than within one; 1 to 9 images each."""
    rng = np.random.default_rng(seed)
    names = [f"p{number}" for number in range(patients) for _ in range(rng.integers(1, 10))]
    levels = {name: rng.uniform(0.3, 0.9) for name in sorted(set(names))}
    return [levels[name] + rng.normal(0, 0.02) for name in names], names


def explicit_loop(values, patients, resamples, seed):
    rng = np.random.default_rng(seed)
    images = {}
    for value, patient in zip(values, patients, strict=True):
        images.setdefault(patient, []).append(value)
    names, means = list(images), []
    for _ in range(resamples):
        drawn = rng.choice(names, size=len(names), replace=True)
        means.append(np.mean([value for name in drawn for value in images[name]]))
    return np.quantile(means, tails(len(names)))


def test_one_image_per_patient_agrees_with_scipy():
    values = np.random.default_rng(1).beta(5, 2, size=60)
    low, high = tails(60)
    reference = bootstrap(
        (values,),
        np.mean,
        n_resamples=20000,
        confidence_level=high - low,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    found = patient_bootstrap(values, [f"p{i}" for i in range(60)], resamples=20000)
    width = reference.high - reference.low
    assert found == pytest.approx((reference.low, reference.high), abs=0.04 * width)


def test_several_images_per_patient_agree_with_an_explicit_loop():
    values, patients = clustered()
    low, high = explicit_loop(values, patients, resamples=4000, seed=3)
    found = patient_bootstrap(values, patients, resamples=20000)
    assert found == pytest.approx((low, high), abs=0.06 * (high - low))


@pytest.mark.parametrize("patients", [FEWEST, 15, 60])
def test_the_interval_of_a_mean_is_nearly_that_of_student(patients):
    values = np.random.default_rng(4).normal(0.7, 0.1, patients)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = patient_bootstrap(values, [f"p{i}" for i in range(patients)], resamples=20000)
    width = expected.high - expected.low
    assert found == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_few_patients_hold_the_truth_as_often_as_promised():
    rng, names = np.random.default_rng(0), [f"p{i}" for i in range(FEWEST)]
    held = [
        low <= 0.7 <= high
        for low, high in (
            patient_bootstrap(rng.normal(0.7, 0.1, FEWEST), names, seed=seed) for seed in range(500)
        )
    ]
    assert 0.92 <= np.mean(held) <= 0.98


def test_with_many_patients_nothing_is_expanded():
    values = np.random.default_rng(0).normal(size=5000)
    found = expanded_percentiles(values, 10**6, 0.9)
    assert found == pytest.approx(np.quantile(values, [0.05, 0.95]), abs=1e-4)


def test_interval_is_wider_than_one_over_images():
    values, patients = clustered()
    low, high = patient_bootstrap(values, patients)
    naive_low, naive_high = patient_bootstrap(values, [str(i) for i in range(len(values))])
    assert high - low > 1.5 * (naive_high - naive_low)
    assert low < np.mean(values) < high


def test_repeating_every_image_changes_nothing():
    values, patients = clustered()
    once = patient_bootstrap(values, patients)
    assert patient_bootstrap(values * 5, patients * 5) == pytest.approx(once, rel=1e-12)


def test_none_and_nan_are_left_out():
    values, patients = clustered()
    holes = [None, *values, float("nan")]
    named = ["p0", *patients, "only-undefined"]
    assert patient_bootstrap(holes, named) == patient_bootstrap(values, patients)


@pytest.mark.parametrize(
    ("values", "patients"),
    [
        ([], []),
        ([0.5, 0.7], ["a", "a"]),
        ([0.5, None], ["a", "b"]),
        ([None, None], ["a", "b"]),
    ],
)
def test_fewer_than_two_patients_have_no_interval(values, patients):
    assert patient_bootstrap(values, patients) is None


def test_few_patients_have_no_interval():
    names = [f"p{number}" for number in range(FEWEST)]
    assert patient_bootstrap(range(FEWEST), names) is not None
    assert patient_bootstrap(range(FEWEST - 1), names[:-1]) is None
    counts = paired_counts(FEWEST)[0][:FEWEST]
    for patients in (names, [*names[:-1], names[0]]):
        found = pooled_bootstrap(counts, patients, mean_ious)
        assert (found is None) == (len(set(patients)) < FEWEST)
    empty = np.array([[0, 5, 0, 100]] * 20)  # patients without tumour do not help
    more = [*names[:-1], *(f"healthy{i}" for i in range(20))]
    assert pooled_bootstrap(np.concatenate([counts[:-1], empty]), more, mean_ious) is None


@pytest.mark.parametrize("counts", [[0, 0, 50, 950], [50, 0, 0, 950]])
def test_scores_that_are_the_same_in_all_draws_have_no_interval(counts):
    names = [f"p{number}" for number in range(20)]
    assert pooled_bootstrap([counts] * 20, names, tumor_ious) is None
    assert patient_bootstrap([0.5] * 20, names) is None


def test_level_and_seed():
    values, patients = clustered()
    low, high = patient_bootstrap(values, patients, level=0.95)
    inner_low, inner_high = patient_bootstrap(values, patients, level=0.5)
    assert low < inner_low < inner_high < high
    assert patient_bootstrap(values, patients) == (low, high)
    assert patient_bootstrap(values, patients, seed=1) != (low, high)
    assert all(type(end) is float for end in (low, high))


def paired_counts(patients=20, seed=0):
    """Pixel counts of two networks: the second misses some of what the first finds."""
    rng = np.random.default_rng(seed)
    names = [f"p{number}" for number in range(patients) for _ in range(rng.integers(1, 6))]
    tp, fp, fn = (rng.integers(low, 400, len(names)) for low in (200, 0, 0))
    first = np.stack([tp, fp, fn, 4096 - tp - fp - fn], 1)
    lost = rng.integers(0, 30, len(names))
    return first, first + np.stack([-lost, 0 * lost, lost, 0 * lost], 1), names


def test_a_paired_interval_agrees_with_an_explicit_loop():
    first, second, names = paired_counts()
    rng, changes = np.random.default_rng(5), []
    clusters = {name: [i for i, other in enumerate(names) if other == name] for name in names}
    for _ in range(2000):
        drawn = [i for name in rng.choice(list(clusters), len(clusters)) for i in clusters[name]]
        changes.append(mean_iou(second[drawn]) - mean_iou(first[drawn]))
    found = paired_interval(first, second, names, mean_ious)
    np.testing.assert_allclose(found, np.quantile(changes, tails(20)), rtol=0.05)
    assert found[0] < mean_iou(second) - mean_iou(first) < found[1] < 0


def test_a_pair_of_equals_has_an_interval_of_nothing():
    first, _, names = paired_counts()
    assert paired_interval(first, first, names, mean_ious) == (0, 0)


def test_pairing_is_narrower_than_two_intervals():
    first, second, names = paired_counts()
    low, high = paired_interval(first, second, names, mean_ious)
    perfect = first.copy()
    perfect[:, 0] += perfect[:, 2]
    perfect[:, [1, 2]] = 0  # scores 1 in every draw
    alone = paired_interval(perfect, first, names, mean_ious)
    assert high - low < 0.5 * (alone[1] - alone[0])


def with_healthy(first, second, names):
    """Ten more images without tumour, some with false positives."""
    wrong = np.array([[0, i % 3 * 50, 0, 4096 - i % 3 * 50] for i in range(10)])
    return [np.concatenate([counts, wrong]) for counts in (first, second)], [*names, *[""] * 10]


def test_unknown_patients_without_tumour_are_patients_of_their_own():
    first, second, names = paired_counts()
    both, patients = with_healthy(first, second, names)
    named = [*names, *(f"healthy{i}" for i in range(10))]
    found = paired_interval(*both, patients, mean_ious)
    np.testing.assert_allclose(found, paired_interval(*both, named, mean_ious), rtol=0.1)


@pytest.mark.parametrize("metric", [mean_ious, tumor_ious])
@pytest.mark.parametrize("healthy", [30, 100, 400])
def test_few_tumours_among_many_clean_images_have_an_interval(metric, healthy):
    first, second, names = paired_counts(patients=FEWEST)
    clean = np.tile([0, 0, 0, 4096], (healthy, 1))
    both = [np.concatenate([counts, clean]) for counts in (first, second)]
    patients = [*names, *[""] * healthy]
    low, high = pooled_bootstrap(both[0], patients, metric)
    assert 0 < low < metric(both[0].sum(axis=0)) < high < 1
    lower, upper = paired_interval(*both, patients, metric)
    assert lower < metric(both[1].sum(axis=0)) - metric(both[0].sum(axis=0)) < upper < 0


def test_a_name_is_no_unknown_patient():
    first, _, names = paired_counts()
    (both, _), patients = with_healthy(first, first, names)
    for name in (str(len(names)), f"unknown {len(names)}"):
        renamed = [name if patient == "p0" else patient for patient in patients]
        assert pooled_bootstrap(both, renamed, mean_ious) == pooled_bootstrap(
            both, patients, mean_ious
        )


def test_slices_of_unknown_patients_are_no_evidence():
    first, second, names = paired_counts()
    both, patients = with_healthy(first, second, names)
    patients[3] = ""
    assert not are_known(both[0], patients)
    assert are_known(both[0], [*patients[:3], "p", *patients[4:]])
    assert paired_interval(*both, patients, mean_ious) is None
    assert paired_test(*both, patients, mean_ious) is None
    assert pooled_bootstrap(both[0], patients, mean_ious) is None
    assert paired_interval(first, second, ["one"] * len(first), mean_ious) is None


def test_seeds_are_averaged_within_each_draw():
    first, second, names = paired_counts()
    other, worse = second, second + np.array([-9, 0, 9, 0])  # of a second seed, worse than before
    low, high = paired_interval([first, other], [second, worse], names, mean_ious)
    changes = [mean_iou(second) - mean_iou(first), mean_iou(worse) - mean_iou(other)]
    assert low < np.mean(changes) < high
    twice = paired_interval([first, first], [second, second], names, mean_ious)
    assert twice == pytest.approx(paired_interval(first, second, names, mean_ious), rel=1e-12)


@pytest.mark.parametrize(("one", "many"), [(mean_iou, mean_ious), (tumor_iou, tumor_ious)])
def test_a_pooled_interval_agrees_with_an_explicit_loop(one, many):
    counts, _, names = paired_counts()
    rng, scores = np.random.default_rng(5), []
    clusters = {name: [i for i, other in enumerate(names) if other == name] for name in names}
    for _ in range(2000):
        drawn = [i for name in rng.choice(list(clusters), len(clusters)) for i in clusters[name]]
        scores.append(one(counts[drawn]))
    low, high = pooled_bootstrap(counts, names, many)
    assert (low, high) == pytest.approx(np.quantile(scores, tails(20)), rel=0.01)
    assert low < one(counts) < high
    assert pooled_bootstrap(counts[:1], names[:1], many) is None
    assert pooled_bootstrap(counts[:0], [], many) is None
    assert pooled_bootstrap(np.zeros((3, 4)), ["a", "b", "c"], many) is None


def nearly_alike(seed=0):
    """Two networks that differ by chance: what one loses on a patient, it gains on another."""
    first, _, names = paired_counts(seed=seed)
    moved = np.random.default_rng(seed).integers(-40, 41, len(first))
    return first, first + np.stack([-moved, 0 * moved, moved, 0 * moved], 1), names


@pytest.mark.parametrize("seed", range(3))
def test_the_paired_test_agrees_with_scipy(seed):
    first, second, names = nearly_alike(seed)
    order = sorted(set(names))
    sums = [
        [counts[[name == other for other in names]].sum(axis=0) for name in order]
        for counts in (first, second)
    ]
    both = np.concatenate(sums)

    def statistic(x, y):
        """Of patients, named by where their counts stand."""
        return mean_iou(both[x.astype(int)]) - mean_iou(both[y.astype(int)])

    count = len(order)
    reference = permutation_test(
        (np.arange(count, 2 * count), np.arange(count)),
        statistic,
        permutation_type="samples",
        n_resamples=4000,
        vectorized=False,
        rng=np.random.default_rng(7),
    )
    # SciPy doubles the smaller tail; the two agree where the distribution is symmetric.
    assert paired_test(first, second, names, mean_ious) == pytest.approx(reference.pvalue, abs=0.04)


def test_the_paired_test_is_right_about_certain_things():
    first, second, names = paired_counts()
    assert paired_test(first, second, names, mean_ious) == pytest.approx(1e-4)
    assert paired_test(first, first, names, mean_ious) == 1
    assert paired_test(second, first, names, mean_ious) == pytest.approx(1e-4)
    assert paired_test(first, second, ["one"] * len(first), mean_ious) == 1
    nothing = np.zeros_like(first)
    assert paired_test(nothing, nothing, names, mean_ious) is None
    once = paired_test(*nearly_alike(), mean_ious)
    assert once == paired_test(*nearly_alike(), mean_ious)


def test_chance_is_called_a_difference_as_rarely_as_promised():
    found = [paired_test(*nearly_alike(seed), mean_ious, resamples=499) for seed in range(60)]
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert 0.3 < np.mean(found) < 0.7


def test_slices_of_one_patient_are_no_evidence_of_their_own():
    first, second, names = nearly_alike(2)
    repeated = [np.concatenate([counts] * 10) for counts in (first, second)]
    once = paired_test(first, second, names, mean_ious)
    assert paired_test(*repeated, names * 10, mean_ious) == pytest.approx(once, abs=1e-9)


def test_holm_corrects_as_r_does():
    # p.adjust(c(0.01, 0.02, 0.03, 0.005), "holm") of R 4.
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_patients_whose_results_are_the_same_change_no_p_value():
    first, second, names = nearly_alike()
    once = paired_test(first, second, names, mean_ious)
    same = [np.concatenate([counts, first[:5]]) for counts in (first, second)]
    more = [*names, *(f"same{i}" for i in range(5))]
    assert paired_test(*same, more, mean_ious) == pytest.approx(once, abs=0.05)


def test_trainings_are_compared_by_a_paired_t_test():
    first, second = [0.70, 0.72, 0.69, 0.73], [0.74, 0.75, 0.70, 0.79]
    changes = np.subtract(second, first)
    assert training_test(changes) == pytest.approx(ttest_rel(second, first).pvalue)
    assert training_test([0.3]) is None
    assert training_test([0.0, 0.0]) == 1
    assert training_test([0.1, 0.1]) == 0


def test_luck_in_training_is_rarely_called_a_difference():
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        found = [training_test(rng.normal(0, 0.01, seeds)) < 0.05 for _ in range(400)]
        assert np.mean(found) < 0.09


def test_an_interval_over_trainings_is_that_of_student():
    changes = [0.01, 0.03, -0.005]
    reach = t.ppf(0.975, 2) * np.std(changes, ddof=1) / np.sqrt(3)
    mean = np.mean(changes)
    assert training_interval(changes) == pytest.approx((mean - reach, mean + reach))
    assert training_interval([0.01]) is None
    assert training_interval([0.01, 0.01]) == (0.01, 0.01)


def test_an_area_has_an_interval_over_patients():
    rng = np.random.default_rng(0)
    own, others = rng.normal(0.5, 1, 60).round(1), rng.normal(0, 1, 90).round(1)
    patients = [f"a{at // 3}" for at in range(60)]
    other_patients = [f"b{at // 6}" for at in range(90)]
    areas = []
    for _ in range(1000):
        picks = []
        for names in (patients, other_patients):
            each = sorted(set(names))
            drawn = rng.choice(each, len(each))
            picks.append([at for name in drawn for at, other in enumerate(names) if other == name])
        one, two = own[picks[0]], others[picks[1]]
        labels = [1] * len(one) + [0] * len(two)
        areas.append(roc_auc_score(labels, np.concatenate([one, two])))
    found = auc_bootstrap(own, others, patients, other_patients)
    assert found == pytest.approx(np.quantile(areas, tails(15)), abs=0.02)
    assert auc_bootstrap(own, own, patients, patients)[0] < 0.5
    assert auc_bootstrap(own, others, ["", *patients[1:]], other_patients) is None
    assert auc_bootstrap(own[:6], others, patients[:6], other_patients) is None
