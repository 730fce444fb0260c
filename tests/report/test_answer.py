"""What is recommended, and why."""

from dataclasses import replace
from typing import Any

import pytest

from brainseg.report.answer import COLUMNS, UNTIMED, answer_table, choose_all, tell_best
from brainseg.report.points import collect_points, scored_points
from brainseg.report.rows import TableRow

MIB = 2**20


def row(mode: str, ms: float | None, val: float | None, **values: Any) -> TableRow:
    """A row of a network whose fp32 with onnxruntime takes 40 ms, 100 MiB."""
    found = {
        **{"run": "ag-seed0", "variant": "ag", "attention": "ag", "data": "figshare"},
        **{"mode": mode, "device": "cpu", "runtime": "onnxruntime", "threads": 2},
        **{"size_bytes": 25 * MIB, "session": "s", "noisy": False, "delta_mean_iou": 0.0},
        **{"mean_iou": 0.8, "tumor_iou": 0.6, "val_mean_iou": val},
        # As if all patients showed the same change.
        **{"delta_val_mean_iou": 0.0, "tost": {"val": [0.0, 0.0], "test": [0.0, 0.0]}},
        "latency_ms": ms and {"p50": ms},
        "speedup_vs_reference": ms and 40 / ms,
    }
    return TableRow(**found | values)


def fp32(**values: Any) -> TableRow:
    return row("fp32", 40.0, 0.82, **({"size_bytes": 100 * MIB} | values))


def of_seed(seed: int, rows: list[TableRow]) -> list[TableRow]:
    return [replace(each, run=f"ag-seed{seed}", seed=seed) for each in rows]


def of_variant(variant: str, rows: list[TableRow]) -> list[TableRow]:
    return [
        replace(each, run=f"{variant}-seed0", variant=variant, attention=variant) for each in rows
    ]


def answer(rows: list[TableRow]) -> list[dict[str, str]]:
    table = answer_table(rows, choose_all(rows))
    return [dict(zip(COLUMNS, cells, strict=True)) for cells in table.rows]


def only(rows: list[TableRow]) -> dict[str, str]:
    (found,) = answer(rows)
    return found


def test_the_fastest_within_the_budget_is_recommended() -> None:
    static = row("int8_static", 12.5, 0.8199, runtime="openvino")
    assert only([row("int8_weights", 40.0, 0.82), fp32(), static]) == {
        "Device": "cpu",
        "Variant": "ag",
        "Deploy": "int8_static with openvino",
        "Latency, ms": "12.5",
        "Speed-up": "3.2×",
        "Δ validation": "−0.0001",
        "Why": "fastest",
    }


def test_of_equally_fast_ones_the_smallest_is_recommended_then_the_most_accurate() -> None:
    rows = [fp32(), row("int8_weights", 40.5, 0.82), row("fp16", 42.0, 0.82)]
    assert only(rows)["Deploy"] == "int8_weights with onnxruntime"
    rows = [fp32(), row("int8_static", 10.0, 0.8198), row("int8_dynamic", 10.1, 0.8199)]
    assert only(rows)["Deploy"] == "int8_dynamic with onnxruntime"


def test_validation_decides_and_not_test() -> None:
    rows = [
        fp32(),
        row("int8_static", 10.0, 0.8188, mean_iou=0.81),  # a gain on test, a loss on validation
        row("fp16", 20.0, 0.8199, mean_iou=0.79),  # the other way round
    ]
    assert only(rows)["Deploy"] == "fp16 with onnxruntime"
    assert only(rows)["Why"] == "fastest within the budget; int8_static (4.0×) loses 0.0012"


@pytest.mark.parametrize(
    ("val", "options", "fits"),
    [
        (0.8196, {}, True),  # 0.0004 to the last bit but for rounding
        (0.81959, {}, False),
        (0.81959, {"max_drop": None}, False),
        (0.81959, {"max_drop": 0.001}, True),
        (0.8198, {"max_drop": 0.0001}, False),
    ],
)
def test_a_row_brings_its_own_budget(val: float, options: dict[str, Any], fits: bool) -> None:
    found = only([fp32(), row("int8_static", 10.0, val, options=options)])
    assert found["Deploy"].startswith("int8_static" if fits else "fp32 with onnxruntime")


def test_a_loss_that_rounds_to_the_budget_is_told_exactly() -> None:
    assert only([fp32(), row("fp16", 20.0, 0.81959)])["Why"].endswith("fp16 (2.0×) loses 0.00041")


def test_what_is_faster_but_was_not_scored_is_named() -> None:
    found = only([fp32(), row("int8_static", 10.0, None), row("fp16", 39.0, 0.82)])
    assert found["Why"].endswith("int8_static (4.0×) was not scored on validation")


def test_the_loss_is_against_onnxruntime() -> None:
    rows = [
        fp32(),
        row("fp32", 60.0, 0.81, runtime="openvino"),
        row("int8_static", 12.0, 0.81, runtime="openvino", delta_val_mean_iou=0.0),
    ]
    assert only(rows)["Deploy"] == "fp32 with onnxruntime"
    assert "int8_static with openvino (3.3×) loses 0.01" in only(rows)["Why"]


def with_interval(
    mode: str, ms: float, val: float, low: float, high: float, **values: Any
) -> TableRow:
    """A row whose change on validation has an interval from `low` to `high`."""
    found = {"delta_val_mean_iou": val - 0.82, "tost": {"val": [low, high], "test": None}}
    return row(mode, ms, val, **found | values)


@pytest.mark.parametrize(
    ("interval", "margin", "deployed", "why"),
    [
        ((-0.0004, 0.0002), 0.0004, "int8_static", "fastest"),
        ((-0.0004, 0.0030), 0.0004, "int8_static", "fastest"),  # a gain is never refused
        (
            (-0.0012, 0.0008),
            0.0004,
            "fp32",
            "fastest shown; int8_static (4.0×) is not shown (−0.0012 to +0.0008)",
        ),
        ((-0.0012, 0.0008), 0.0012, "int8_static", "fastest"),
    ],
)
def test_what_is_recommended_is_shown_not_to_lose_the_margin(
    interval: tuple[float, float], margin: float, deployed: str, why: str
) -> None:
    rows = [fp32(), with_interval("int8_static", 10.0, 0.8199, *interval)]
    ((_, _, found, *_, told),) = answer_table(rows, choose_all(rows, margin), margin).rows
    assert (found.split()[0], told) == (deployed, why)


def test_the_margin_is_in_the_note() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    (note,) = answer_table(rows, choose_all(rows, 0.001), 0.001).notes
    assert "loses at most 0.0004 mean IoU on validation" in note
    assert "shown there to lose no more than 0.001 (--margin)" in note


def test_a_loss_within_the_margin_may_be_beyond_the_budget() -> None:
    rows = [fp32(), with_interval("int8_static", 10.0, 0.8194, -0.0008, -0.0004)]
    ((_, _, found, *_, told),) = answer_table(rows, choose_all(rows, 0.001)).rows
    assert found == "fp32 with onnxruntime"
    assert told == "fastest within the budget; int8_static (4.0×) loses 0.0006"


def test_the_fastest_of_each_kind_of_refusal_is_named() -> None:
    rows = [
        fp32(),
        with_interval("int8_static", 10.0, 0.8, -0.03, -0.01),
        with_interval("int8_dynamic", 12.5, 0.82, -0.001, 0.001),
        row("fp16", 20.0, 0.82),
    ]
    assert only(rows)["Deploy"] == "fp16 with onnxruntime"
    assert only(rows)["Why"] == (
        "fastest shown; int8_dynamic (3.2×) is not shown (−0.0010 to +0.0010); int8_static (4.0×) "
        "loses 0.02"
    )


def test_its_own_max_drop_is_a_margin_too() -> None:
    options = {"max_drop": 0.002}
    found = only([fp32(), with_interval("int8_static", 10.0, 0.819, -0.002, 0.0, options=options)])
    assert found["Deploy"] == "int8_static (drop 0.002) with onnxruntime"


def test_an_interval_against_another_runtime_is_moved_to_the_reference() -> None:
    """fp32 loses 0.0003 in OpenVINO, and int8_static 0.0001 more."""
    openvino = fp32(runtime="openvino", val_mean_iou=0.8197, latency_ms={"p50": 50.0})
    here = {"runtime": "openvino", "delta_val_mean_iou": -0.0001}
    for low, deployed in ((-0.0001, "int8_static"), (-0.0002, "fp32")):
        rows = [fp32(), openvino, with_interval("int8_static", 10.0, 0.8196, low, 0.0, **here)]
        assert only(rows)["Deploy"].startswith(deployed)
    assert only(rows)["Why"].endswith("is not shown (−0.0005 to −0.0003)")


def test_where_nothing_can_be_tested_the_budget_decides_and_that_is_told() -> None:
    unknown = {"tost": {"val": None, "test": None}}
    rows = [fp32(), row("int8_static", 10.0, 0.8198, **unknown), row("fp16", 9.0, 0.8, tost=None)]
    assert only(rows)["Deploy"] == "int8_static with onnxruntime"
    assert only(rows)["Why"] == (
        "fastest within the budget; fp16 (4.4×) loses 0.02; not tested over patients"
    )


def test_an_untested_mode_is_not_preferred_to_tested_ones() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82, tost=None), row("fp16", 20.0, 0.82)]
    assert only(rows)["Deploy"] == "fp16 with onnxruntime"
    assert only(rows)["Why"] == "fastest shown; int8_static (4.0×) is not tested over patients"


def test_intervals_of_seeds_are_averaged() -> None:
    rows = []
    for seed, low in enumerate((-0.0006, -0.0002)):
        static = with_interval("int8_static", 10.0, 0.82, low, 0.0)
        rows += of_seed(seed, [fp32(), row("fp16", 20.0, 0.82), static])
    assert only(rows)["Deploy"] == "int8_static with onnxruntime"
    rows[-1] = replace(rows[-1], tost=None)  # of one seed nothing is known
    assert only(rows)["Deploy"] == "fp16 with onnxruntime"


def test_fp32_with_a_hint_is_no_reference() -> None:
    hinted = row("fp32", 10.0, 0.8199, options={"precision": "bf16"}, tumor_iou=0.1)
    assert only([hinted, fp32()])["Deploy"] == "fp32 (bf16) with onnxruntime"


def test_without_tumours_found_only_speed_is_told() -> None:
    rows = [replace(each, tumor_iou=0.3) for each in (fp32(), row("int8_static", 10.0, 0.82))]
    found = only(rows)
    assert [found[name] for name in COLUMNS[2:6]] == ["–"] * 4
    assert found["Why"] == (
        "has learned too little (tumour IoU 0.30, below 0.5); fastest: int8_static (4.0×)"
    )


def test_validation_that_was_not_scored_is_asked_for() -> None:
    found = only([fp32(val_mean_iou=None), row("int8_static", 10.0, None)])
    assert found["Deploy"] == "–"
    assert found["Why"].startswith("not scored on validation (brainseg quantize RUN --mode all)")


def test_without_fp32_nothing_is_compared() -> None:
    rows = [row(mode, ms, 0.82) for mode, ms in (("fp16", 20.0), ("int8_static", 10.0))]
    assert only(rows)["Why"].startswith("fp32 with onnxruntime was not scored")


def test_a_reference_that_was_only_scored_does_not_stop_the_others() -> None:
    rows = [fp32(latency_ms=None), row("fp16", 20.0, 0.8), row("int8_static", 10.0, 0.8)]
    assert only(rows)["Why"].startswith("all lose too much on validation")


def test_seeds_are_averaged_first() -> None:
    rows = []
    for seed, (val, loss, ms) in enumerate([(0.80, 0.0, 8.0), (0.82, 0.0006, 10.0)]):
        rows += of_seed(seed, [fp32(val_mean_iou=val), row("int8_static", ms, val - loss)])
    found = only(rows)
    assert (found["Latency, ms"], found["Speed-up"]) == ("9.0", "4.5×")
    assert found["Δ validation"] == "−0.0003"


def test_seeds_that_did_not_learn_are_left_out() -> None:
    learned = of_seed(0, [fp32(), row("int8_static", 10.0, 0.8199)])
    blind = [fp32(tumor_iou=0.1), row("int8_static", 10.0, 0.9, tumor_iou=0.1)]
    found = only([*learned, *of_seed(1, blind)])
    assert found["Δ validation"] == "−0.0001"
    assert found["Why"] == "fastest; seeds with a tumour IoU below 0.5 left out: 1"


def test_noise_is_told() -> None:
    assert only([fp32(), row("fp16", 9.0, 0.82, noisy=True)])["Why"] == "fastest; noisy timing"


def test_variants_have_a_row_each_and_a_sentence_together() -> None:
    ag = [fp32(val_mean_iou=0.83), row("int8_static", 10.0, 0.83)]
    rows = [*ag, *of_variant("none", [fp32(), row("int8_static", 8.0, 0.82)])]
    assert [found["Variant"] for found in answer(rows)] == ["none", "ag"]
    assert tell_best(choose_all(rows)) == [
        "On cpu, the fastest variant is none as int8_static with onnxruntime; the most accurate on "
        "validation is ag (0.8300 mean IoU)."
    ]
    assert tell_best(choose_all(ag)) == []


def test_scores_on_other_data_and_times_of_other_sessions_are_no_contest() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    other = [replace(each, data="else") for each in of_variant("se", rows)]
    assert tell_best(choose_all([*rows, *other])) == [
        "On cpu, the fastest variant is ag as int8_static with onnxruntime."
    ]
    later = [replace(each, session="later") for each in other]
    assert tell_best(choose_all([*rows, *later])) == []


def test_devices_are_told_apart() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    cuda = [replace(each, device="cuda") for each in (fp32(), row("fp16", 3.0, 0.82))]
    gone = [
        replace(each, status="unavailable", reason="No CUDA\ndevice.", latency_ms=None)
        for each in cuda
    ]
    told, missing = answer([*rows, *gone])
    assert told["Device"] == "cpu"
    assert missing == dict.fromkeys(COLUMNS, "–") | {
        "Device": "cuda",
        "Why": "not measured: No CUDA device.",
    }
    assert [found["Deploy"].split()[0] for found in answer([*rows, *cuda])] == [
        "int8_static",
        "fp16",
    ]


def with_threads(threads: int, rows: list[TableRow]) -> list[TableRow]:
    """The rows, as much faster as there are threads."""
    return [
        replace(each, threads=threads, latency_ms={"p50": 2 * (each.median_ms or 0) / threads})
        for each in rows
    ]


def test_all_cores_are_recommended_for_and_named() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    every = [each for threads in (4, 1, 2) for each in with_threads(threads, rows)]
    found = only(every)
    assert (found["Device"], found["Latency, ms"]) == ("cpu (threads 4)", "5.0")
    cuda = [replace(each, device="cuda", threads=1) for each in rows]
    assert [found["Device"] for found in answer([*every, *cuda])] == ["cpu (threads 4)", "cuda"]


def test_a_number_of_threads_with_nothing_to_choose_from_hides_no_choice() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    alone = with_threads(8, [fp32()])
    assert only([*with_threads(4, rows), *with_threads(1, rows), *alone])["Device"] == (
        "cpu (threads 4)"
    )


def test_each_variant_is_compared_with_its_own_threads_and_no_others() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    other = of_variant("se", [*with_threads(1, rows), *with_threads(2, rows)])
    every = [*with_threads(4, rows), *with_threads(1, rows), *other]
    assert [(found["Device"], found["Variant"]) for found in answer(every)] == [
        ("cpu (threads 4)", "ag"),
        ("cpu (threads 2)", "se"),
    ]
    assert tell_best(choose_all(every)) == []  # different machines are no contest
    points = collect_points(every)
    assert len(points) == 8
    assert [(each.rows[0].variant, each.rows[0].threads) for each in scored_points(points)] == [
        *[("ag", 4)] * 2,
        *[("se", 2)] * 2,
    ]


def test_medians_of_two_sessions_are_no_speed_up() -> None:
    static = row("int8_static", 10.0, 0.82, speedup_vs_reference=None, session="later")
    assert only([fp32(), static])["Speed-up"] == "–"


def test_sessions_are_compared_by_their_ratios() -> None:
    slow = {"session": "busy", "latency_ms": {"p50": 50.0}, "speedup_vs_reference": 3.0}
    rows = [fp32(), row("fp16", 30.0, 0.82), row("int8_static", 50.0, 0.82, **slow)]
    assert only(rows)["Deploy"] == "int8_static with onnxruntime"


def test_one_configuration_is_no_choice() -> None:
    batch, untimed = row("int8_static", 5.0, 0.82, batch=8), row("int8_static", None, 0.82)
    for rows in ([], [fp32(), batch, untimed]):
        assert answer(rows) == []
        assert tell_best(choose_all(rows)) == [UNTIMED]


def test_scores_are_of_all_seeds_where_only_one_was_timed() -> None:
    timed = of_seed(0, [fp32(mean_iou=0.7), row("int8_static", 10.0, 0.8199, mean_iou=0.69)])
    untimed = {"latency_ms": None, "speedup_vs_reference": None}
    scored = of_seed(
        1, [fp32(mean_iou=0.9, **untimed), row("int8_static", None, 0.8197, mean_iou=0.91)]
    )
    reference, static = collect_points([*timed, *scored])
    assert (reference.latency, static.latency) == (40, 10)
    assert reference.mean("mean_iou") == reference.expected("mean_iou") == pytest.approx(0.8)
    assert static.expected("mean_iou") == pytest.approx(0.8)
    assert only([*timed, *scored])["Δ validation"] == "−0.0002"


def test_no_configuration_wins_by_the_luck_of_its_seeds() -> None:
    first = of_seed(0, [fp32(val_mean_iou=0.8), row("int8_static", 20.0, 0.8)])
    better = of_seed(1, [fp32(val_mean_iou=0.84), row("int8_static", 20.0, 0.84)])
    fast = of_seed(0, [row("int8_static", 10.0, 0.8, runtime="openvino")])
    (other,) = (point for point in collect_points([*first, *better, *fast]) if len(point.rows) == 1)
    assert other.mean("val_mean_iou") == pytest.approx(0.8)
    assert other.expected("val_mean_iou") == pytest.approx(0.82)
    assert only([*first, *better, *fast])["Deploy"] == "int8_static with openvino"
