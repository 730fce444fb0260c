"""Where the paper's claim holds."""

from typing import Any

import pytest

from brainseg.report.claim import tell_claim
from brainseg.report.rows import TableRow


def dynamic(runtime: str, speedup: float | None, **values: Any) -> TableRow:
    found = {
        **{"run": "ag-seed0", "variant": "ag", "mode": "int8_dynamic", "device": "cpu"},
        **{"runtime": runtime, "threads": 1, "speedup": speedup, "size_ratio": 0.253},
        **{"latency_ms": {"p50": 10.0}, "delta_mean_iou": -0.0002},
    }
    return TableRow(**found | values)


NATIVE = dynamic("onnxruntime", 0.94)


def test_each_runtime_gets_its_verdict() -> None:
    rows = [
        dynamic("openvino", 1.2),
        dynamic("litert", 2.0, size_ratio=0.256, delta_mean_iou=0.0001),
        dynamic("onnxruntime-web", 1.6, threads=2),
        dynamic("onnxruntime-web", 1.8),
        NATIVE,
    ]
    (sentence,) = tell_claim(rows)
    assert sentence == (
        "The paper's claim for dynamic range quantization (75% smaller, 37% less time, that is "
        "1.59 times as fast) holds with onnxruntime-web (75% smaller, 1.60–1.80 times as fast, "
        "mean IoU −0.0002), litert (74% smaller, 2.00 times as fast, mean IoU +0.0001); holds in "
        "part with openvino (75% smaller, 1.20 times as fast, mean IoU −0.0002); does not hold "
        "with onnxruntime (75% smaller, 0.94 times as fast, mean IoU −0.0002). Compared with fp32 "
        "in the same runtime, on test."
    )


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (dynamic("litert", 1.58), "holds with litert"),  # 37 % is rounded
        (dynamic("litert", 1.57), "holds in part with litert"),
        (dynamic("litert", 3.0, size_ratio=0.37), "holds in part with litert"),
        (dynamic("litert", 1.0), "does not hold with onnxruntime"),
    ],
)
def test_the_claim_has_limits(row: TableRow, verdict: str) -> None:
    assert verdict in tell_claim([NATIVE, row])[0]


def test_one_slow_row_is_enough_to_doubt_it() -> None:
    rows = [NATIVE, dynamic("litert", 2.0), dynamic("litert", 1.3, threads=2)]
    assert "holds in part with litert (75% smaller, 1.30–2.00 times" in tell_claim(rows)[0]


def test_nothing_is_said_of_one_runtime_or_of_what_was_not_timed() -> None:
    untimed = dynamic("litert", None, latency_ms=None)
    batch = dynamic("litert", 2.0, batch=8)
    static = dynamic("litert", 2.0, mode="int8_static")
    failed = dynamic("litert", 2.0, status="failed")
    assert tell_claim([NATIVE, untimed, batch, static, failed]) == []
    unscored = dynamic("litert", 2.0, delta_mean_iou=None)
    assert "litert (75% smaller, 2.00 times as fast);" in tell_claim([NATIVE, unscored])[0]
