import pytest
import torch

from brainseg.deploy import benchmark as subject
from brainseg.deploy.benchmark import benchmark
from brainseg.deploy.rows import KEY, VALUES, read_rows
from brainseg.errors import InputError
from brainseg.files import read_json

MODES = ["int8_dynamic"]
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is present")


def test_rows_and_their_session(two_runs):
    rows = benchmark(two_runs, MODES, ["cpu"], 5, threads=1, warmup=1)
    assert [row["mode"] for row in rows] == ["fp32", "int8_dynamic"] * 2
    (name,) = {row["session"] for row in rows}
    for run in two_runs:
        session = read_json(run.benchmarks)[name]
        assert len(session["variants"]) == 4
        low, high = session["control"]["interval"]
        assert low <= session["control"]["ratio"] <= high
        assert session["environment"]["cpu"]["model"]
        assert (session["passes"], session["threads"], session["device"]) == (5, 1, "cpu")
        assert 0 <= session["other_cpu_share"] <= 1
        timed = [row for row in read_rows(run) if row["threads"] == 1]
        assert all(set(row) == {*KEY, *VALUES} for row in timed)
        assert [row["mode"] for row in timed] == ["fp32", "int8_dynamic"]
        fp32, int8 = timed
        assert fp32["speedup"] == fp32["speedup_vs_reference"] == 1
        low, high = int8["speedup_interval"]
        assert low <= int8["speedup"] <= high
        for row in timed:
            latency = row["latency_ms"]
            assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
            assert row["status"] == "ok"
            assert row["passes"] == 5
            assert sum(place["share"] for place in row["placement"].values()) == pytest.approx(1)
        assert int8["delta_mean_iou"] == int8["mean_iou"] - fp32["mean_iou"]
        assert int8["size_ratio"] < 1


def test_statistics_come_from_the_measured_times(run, monkeypatch):
    times = [[4.0, 8.0, 6.0], [2.0, 2.0, 3.0], [4.0, 4.0, 12.0]]  # fp32, int8, the twin of fp32

    def measured(variants, rounds, images, rng):
        assert len(variants) == 3
        return torch.tensor(times).numpy()

    monkeypatch.setattr(subject, "time_rounds", measured)
    fp32, int8 = benchmark([run], MODES, ["cpu"], 3, batch=2)
    assert fp32["latency_ms"]["p50"] == 3  # per image
    assert int8["latency_ms"]["mean"] == pytest.approx(7 / 6)
    assert (fp32["speedup"], int8["speedup"]) == (1, 2)
    (session,) = read_json(run.benchmarks).values()
    assert session["control"]["ratio"] == 1
    assert session["control"]["interval"] == [0.5, 2]


@pytest.mark.parametrize(("share", "noisy"), [(0.04, False), (0.06, True)])
def test_a_busy_machine_makes_noisy_rows(run, monkeypatch, share, noisy):
    monkeypatch.setattr(subject.OtherLoad, "share", lambda self: share)
    rows = benchmark([run], MODES, ["cpu"], 2, warmup=0)
    assert [row["noisy"] for row in rows] == [noisy] * 2


@without_cuda
def test_a_missing_device_gives_unavailable_rows(run):
    rows = benchmark([run], MODES, ["cuda"], 2)
    assert [row["status"] for row in rows] == ["unavailable"] * 2
    assert all("CUDA" in row["reason"] for row in rows)
    assert all(row["latency_ms"] is row["placement"] is row["mean_iou"] is None for row in rows)
    assert [row for row in read_rows(run) if row["device"] == "cuda"] == rows
    assert not run.benchmarks.exists()


def test_a_damaged_file_fails_alone(two_runs):
    first, second = two_runs
    first.onnx("int8_dynamic").write_bytes(b"damaged")
    second.onnx("fp32").unlink()
    rows = benchmark(two_runs, MODES, ["cpu"], 2, warmup=0)
    assert [row["status"] for row in rows] == ["ok", "failed", "failed", "ok"]
    assert "could not be opened" in rows[1]["reason"]
    assert "does not exist" in rows[2]["reason"]
    assert rows[3]["latency_ms"]["p50"] > 0
    assert rows[3]["speedup"] is None  # nothing to compare it with


def test_sessions_that_no_row_names_are_forgotten(run):
    for _ in range(3):
        rows = benchmark([run], MODES, ["cpu"], 1, warmup=0)
    assert list(read_json(run.benchmarks)) == [rows[0]["session"]]
    benchmark([run], MODES, ["cpu"], 1, threads=1, warmup=0)
    assert len(read_json(run.benchmarks)) == 2  # both have rows


def test_batches_wrap_around_and_have_rows_of_their_own(run):
    rows = benchmark([run], [], ["cpu"], 1, batch=8, warmup=0)  # of 6 test images
    assert [(row["mode"], row["batch"]) for row in rows] == [("fp32", 8)]
    assert {row["batch"] for row in read_rows(run)} == {1, 8}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": ["int4"]}, "int4"),
        ({"devices": ["tpu"]}, "tpu"),
        ({"passes": 0}, "at least 1"),
    ],
)
def test_wrong_requests_are_refused(run, changes, message):
    before = read_rows(run)
    with pytest.raises(InputError, match=message):
        benchmark([run], **({"modes": MODES, "devices": ["cpu"], "passes": 1} | changes))
    assert read_rows(run) == before
