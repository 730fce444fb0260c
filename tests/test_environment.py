import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from brainseg import __version__, environment
from brainseg.environment import describe, gpu_use, hide_home, nvidia_gpus, physical_cores


def test_describes_this_process_as_plain_json(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", "seed=1"])
    found = describe()
    assert json.loads(json.dumps(found)) == found
    assert found["folder"] == str(tmp_path)
    assert found["command"] == ["train.py", "seed=1"]
    assert found["versions"]["torch"]
    assert found["versions"]["onnxruntime"]
    assert found["versions"]["brainseg"] == __version__
    assert found["host"] == os.uname().nodename
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert found["cpu"]["logical_cores"] == os.cpu_count()


def test_neither_home_nor_secrets_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr(
        "sys.argv", ["/home/alice/b/train.py", "data.root=/home/alice", "api_key=x"]
    )

    assert describe()["command"] == ["~/b/train.py", "data.root=~", "api_key=…"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/alice", "~"),
        ("/home/alice/data", "~/data"),
        ("/home/alicia/data", "/home/alicia/data"),
        ("'/home/alice'", "'~'"),
        ("/backup/home/alice/data", "/backup/home/alice/data"),
        ("data.root=/home/alice/data", "data.root=~/data"),
        (
            {"data": {"root": "/home/alice/set", "size": 64}},
            {"data": {"root": "~/set", "size": 64}},
        ),
        (["/data", "/home/alice/x y"], ["/data", "~/x y"]),
        (None, None),
    ],
)
def test_the_home_folder_becomes_a_tilde(value, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")

    assert hide_home(value) == expected


def test_knows_the_flags_that_the_kernel_lists():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        pytest.skip("no /proc")
    words = set(info.read_text().split())
    assert set(describe()["cpu"]["flags"]) == words & set(environment.FLAGS)


def test_a_machine_without_git_or_packages_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    found = describe()
    assert found["commit"] is None
    assert found["versions"]["no-such-package"] is None


def test_threads_stay_within_the_affinity():
    assert 1 <= physical_cores() <= psutil.cpu_count(logical=False)
    code = (
        "import os; os.sched_setaffinity(0, {0})\n"
        "from brainseg.environment import physical_cores; print(physical_cores())"
    )
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert alone.stdout.strip() == "1"


def test_reads_names_and_drivers_from_nvidia_smi(nvidia_smi):
    nvidia_smi("echo 'NVIDIA H100, 580.65.06, 81559 MiB'; echo 'NVIDIA T4, 580.65.06, 15360 MiB'")
    assert nvidia_gpus() == [
        {"name": "NVIDIA H100", "driver": "580.65.06", "memory": "81559 MiB"},
        {"name": "NVIDIA T4", "driver": "580.65.06", "memory": "15360 MiB"},
    ]


def test_the_suite_sees_no_gpu_even_where_there_is_one():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert nvidia_gpus() == []


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_none(nvidia_smi, monkeypatch, hidden):
    nvidia_smi("echo 'NVIDIA H100, 580.65.06, 81559 MiB'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert nvidia_gpus() == []


def test_a_failing_nvidia_smi_lists_nothing(nvidia_smi):
    nvidia_smi("echo 'NVIDIA-SMI has failed, a, b'; exit 9")
    assert nvidia_gpus() == []


def test_names_the_commit_only_where_git_tracks_the_code(monkeypatch, tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    code = tmp_path / "code.py"
    code.write_text("1")
    monkeypatch.setattr(environment, "__file__", str(code))
    git("init")
    assert describe()["commit"] is None  # in a repository, which does not hold it
    git("add", "code.py")
    git("commit", "-m", "first")
    assert describe()["commit"] == {"hash": git("rev-parse", "HEAD"), "dirty": False}
    code.write_text("2")
    assert describe()["commit"]["dirty"] is True


@pytest.mark.parametrize(
    ("lines", "share"), [("'3'", 0.03), ("'0\n87'", 0.87), ("'[N/A]'", None), ("''", None)]
)
def test_the_busiest_gpu_counts(nvidia_smi, lines, share):
    nvidia_smi(f"printf {lines}")
    assert gpu_use() == share


def test_no_gpu_is_not_used(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert gpu_use() is None
