import dataclasses
import re
import signal
from itertools import chain

import numpy as np
import pytest
from PIL import Image

from brainseg import interrupt as stopping
from brainseg.benchmark import benchmark as subject
from brainseg.benchmark import rounds
from brainseg.benchmark import session as timing_session
from brainseg.benchmark.plan import TimingPlan
from brainseg.benchmark.variant import FromFiles, Variant, spread_images, write_images
from brainseg.data.image import read_image
from brainseg.data.parts import read_test, to_input
from brainseg.environment import cpu_flags
from brainseg.errors import InputError
from brainseg.files import read_json, write_npz
from brainseg.rows import read_rows
from brainseg.runtime import openvino as openvino_runtime
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Unavailable

MODES = ["int8_dynamic"]
BOTH = ("onnxruntime", "openvino")
needs_openvino = pytest.mark.skipif(openvino_runtime.openvino is None, reason="an optional extra")


def benchmark(runs, modes, devices, passes=500, threads=None, **options):
    """The rows of all runs, one after the other."""
    counts = (threads,) if threads else ()
    plan = TimingPlan(tuple(modes), tuple(devices), passes=passes, threads=counts, **options)
    return list(chain.from_iterable(subject.benchmark(runs, plan).values()))


@pytest.fixture(autouse=True)
def only_onnxruntime(monkeypatch):
    """What is said of one runtime need not be said of two; and processes take a second each."""
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: name != "openvino")
    monkeypatch.setattr(subject, "peak_memory_mb", lambda session, batch: 100.0)
    monkeypatch.setattr(timing_session, "WARMUP", 2)


@pytest.fixture
def replace_times(monkeypatch):
    """Put other times in the place of those that are measured."""

    def replace(measure):
        for module in (rounds, timing_session):
            monkeypatch.setattr(module, "time_rounds", measure)

    return replace


def test_rows_and_their_session(two_runs):
    rows = benchmark(two_runs, MODES, ["cpu"], 5, threads=1)
    assert [row.mode for row in rows] == ["fp32", "int8_dynamic"] * 2
    (name,) = {row.session for row in rows}
    for run in two_runs:
        session = read_json(run.benchmarks)[name]
        assert len(session["variants"]) == 4
        assert session["variants"][0]["got"] == {"providers": ["CPUExecutionProvider"]}
        low, high = session["control"]["interval"]
        assert low <= session["control"]["ratio"] <= high
        assert session["environment"]["cpu"]["model"]
        assert (session["passes"], session["threads"], session["device"]) == (5, [1], "cpu")
        assert 0 <= session["other_cpu_share"] <= 1
        timed = [row for row in read_rows(run) if row.threads == 1]
        assert [row.mode for row in timed] == ["fp32", "int8_dynamic"]
        fp32, int8 = timed
        assert fp32.speedup == fp32.speedup_vs_reference == 1
        low, high = int8.speedup_interval
        assert low <= int8.speedup <= high
        for row in timed:
            for latency in (row.latency_ms, row.end_to_end_ms):
                assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
            assert row.status == "ok"
            assert row.passes == 5
            assert row.peak_memory_mb == 100
            assert row.memcpy_nodes == 0
            for shares in (row.placement, row.kernels):
                assert sum(place["share"] for place in shares.values()) == pytest.approx(1)
        assert list(int8.kernels) == ["float", "int8"]
        assert int8.delta_mean_iou == int8.mean_iou - fp32.mean_iou
        assert int8.size_ratio < 1


@needs_openvino
def test_runtimes_take_turns_in_one_session(two_runs, monkeypatch):
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: True)
    rows = benchmark(two_runs, [], ["cpu"], 3, runtimes=BOTH, threads=1)
    named = [(row.runtime, row.options) for row in rows]
    one_run = [("onnxruntime", {}), ("openvino", {}), ("openvino", {"precision": "bf16"})]
    assert named == one_run * 2
    timed = [row for row in rows if row.status == "ok"]
    assert len({row.session for row in timed}) == 1
    for run in two_runs:
        session = read_json(run.benchmarks)[timed[0].session]
        assert len(session["variants"]) == len(timed)
        assert session["variants"][1]["got"]["precision"] == "f32"
        plain, openvino, bf16 = (row for row in read_rows(run) if row.mode == "fp32")
        assert openvino.speedup == plain.speedup_vs_reference == 1
        assert openvino.speedup_vs_reference > 0
        assert openvino.delta_mean_iou == openvino.delta_val_mean_iou == 0
        assert list(openvino.placement) == ["CPU (OpenVINO)"]
        if set(cpu_flags()) & set(openvino_runtime.BF16_FLAGS):
            assert bf16.kernels["bf16"]["multiply_adds_share"] == 1
            assert bf16.delta_mean_iou == bf16.mean_iou - openvino.mean_iou
        else:
            assert bf16.status == "unavailable"
            assert "bf16" in bf16.reason


@needs_openvino
def test_ratios_are_taken_within_a_runtime_and_to_the_reference(run, monkeypatch, replace_times):
    def opened(choice, *given):  # in f32: the times are not real, nor need the processor know bf16
        variant = open_variant(dataclasses.replace(choice, precision=None), *given)
        return dataclasses.replace(variant, choice=choice)

    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: True)
    open_variant = subject.open_variant
    monkeypatch.setattr(subject, "open_variant", opened)
    times = {  # in rounds of two; the last line is the twin of the first
        ("onnxruntime", "fp32"): [12.0, 24.0],
        ("onnxruntime", "int8_dynamic"): [24.0, 48.0],
        ("openvino", "fp32"): [6.0, 12.0],
        ("openvino", "bf16"): [3.0, 6.0],
        ("openvino", "int8_dynamic"): [4.0, 8.0],
        ("twin", ""): [12.0, 24.0],
    }

    def measured(variants, rounds, images, rng):
        return np.array(list(times.values())[: len(variants)])[:, : len(list(rounds))]

    replace_times(measured)
    rows = benchmark([run], MODES, ["cpu"], 2, runtimes=BOTH, threads=1)
    assert [row.speedup for row in rows] == [1, 0.5, 1, 2, 1.5]
    assert [row.speedup_vs_reference for row in rows] == [1, 0.5, 2, 4, 3]
    alone = benchmark([run], MODES, ["cpu"], 2, runtimes=("openvino",), threads=1)
    assert [row.speedup_vs_reference for row in alone] == [None] * 3
    assert alone[0].speedup == 1


def test_statistics_come_from_the_measured_times(run, replace_times):
    times = [[4.0, 8.0, 6.0], [2.0, 2.0, 3.0], [4.0, 4.0, 12.0]]  # fp32, int8, the twin of fp32

    def measured(variants, rounds, images, rng):
        return np.array(times)[: len(variants), : len(list(rounds))]

    replace_times(measured)
    fp32, int8 = benchmark([run], MODES, ["cpu"], 3, batch=2)
    assert fp32.latency_ms["p50"] == 3  # per image
    assert int8.latency_ms["mean"] == pytest.approx(7 / 6)
    assert (fp32.speedup, int8.speedup) == (1, 2)
    assert fp32.end_to_end_ms is None  # is that of single images
    (session,) = read_json(run.benchmarks).values()
    assert session["control"]["ratio"] == 1
    assert session["control"]["interval"] == [0.5, 2]


def test_passes_from_files_are_a_tenth(run, replace_times):
    counts = []

    def measured(variants, rounds, images, rng):
        passes = len(list(rounds))
        counts.append((len(variants), passes, images))
        return np.ones((len(variants), passes))

    replace_times(measured)
    benchmark([run], [], ["cpu"], 50, progress=False)
    images = len(read_test(run)["images"])
    warm_up, timed, *from_files = counts
    assert (warm_up, timed) == ((1, 2, images), (2, 50, images))
    assert from_files == [(1, 1, images), (1, 5, images)]


def test_from_file_to_mask_is_what_the_network_says(run, tmp_path):
    images = spread_images(run)
    files = write_images(images, tmp_path / "images")
    assert [read_image(file).tolist() for file in files] == images.tolist()
    session = open_session(run.onnx("fp32"), threads=1)
    use = FromFiles(session, files)
    expected = session.run(to_input(images[2:3]))[0, 0] >= 0.5
    assert expected.any()
    np.testing.assert_array_equal(use(2), expected)
    np.testing.assert_array_equal(use(2 + len(files)), expected)  # another run has more images
    Image.fromarray(images[0]).resize((50, 40)).save(tmp_path / "large.png")
    assert FromFiles(session, [tmp_path / "large.png"])(0).shape == (40, 50)


def test_runs_may_have_different_test_images(two_runs):
    fewer = {name: array[:2] for name, array in read_test(two_runs[0]).items()}
    write_npz(two_runs[0].test, **fewer)
    rows = benchmark(two_runs, [], ["cpu"], 12)
    assert [row.status for row in rows] == ["ok", "ok"]


def test_rows_name_the_options_of_quantization(run):
    run.note_made("int8_dynamic", options={"method": "minmax"})
    rows = benchmark([run], MODES, ["cpu"], 1)
    assert [row.options for row in rows] == [{}, {"method": "minmax"}]


@pytest.mark.parametrize(("share", "noisy"), [(0.04, False), (0.06, True)])
def test_a_busy_machine_makes_noisy_rows(run, monkeypatch, share, noisy):
    monkeypatch.setattr(timing_session.OtherLoad, "share", lambda self: share)
    rows = benchmark([run], MODES, ["cpu"], 2)
    assert [row.noisy for row in rows] == [noisy] * 2


def steady(*medians):
    """Rounds in which each thing takes its median, and what others measure too takes 1 ms."""

    def measured(variants, rounds, images, rng):
        count = len(list(rounds))
        times = np.array([*medians, *[1.0] * len(variants)][: len(variants)])
        return np.tile(times[:, None], count)

    return measured


def test_an_estimate_is_said_before_anything_is_scored_or_timed(run, replace_times, caplog):
    caplog.set_level("INFO", logger="brainseg")
    order = []

    def measured(*given):
        order.append(len(caplog.messages))
        return steady()(*given)

    replace_times(measured)
    benchmark([run], MODES, ["cpu"], 20)
    assert order[:2] == [0, 1]  # the warm-up tells
    (told,) = caplog.messages
    assert re.fullmatch(r"2 networks on cpu: at most about \d+ s from here \(timing .*\)\.", told)


def by_mode(milliseconds, seen=None):
    """Rounds in which a variant takes what its mode does, the control what fp32 does."""

    def measured(variants, rounds, images, rng):
        count = len(list(rounds))
        modes = [each.choice.mode if isinstance(each, Variant) else None for each in variants]
        if seen is not None:
            seen.append((modes, count))
        times = np.array([milliseconds.get(mode, 1.0) for mode in modes])
        return np.tile(times[:, None], count)

    return measured


SLOW = {"fp32": 10.0, "int8_dynamic": 500.0}


def test_a_hopelessly_slow_row_gets_20_passes_and_costs_the_others_none(run, replace_times):
    seen: list[tuple[list, int]] = []
    replace_times(by_mode(SLOW, seen))
    fp32, int8 = benchmark([run], MODES, ["cpu"], 500)
    assert (fp32.passes, int8.passes) == (50, 20)
    assert int8.speedup == pytest.approx(0.02)
    from_files = [(len(modes), count) for modes, count in seen if set(modes) == {None}]
    assert from_files == [(2, 1), (2, 2), (1, 48)]  # a tenth of its passes from files, too


def test_every_number_of_threads_has_its_rows_and_its_own_reference(run, replace_times):
    replace_times(steady(8.0, 4.0, 2.0, 4.0, 8.0))
    plan = TimingPlan(tuple(MODES), ("cpu",), passes=20, threads=(1, 2))
    (rows,) = subject.benchmark([run], plan).values()
    found = [(row.mode, row.threads, row.median_ms, row.speedup) for row in rows]
    assert found == [
        ("fp32", 1, 8, 1),
        ("int8_dynamic", 1, 4, 2),
        ("fp32", 2, 2, 1),
        ("int8_dynamic", 2, 4, 0.5),
    ]
    assert len({row.session for row in rows}) == 1


def interrupt(*given, **named):
    raise KeyboardInterrupt


def test_what_was_complete_when_interrupted_is_kept(run, replace_times, caplog):
    calls = []

    def interrupted(*given):
        calls.append(given)
        return by_mode(SLOW)(*given) if len(calls) < 3 else interrupt()  # warm-up, first rounds

    replace_times(interrupted)
    with pytest.raises(KeyboardInterrupt):
        benchmark([run], MODES, ["cpu"], 500)
    assert "the 1 of 2 rows that were complete are kept" in caplog.text
    timed = [row for row in read_rows(run) if row.median_ms]
    assert [(row.mode, row.passes) for row in timed] == [("int8_dynamic", 20)]
    assert timed[0].session in read_json(run.benchmarks)
    assert timed[0].mean_iou is not None
    assert timed[0].end_to_end_ms is timed[0].peak_memory_mb is None


@pytest.mark.parametrize("moment", ["_time_from_files", "_time_on_device"])
def test_all_rows_are_kept_once_they_are_timed(run, replace_times, monkeypatch, moment):
    replace_times(by_mode({}))
    monkeypatch.setattr(timing_session, moment, interrupt)
    with pytest.raises(KeyboardInterrupt):
        benchmark([run], MODES, ["cpu"], 20)
    assert [row.mode for row in read_rows(run) if row.median_ms] == ["fp32", "int8_dynamic"]


def test_an_interrupted_look_at_memory_costs_no_row(run, replace_times, monkeypatch):
    replace_times(by_mode({}))
    monkeypatch.setattr(subject, "peak_memory_mb", interrupt)
    with pytest.raises(KeyboardInterrupt):
        benchmark([run], MODES, ["cpu"], 20)
    assert [row.mode for row in read_rows(run) if row.median_ms] == ["fp32", "int8_dynamic"]


def test_a_failure_has_words_and_an_interruption_is_none(monkeypatch):
    def look():
        return {}["key"]

    assert subject._attempt(look) == {"status": "failed", "reason": "KeyError: 'key'"}
    monkeypatch.setattr(stopping, "_received", signal.SIGINT)
    monkeypatch.setattr(stopping, "listen", lambda: None)
    with pytest.raises(KeyboardInterrupt):  # what a library made an error of its own
        subject._attempt(look)


def test_without_room_for_a_control_there_is_none(run, replace_times, monkeypatch, caplog):
    def fail(self):
        raise Unavailable("The GPU has too little free memory")

    replace_times(by_mode({}))
    monkeypatch.setattr(Variant, "twin", fail)
    rows = benchmark([run], MODES, ["cpu"], 20)
    assert [row.status for row in rows] == ["ok", "ok"]
    (session,) = read_json(run.benchmarks).values()
    assert session["control"] is None
    assert "no A/A control" in caplog.text


def test_what_fails_after_its_timing_fails_alone(run, replace_times, monkeypatch):
    def fail(run, mode, session, *, progress):
        if mode == "int8_dynamic":
            raise Unavailable("The GPU has too little free memory")
        return measure(run, mode, session, progress=progress)

    replace_times(by_mode({}))
    measure = subject.measure
    monkeypatch.setattr(subject, "measure", fail)
    rows = benchmark([run], MODES, ["cpu"], 20)
    assert [row.status for row in rows] == ["ok", "unavailable"]


@pytest.fixture
def gpu(monkeypatch):
    """Sessions that claim to be on CUDA, and compute what the CPU does."""

    def open_file(path, device, threads, runtime, precision, *, batch):
        if path.name == "model.int8_dynamic.onnx":
            raise Unavailable("The GPU has too little free memory")
        session = open_session(path, "cpu", threads)
        there = {"device": device, "precision": precision, "run_on_device": lambda: None}
        return dataclasses.replace(session, got={"cuda_graph": True}, **there)

    monkeypatch.setattr("brainseg.benchmark.variant.open_session", open_file)
    monkeypatch.setattr("brainseg.benchmark.variant.may_be_had", lambda *given: True)
    monkeypatch.setattr("brainseg.benchmark.timing.GPU_SETTLES", 0)


def test_rows_of_a_gpu(run, gpu, monkeypatch):
    monkeypatch.setattr("brainseg.benchmark.timing.gpu_use", lambda: 0.5)
    fp32, tf32, int8 = benchmark([run], MODES, ["cuda"], 5)
    for row in (fp32, tf32):
        assert (row.device, row.got, row.status) == ("cuda", {"cuda_graph": True}, "ok")
        assert row.device_ms["p50"] < row.latency_ms["p50"]
        assert row.scores_from == "onnxruntime-cpu"  # the same masks
        assert row.noisy  # somebody else uses the card
        assert row.peak_memory_mb is None
    assert (fp32.precision, tf32.precision) == (None, "tf32")
    assert fp32.speedup == tf32.speedup_vs_reference / tf32.speedup == 1
    assert (int8.status, int8.reason) == ("unavailable", "The GPU has too little free memory")


def test_a_missing_device_gives_unavailable_rows(run):
    rows = benchmark([run], MODES, ["cuda"], 2)
    assert [row.status for row in rows] == ["unavailable"] * 2
    assert all("CUDA" in row.reason for row in rows)
    assert all(row.latency_ms is row.placement is row.mean_iou is None for row in rows)
    assert [row for row in read_rows(run) if row.device == "cuda"] == rows
    assert not run.benchmarks.exists()


def test_a_missing_runtime_that_was_named_gives_unavailable_rows(run, monkeypatch):
    monkeypatch.setattr(openvino_runtime, "openvino", None)
    rows = benchmark([run], [], ["cpu"], 2, runtimes=BOTH, threads=1)
    assert [row.status for row in rows] == ["ok", "unavailable"]
    assert "pip install openvino" in rows[1].reason
    assert [row.runtime for row in benchmark([run], [], ["cpu"], 1)] == ["onnxruntime"]


@needs_openvino
def test_there_is_no_row_of_openvino_on_cuda_unless_it_is_named(run, monkeypatch):
    monkeypatch.setattr("brainseg.runtime.open.is_installed", lambda name: True)
    assert {row.runtime for row in benchmark([run], [], ["cuda"], 1)} == {"onnxruntime"}
    rows = benchmark([run], [], ["cuda"], 1, runtimes=("openvino",))
    assert {row.status for row in rows} == {"unavailable"}
    assert "CPU only" in rows[0].reason


def test_a_damaged_file_fails_alone(two_runs):
    first, second = two_runs
    for run, mode in ((first, "int8_dynamic"), (second, "fp32")):
        run.onnx(mode).write_bytes(b"damaged")
        for each in ("fp32", "int8_dynamic"):
            run.note_made(each, options={})
    rows = benchmark(two_runs, MODES, ["cpu"], 2)
    assert [row.status for row in rows] == ["ok", "failed", "failed", "ok"]
    assert "could not be opened" in rows[1].reason
    assert "could not be opened" in rows[2].reason
    assert rows[3].latency_ms["p50"] > 0
    assert rows[3].speedup is rows[3].speedup_vs_reference is None  # nothing to compare with


def test_modes_that_a_run_lacks_or_has_of_another_network_are_left_out(
    two_runs, change_graph, caplog
):
    first, second = two_runs
    first.onnx("int8_dynamic").unlink()
    change_graph(second.onnx("fp32"))
    second.note_made("fp32", options={})
    plan = TimingPlan(tuple(MODES), ("cpu",), passes=1, threads=(1,))
    timed = subject.benchmark(two_runs, plan)
    assert {run: [row.mode for row in rows] for run, rows in timed.items()} == {
        first: ["fp32"],
        second: ["fp32"],
    }
    assert "none-seed0 has no model.int8_dynamic.onnx" in caplog.text
    assert (
        "none-seed1/model.int8_dynamic.onnx was made from another checkpoint or export"
        in caplog.text
    )
    assert all(row.mode == "fp32" for run in two_runs for row in read_rows(run)[2:])


def test_images_are_from_all_over_the_split(run):
    numbered = np.arange(100, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)
    names = dict.fromkeys(("ids", "classes", "patients"), np.full(100, "a"))
    run.test.unlink()
    write_npz(run.test, **names, images=numbered, masks=numbered)
    numbers = spread_images(run)[:, 0, 0]
    assert (len(numbers), numbers[0], numbers[-1]) == (64, 0, 99)
    assert np.diff(numbers.astype(int)).max() == 2


def test_a_network_without_probabilities_fails_alone(run, monkeypatch):
    def fail(run, mode, *given, progress):
        if mode == "int8_dynamic":
            raise InputError("found 7 NaN")
        return True

    monkeypatch.setattr(subject, "is_settled", fail)
    fp32, int8 = benchmark([run], MODES, ["cpu"], 1)
    assert (fp32.status, int8.status) == ("ok", "failed")
    assert int8.reason == "found 7 NaN"
    assert int8.latency_ms is None


def test_sessions_that_no_row_names_are_forgotten(run):
    for _ in range(3):
        rows = benchmark([run], MODES, ["cpu"], 1)
    assert list(read_json(run.benchmarks)) == [rows[0].session]
    benchmark([run], MODES, ["cpu"], 1, threads=2)
    assert len(read_json(run.benchmarks)) == 2  # both have rows


def test_batches_wrap_around_and_have_rows_of_their_own(run):
    rows = benchmark([run], [], ["cpu"], 1, batch=8)  # of 6 test images
    assert [(row.mode, row.batch) for row in rows] == [("fp32", 8)]
    assert {row.batch for row in read_rows(run)} == {1, 8}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": ["int4"]}, "int4"),
        ({"devices": ["tpu"]}, "tpu"),
        ({"runtimes": ("tflite",)}, "tflite"),
        ({"passes": 0}, "at least 1"),
    ],
)
def test_wrong_requests_are_refused(run, changes, message):
    before = read_rows(run)
    with pytest.raises(InputError, match=message):
        benchmark([run], **({"modes": MODES, "devices": ["cpu"], "passes": 1} | changes))
    assert read_rows(run) == before


def test_a_run_without_test_images_is_refused(run):
    run.test.unlink()
    with pytest.raises(InputError, match=r"test\.npz"):
        benchmark([run], [], ["cpu"], 1)
