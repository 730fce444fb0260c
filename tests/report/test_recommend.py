from typing import Any

import pytest

from brainseg.report.points import collect_points
from brainseg.report.recommend import UNTIMED, recommend
from brainseg.report.table import COLUMNS

Row = dict[str, Any]
MIB = 2**20


def row(mode: str, ms: float | None, val: float | None, **values: Any) -> Row:
    """A row of a network whose fp32 with onnxruntime takes 40 ms, 100 MiB."""
    found = {
        **{"run": "ag-seed0", "variant": "ag", "attention": "ag", "data": "figshare"},
        **{"mode": mode, "options": {}, "runtime": "onnxruntime", "device": "cpu", "batch": 1},
        **{"threads": 2, "status": "ok", "size_bytes": 25 * MIB, "session": "s", "noisy": False},
        **{"mean_iou": 0.8, "tumor_iou": 0.6, "val_mean_iou": val, "delta_mean_iou": 0.0},
        "latency_ms": ms and {"p50": ms},
        "speedup_vs_reference": ms and 40 / ms,
    }
    assert values.keys() <= set(COLUMNS)
    return dict.fromkeys(COLUMNS) | found | values


def fp32(**values: Any) -> Row:
    return row("fp32", 40.0, 0.82, **({"size_bytes": 100 * MIB} | values))


def of_seed(seed: int, rows: list[Row]) -> list[Row]:
    return [each | {"run": f"ag-seed{seed}", "seed": seed} for each in rows]


def of_variant(variant: str, rows: list[Row]) -> list[Row]:
    names = {"run": f"{variant}-seed0", "variant": variant, "attention": variant}
    return [each | names for each in rows]


def test_the_fastest_within_the_budget_is_recommended() -> None:
    static = row(
        "int8_static",
        12.5,
        0.8199,
        runtime="openvino",
        mean_iou=0.7998,
        delta_mean_iou=-0.0002,
        delta_mean_iou_interval=[-0.0006, 0.0002],
    )
    assert recommend([row("int8_weights", 40.0, 0.82), fp32(), static]) == [
        "On cpu deploy int8_static with openvino (ag): 3.2× as fast as fp32 with onnxruntime, 25 % "
        "of its size, mean IoU −0.0001 on validation, −0.0002 (−0.0006 to +0.0002) on test.",
        "Why not another on cpu: int8_weights: same speed as fp32.",
    ]


def test_of_equally_fast_ones_the_smallest_is_recommended() -> None:
    told = recommend([fp32(), row("int8_weights", 40.5, 0.82), row("fp16", 42.0, 0.82)])
    assert told[0].startswith("On cpu deploy int8_weights with onnxruntime (ag)")


def test_validation_decides_and_not_test() -> None:
    rows = [
        fp32(),
        row("int8_static", 10.0, 0.8188, mean_iou=0.81),  # a gain on test, a loss on validation
        row("fp16", 20.0, 0.8199, mean_iou=0.79),  # the other way round
    ]
    first, others = recommend(rows)
    assert first.startswith("On cpu deploy fp16 with onnxruntime (ag): 2.0× as fast")
    assert first.endswith("mean IoU −0.0001 on validation, −0.0100 on test.")
    assert others == (
        "Why not another on cpu: int8_static: loses 0.0012 on validation, more than 0.0004."
    )


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
def test_a_row_brings_its_own_budget(val: float, options: Row, fits: bool) -> None:
    first = recommend([fp32(), row("int8_static", 10.0, val, options=options)])[0]
    assert first.startswith("On cpu deploy int8_static") == fits
    assert first.startswith("On cpu stay with fp32 with onnxruntime (ag)") != fits


def test_a_loss_that_rounds_to_the_budget_is_told_exactly() -> None:
    text = recommend([fp32(), row("fp16", 20.0, 0.81959)])[-1]
    assert text.endswith("fp16: loses 0.000410 on validation, more than 0.0004.")


def test_the_loss_is_against_onnxruntime() -> None:
    rows = [
        fp32(),
        row("fp32", 60.0, 0.81, runtime="openvino"),
        row("int8_static", 12.0, 0.81, runtime="openvino", delta_val_mean_iou=0.0),
    ]
    first, others = recommend(rows)
    assert first.startswith("On cpu stay with fp32 with onnxruntime (ag)")
    assert "fp32 with openvino: slower than fp32 (0.7×)" in others
    assert "int8_static with openvino: loses 0.0100 on validation" in others


def test_the_interval_is_left_out_where_it_is_about_another_reference() -> None:
    static = row(
        "int8_static",
        12.0,
        0.82,
        runtime="openvino",
        mean_iou=0.799,
        delta_mean_iou=-0.0002,
        delta_mean_iou_interval=[-0.0006, 0.0002],
    )
    assert recommend([fp32(), static])[0].endswith("0.0000 on validation, −0.0010 on test.")


def test_of_equally_fast_ones_the_dominated_one_loses() -> None:
    large = row("fp16", 20.0, 0.82, size_bytes=50 * MIB)
    small = row("int8_static", 20.0, 0.82)
    for rows in ([fp32(), large, small], [small, large, fp32()]):
        first, others = recommend(rows)
        assert first.startswith("On cpu deploy int8_static")
        assert others.endswith("fp16: dominated by int8_static (2.0×).")


def test_nothing_is_dominated_by_what_ties_with_it() -> None:
    as_fast = row("fp32", 39.5, 0.82, runtime="openvino", size_bytes=100 * MIB)
    assert recommend([fp32(), as_fast]) == [
        "On cpu stay with fp32 with onnxruntime (ag): nothing faster keeps its loss of mean IoU on "
        "validation within the budget.",
        "Why not another on cpu: fp32 with openvino: same speed as fp32.",
    ]


def test_reasons_of_the_others() -> None:
    rows = [
        fp32(),
        row("fp32", 20.0, 0.8202, runtime="openvino", options={"precision": "bf16"}),
        row("int8_dynamic", 57.1, 0.819),
        row("int8_weights", 40.3, 0.8199, options={"per_channel": True}),
        row("int8_static", 25.0, None),
        row("int8_static", 10.0, 0.8199, runtime="openvino"),
    ]
    assert recommend(rows)[1] == (
        "Why not another on cpu: fp32 (bf16) with openvino: only 2.0×; "
        "int8_dynamic: slower than fp32 (0.7×); int8_weights (per channel): same speed as fp32; "
        "int8_static: not scored on validation."
    )


def test_fp32_with_a_hint_is_no_reference() -> None:
    hinted = row("fp32", 10.0, 0.8199, options={"precision": "bf16"}, tumor_iou=0.1)
    assert recommend([hinted, fp32()])[0].startswith("On cpu deploy fp32 (bf16) with onnxruntime")


def test_without_tumours_found_only_speed_is_told() -> None:
    rows = [
        each | {"tumor_iou": 0.3} for each in (fp32(), row("int8_static", 10.0, 0.82, noisy=True))
    ]
    assert recommend(rows) == [
        "On cpu no recommendation on accuracy (ag): with 0.30 on test the tumour IoU of fp32 is "
        "below 0.5, too low for a small loss to mean anything. "
        "By speed alone the fastest is int8_static with onnxruntime (4.0×, noisy)."
    ]


def test_validation_that_was_not_scored_is_asked_for() -> None:
    rows = [fp32(val_mean_iou=None), row("int8_static", 10.0, None)]
    (text,) = recommend([*rows, *of_variant("se", rows)])
    assert text == (
        "On cpu no recommendation on accuracy (ag, se): validation was not scored, run "
        "`brainseg quantize RUN --mode all`. "
        "By speed alone the fastest is int8_static with onnxruntime (4.0×)."
    )


def test_without_fp32_nothing_is_compared() -> None:
    rows = [row(mode, ms, 0.82) for mode, ms in (("fp16", 20.0), ("int8_static", 10.0))]
    (text,) = recommend(rows)
    assert "fp32 with onnxruntime was not scored there" in text


def test_seeds_are_averaged_first() -> None:
    rows = []
    for seed, (val, loss, ms) in enumerate([(0.80, 0.0, 8.0), (0.82, 0.0006, 10.0)]):
        static = row("int8_static", ms, val - loss, mean_iou=0.8 - loss)
        rows += of_seed(seed, [fp32(val_mean_iou=val), static])
    assert recommend(rows) == [
        "On cpu deploy int8_static with onnxruntime (ag, 2 seeds): 4.5× as fast as fp32 with "
        "onnxruntime, 25 % of its size, mean IoU −0.0003 on validation, −0.0003 ± 0.0004 on test."
    ]


def test_seeds_that_did_not_learn_are_left_out() -> None:
    learned = of_seed(0, [fp32(), row("int8_static", 10.0, 0.8199)])
    blind = [fp32(tumor_iou=0.1), row("int8_static", 10.0, 0.9, tumor_iou=0.1)]
    first = recommend([*learned, *of_seed(1, blind)])[0]
    assert first.startswith("On cpu deploy int8_static with onnxruntime (ag): ")
    assert "mean IoU −0.0001 on validation" in first
    assert first.endswith("Seeds left out: 1, tumour IoU of fp32 below 0.5.")


def test_variants_have_a_sentence_each_and_one_together() -> None:
    ag = [fp32(val_mean_iou=0.83), row("int8_static", 10.0, 0.83), row("int8_dynamic", 80.0, 0.83)]
    none = [fp32(), row("int8_static", 8.0, 0.82), row("int8_dynamic", 50.0, 0.82)]
    texts = recommend([*ag, *of_variant("none", none)])
    assert [text.partition(":")[0] for text in texts] == [
        "On cpu deploy int8_static with onnxruntime (none)",
        "On cpu deploy int8_static with onnxruntime (ag)",
        "Overall on cpu",
        "Why not another on cpu",
    ]
    assert texts[2] == (
        "Overall on cpu: int8_static with onnxruntime for none and ag. Fastest of these: none "
        "(8.0 ms). Most accurate on validation: ag (mean IoU 0.8300); whether beyond chance is "
        "told below."
    )
    assert texts[3].endswith("cpu: int8_dynamic: slower than fp32 (0.5–0.8×).")


def test_verdicts_that_differ_name_their_variants() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82), row("fp16", 20.0, 0.82)]
    lossy = [fp32(), row("int8_static", 10.0, 0.81), row("fp16", 20.0, 0.82)]
    texts = recommend([*rows, *of_variant("none", rows), *of_variant("se", lossy)])
    assert texts[-2].startswith(
        "Overall on cpu: int8_static with onnxruntime for none and ag; fp16 with onnxruntime for se"
    )
    assert texts[-1] == (
        "Why not another on cpu: fp16: dominated by int8_static (2.0×) for none and ag; "
        "int8_static: loses 0.0100 on validation, more than 0.0004 for se."
    )


def test_scores_on_other_data_are_no_contest() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    other = [each | {"data": "else"} for each in of_variant("se", rows)]
    assert recommend([*rows, *other])[2].endswith("Fastest of these: ag (10.0 ms).")


def test_noise_is_told() -> None:
    rows = [fp32(), row("fp16", 50.0, 0.82, noisy=True), row("int8_static", 9.0, 0.82, noisy=True)]
    first, others = recommend(rows)
    assert first.endswith("on test. Its timing is noisy.")
    assert others.endswith("fp16: slower than fp32 (0.8×, noisy).")


def test_devices_and_threads_are_told_apart() -> None:
    rows = [fp32(), row("int8_static", 10.0, 0.82)]
    cuda = [each | {"device": "cuda"} for each in (fp32(), row("fp16", 3.0, 0.82))]
    gone = [
        each
        | {"device": "cuda", "status": "unavailable", "latency_ms": None, "mean_iou": None}
        | {"reason": "torch finds no CUDA device."}
        for each in rows
    ]
    only_cpu = "On cpu deploy int8_static with onnxruntime (ag): 4.0×"
    told, missing = recommend([*rows, *gone])
    assert told.startswith(only_cpu)
    assert missing == "On cuda: not measured. torch finds no CUDA device."
    first, second = recommend([*rows, *cuda])
    assert first.startswith(only_cpu)
    assert second.startswith("On cuda deploy fp16 with onnxruntime (ag)")
    single = [each | {"threads": 1} for each in rows]
    starts = [text.partition(" deploy")[0] for text in recommend([*rows, *single])]
    assert starts == ["On cpu (threads 1)", "On cpu (threads 2)"]


def test_a_speed_up_is_a_ratio_within_one_session() -> None:
    static = row("int8_static", 10.0, 0.82, speedup_vs_reference=None)
    assert ": 4.0× as fast" in recommend([fp32(), static])[0]
    assert ": 10.0 ms, 25 % of" in recommend([fp32(), static | {"session": "later"}])[0]


def test_one_configuration_is_no_choice() -> None:
    batch = row("int8_static", 5.0, 0.82, batch=8)
    untimed = row("int8_static", None, 0.82)
    assert recommend([]) == [UNTIMED]
    assert recommend([fp32(), batch, untimed]) == [UNTIMED]
    gone = fp32(device="cuda", status="unavailable", reason="No CUDA device.", latency_ms=None)
    assert recommend([fp32(), untimed, gone]) == [UNTIMED, "On cuda: not measured. No CUDA device."]


def test_scores_are_of_all_seeds_where_only_one_was_timed() -> None:
    timed = of_seed(0, [fp32(mean_iou=0.7), row("int8_static", 10.0, 0.8199, mean_iou=0.69)])
    scored = of_seed(
        1,
        [
            fp32(latency_ms=None, mean_iou=0.9, speedup_vs_reference=None),
            row("int8_static", None, 0.8197, mean_iou=0.91),
        ],
    )
    reference, static = collect_points([*timed, *scored])
    assert (reference.latency, static.latency) == (40, 10)
    assert reference.mean("mean_iou") == reference.expected("mean_iou") == pytest.approx(0.8)
    assert static.expected("mean_iou") == pytest.approx(0.8)
    assert recommend([*timed, *scored]) == [
        "On cpu deploy int8_static with onnxruntime (ag, 2 seeds): 4.0× as fast as fp32 with "
        "onnxruntime, 25 % of its size, mean IoU −0.0002 on validation, 0.0000 ± 0.0141 on test."
    ]


def test_nothing_is_dominated_by_the_luck_of_a_seed() -> None:
    first = of_seed(0, [fp32(val_mean_iou=0.8), row("int8_static", 20.0, 0.8)])
    better = of_seed(1, [fp32(val_mean_iou=0.84), row("int8_static", 20.0, 0.84)])
    fast = of_seed(0, [row("int8_static", 10.0, 0.8, runtime="openvino", size_bytes=30 * MIB)])
    told = recommend([*first, *better, *fast])
    assert told[0].startswith("On cpu deploy int8_static with openvino (ag): 4.0×")
    assert told[1] == "Why not another on cpu: int8_static: only 2.0×."
    (other,) = (point for point in collect_points([*first, *better, *fast]) if len(point.rows) == 1)
    assert other.mean("val_mean_iou") == pytest.approx(0.8)
    assert other.expected("val_mean_iou") == pytest.approx(0.82)


def test_sessions_are_compared_by_their_ratios() -> None:
    slow = {"session": "busy", "latency_ms": {"p50": 50.0}, "speedup_vs_reference": 3.0}
    rows = [fp32(), row("fp16", 30.0, 0.82), row("int8_static", 50.0, 0.82) | slow]
    told = recommend(rows)
    assert told[0].startswith("On cpu deploy int8_static with onnxruntime (ag): 3.0× as fast")
    assert told[1] == "Why not another on cpu: fp16: dominated by int8_static (1.3×)."
    (overall,) = (
        text for text in recommend([*rows, *of_variant("se", rows)]) if text.startswith("Overall")
    )
    assert "Fastest of these" in overall  # both were timed in the same session
    other = [each | {"session": "other"} for each in of_variant("se", rows)]
    (overall,) = (text for text in recommend([*rows, *other]) if text.startswith("Overall"))
    assert "Fastest of these" not in overall
