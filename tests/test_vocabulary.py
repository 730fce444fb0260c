import pytest

from brainseg import vocabulary
from brainseg.errors import InputError, check_known
from brainseg.vocabulary import (
    CLASSES,
    MODES,
    Mode,
    all_modes,
    quantized_modes,
    rank,
    with_reference,
)


def test_fp32_comes_first_and_once():
    assert with_reference([]) == ["fp32"]
    assert with_reference(["int8_dynamic", "fp32"]) == ["fp32", "int8_dynamic"]


def test_every_name_is_its_key_and_says_what_it_is():
    for table in (MODES, vocabulary.RUNTIMES):
        assert all(each.name == name for name, each in table.items())
    assert all(mode.sentence.endswith(".") for mode in MODES.values())
    assert {metric.better for metric in vocabulary.METRICS.values()} == {"max", "min"}


def test_a_mode_that_is_added_is_known_at_once(monkeypatch):
    untrained = ["fp16", "int8_dynamic", "int8_weights", "int8_static"]
    assert (quantized_modes(), all_modes()) == ([*untrained, "int8_qat"], untrained)
    monkeypatch.setitem(MODES, "int4", Mode("int4", "Weights in 4 bits."))
    assert quantized_modes()[-1] == "int4"


def test_known_names_come_in_their_order_and_others_after_them():
    names = ["zebra", "pituitary", "apple", "glioma", None]
    ordered = ["glioma", "pituitary", None, "apple", "zebra"]
    assert sorted(names, key=lambda name: rank(name, CLASSES)) == ordered


def test_unknown_names_are_refused_with_those_there_are():
    check_known("device", ["cpu"], vocabulary.DEVICES)
    with pytest.raises(InputError, match=r"Unknown device tpu, npu\. Choose from: cpu, cuda\."):
        check_known("device", ["tpu", "cpu", "npu"], vocabulary.DEVICES)
    with pytest.raises(InputError, match=r"Did you mean cuda\?$"):
        check_known("device", ["CUDA:0"], vocabulary.DEVICES)
    with pytest.raises(InputError, match=r"cuda\.$"):  # nothing is near
        check_known("device", ["xyz"], vocabulary.DEVICES)
