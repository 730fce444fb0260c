"""Dashboards: what offline folders hold, the panels made of it, and saving them.

No W&B server is needed: a small one in this process answers W&B's own client and `wandb sync`.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from brainseg.errors import InputError
from brainseg.evaluation.cases import score_cases, summarize
from brainseg.files import read_json, write_csv, write_json, write_npz
from brainseg.row import Row
from brainseg.rows import upsert_rows
from brainseg.run import Run
from brainseg.tracking.dashboard import dashboard, headline, logged_keys, make_dashboard
from brainseg.tracking.unsent import describe_unsent, sync_command
from brainseg.tracking.wandb_run import log_epoch, log_results, mirror_results, tracked
from brainseg.vocabulary import CHECKPOINT

panels = pytest.importorskip("brainseg.tracking.panels")

GROUP = "it's [bold]"
"""The name of an experiment that is neither markup nor a quoted text."""

NAMES = ("ag", "none")
"""The variants whose runs are tracked."""

HISTORY = [
    {"epoch": 0, "train_loss": 1.5, "val_loss": 1.25, "val_mean_iou": 0.5, "lr": 0.001},
    {"epoch": 1, "train_loss": 0.75, "val_loss": 0.5, "val_mean_iou": 0.625, "lr": 0.0005},
]
TIMED = {
    "latency_ms": {"p50": 4.0, "p90": 5.0},
    "speedup_interval": [0.75, 1.25],
    "mean_iou": 0.75,
    "size_bytes": 2**20,
}
KEY = "a" * 40


def config_of(attention: str, tracking: str = "wandb") -> dict[str, Any]:
    return {
        "experiment_name": GROUP,
        "data": {"name": "phantom"},
        "split": {"name": "patient"},
        "model": {"attention": attention},
        "tracking": {"name": tracking, "mode": "offline", "project": "brainseg", "entity": None},
    }


def write_run(path: Path, config: dict[str, Any]) -> Run:
    """What a finished run leaves for W&B, with two test cases."""
    run = Run(path)
    run.update_state(stage="done", status="finished")
    run.config.write_text(yaml.safe_dump(config))
    write_csv(run.history, HISTORY, list(HISTORY[0]))
    ids, patients = np.array(["a", "b"]), ["p", "q"]
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, 4:9, 4:9] = 1
    names = {"ids": ids, "classes": np.array(["glioma"] * len(ids)), "patients": ids}
    write_npz(run.test, **names, images=masks * 100, masks=masks)
    write_npz(run.predictions(CHECKPOINT), ids=ids, probabilities=masks * 255)
    cases = score_cases(list(ids), ["glioma", "notumor"], patients, masks * 255, masks)
    write_csv(run.cases("fp32"), cases, list(cases[0]))
    write_json(run.metrics, summarize(cases))
    upsert_rows(run, [Row(mode="fp32", device="cpu", threads=2, **TIMED)])
    return run


def later_stage(run: Run) -> None:
    """Another row, as `brainseg quantize` and `brainseg benchmark` would leave it."""
    upsert_rows(run, [Row(mode="int8_static", device="cpu", threads=2, **TIMED)])
    mirror_results(run, "benchmark")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, read_back) -> Path:
    """An experiment: a run with a later stage, one without, and one that was not tracked."""
    experiment = tmp_path_factory.mktemp("out") / GROUP
    for attention in NAMES:
        run = write_run(experiment / f"{attention}-seed0", config_of(attention))
        run.history.rename(run.path / "later.csv")
        with tracked(run, run.read_config()) as opened:  # as in training, epoch by epoch
            for row in HISTORY:
                log_epoch(opened, row)
            log_results(opened, run)
        (run.path / "later.csv").rename(run.history)
        read_back(run)
    write_run(experiment / "se-seed0", config_of("se", "none"))
    later_stage(Run(experiment / "ag-seed0"))
    read_back(Run(experiment / "ag-seed0"))
    return experiment


@pytest.fixture
def experiment(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / GROUP, symlinks=True))


# What offline folders hold


def test_summary_is_that_of_the_run(made: Path, read_back):
    run = Run(made / "ag-seed0")
    summary, metrics = read_back(run)[-1]["summary"], read_json(run.metrics)
    for name in ("mean_iou", "tumor_iou", "dice", "hd95_px", "false_positive_rate", "n"):
        assert summary[f"test/{name}"] == metrics[name]
        for class_ in ("glioma", "notumor"):
            assert summary[f"test/classes/{class_}/{name}"] == metrics["classes"][class_][name]
    assert summary["val_mean_iou.max"] == 0.625
    places = [name.split("/")[3] for name in summary if name.endswith("/latency_p50_ms")]
    assert places == ["fp32", "int8_static"]


def test_deploy_table_has_the_rows_also_of_a_later_stage(made: Path, read_back):
    run = Run(made / "ag-seed0")
    assert [held["tables"]["deploy"] for held in read_back(run)] == [1, 2]
    (file,) = (run.wandb / "latest-run").glob("files/media/table/deploy_*.table.json")
    table = json.loads(file.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    for row, expected in zip(rows, read_json(run.deploy), strict=True):
        assert row["latency_ms/p50"] == expected["latency_ms"]["p50"]
        for key in ("mode", "mean_iou", "size_bytes", "status", "speedup_interval"):
            assert row[key] == expected[key]


# Panels


def keys_of(spec: Any) -> Iterator[tuple[str, str]]:
    """What the panels of a specification read, each with the name that the specification uses."""
    if isinstance(spec, list):
        for inner in spec:
            yield from keys_of(inner)
    if not isinstance(spec, dict):
        return
    for name, value in spec.items():
        if name in ("metrics", "mediaKeys"):
            yield from ((name, key) for key in value)
        elif name in ("xAxis", "yAxis") and isinstance(value, str):
            yield name, value.removeprefix("summary:")
        elif name == "fieldSettings":
            yield from ((name, field) for field in value.values())
        elif spec.get("name") == "tableKey" and name == "value":
            yield "table", value
        elif spec.get("name") == "pick" and name == "inputs":
            yield "table", value["key"]["val"]
        yield from keys_of(value)


def plain(model: Any) -> Any:
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


@pytest.fixture
def specs(made: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The workspace and the report as W&B would store them.

    Making them needs no server; of writing them down, only the number of the project does.
    """
    monkeypatch.setattr(
        "wandb_workspaces.reports.v2.interface.execute_graphql",
        lambda *_: {"project": {"internalId": "7"}},
    )
    monkeypatch.setattr("wandb_workspaces.reports.v2.interface._get_api", lambda: None)
    runs = [Run(made / f"{name}-seed0") for name in NAMES]
    target = panels.Target("me", "brainseg", GROUP, "model.attention")
    keys = logged_keys(runs)
    return {
        "workspace": plain(panels.workspace(target, keys)._to_model().spec),
        "report": plain(panels.report(target, keys, headline(runs))._to_model().spec),
    }


@pytest.mark.parametrize("name", ["workspace", "report"])
def test_panels_read_only_what_an_offline_run_holds(
    made: Path, read_back, specs: dict[str, Any], name: str
):
    held = read_back(Run(made / "ag-seed0"))[-1]
    curves = {key for row in held["history"] for key in row}
    known = {
        "metrics": curves | set(held["summary"]),
        "xAxis": {"epoch", "_step", *held["summary"]},
        "yAxis": set(held["summary"]),
        "mediaKeys": set(held["images"]),
        "table": set(held["tables"]),
        "fieldSettings": {"latency_ms/p50", "mean_iou"},
    }
    read = set(keys_of(specs[name]))
    assert {kind for kind, _ in read} == set(known)
    assert {(kind, key) for kind, key in read if key not in known[kind]} == set()
    for wanted in ("val_mean_iou", "test/dice", "test/classes/glioma/dice"):
        assert ("metrics", wanted) in read
    for mode in ("fp32", "int8_static"):
        place = f"deploy/cpu/onnxruntime/{mode}"
        assert {("xAxis", f"{place}/latency_p50_ms"), ("yAxis", f"{place}/mean_iou")} <= read
        assert ("metrics", f"{place}/size_mib") in read
    assert ("metrics", "test/classes/notumor/dice") not in read  # undefined in every run
    assert {("table", "cases"), ("table", "classes"), ("mediaKeys", "overlays")} <= read


@pytest.mark.parametrize("name", ["workspace", "report"])
def test_panels_show_only_the_runs_of_the_group(specs: dict[str, Any], name: str):
    text = json.dumps(specs[name])
    filters = {"key": {"section": "run", "name": "group"}, "op": "=", "value": GROUP}
    assert json.dumps(filters)[:-1] in text
    assert '"groupBy": "model.value.attention"' in text
    assert '"config:model.value.attention"' in text


def test_sections_without_anything_logged_are_left_out():
    spec = plain(
        panels.workspace(panels.Target("me", "p", "g", "variant"), ["val_loss"])._to_model().spec
    )
    sections = spec["section"]["panelBankConfig"]["sections"]
    assert [(section["name"], len(section["panels"])) for section in sections] == [
        ("Learning curves", 1)
    ]


def test_headline_tells_data_scores_and_that_they_are_synthetic(made: Path):
    text = headline([Run(made / f"{name}-seed0") for name in NAMES])
    assert text[0] == "2 runs. Data: phantom. Split: patient."
    assert "ag 1.0000 (1), none 1.0000 (1)" in text[1]
    assert "nothing about patients" in text[2]


# Saving them


class Server(BaseHTTPRequestHandler):
    """As much of a W&B server as its client asks for; keeps what it is sent."""

    views: dict[str, dict[str, Any]]
    files: dict[str, list[str]]
    run_count: int

    def log_message(self, *_: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self._body()
        self._reply({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/file_stream"):
            for name, part in (json.loads(body).get("files") or {}).items():
                lines = self.files.setdefault(name, [])
                lines[part["offset"] :] = part["content"]
        graphql = json.loads(body) if self.path == "/graphql" else None
        self._reply({"data": self._answer(graphql)} if graphql else {})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _reply(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, given = asked["query"], asked.get("variables") or {}
        called = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = called[1].lower() if called else ""
        project = {"id": "P", "name": "brainseg", "entity": {"id": "E", "name": "me"}}
        page = {"edges": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
        if name in ("viewer", "getdefaultentity"):
            teams = {"edges": []}
            viewer = {"id": "U", "entity": "me", "username": "me", "email": "e", "teams": teams}
            return {"viewer": viewer | {"flags": "{}"}}
        if name == "runs":
            found = {"internalId": "7", "runCount": self.run_count, "readOnly": False}
            return {"project": found | {"runs": page}}
        if name == "projectinternalid":
            return {"project": {"id": "P", "internalId": "7"}}
        if name in ("upsertview", "upsertview2"):
            return {"upsertView": {"view": self._keep(given), "inserted": True}}
        if name == "view":
            nodes = [{"node": v} for v in self.views.values() if v["name"] == given["viewName"]]
            return {"project": {"allViews": {"edges": nodes}}}
        if name == "specificreport":
            return {"view": self.views.get(given["reportId"])}
        if name == "upsertbucket":
            facts = {"id": "B", "name": given["name"], "displayName": "", "config": "{}"}
            bucket = facts | {"historyLineCount": 0, "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "createartifact":
            artifact = {"id": "A", "state": "COMMITTED"}
            sequence = {"id": "S", "latestArtifact": {"id": "A", "versionIndex": 0}}
            return {"createArtifact": {"artifact": artifact | {"artifactSequence": sequence}}}
        if name == "createrunfiles":
            base = f"http://{self.headers['Host']}/up/"
            files = [{"name": file, "uploadUrl": base + file} for file in given["files"]]
            return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}
        return {"models": page} if name == "getprojects" else {}

    def _keep(self, given: dict[str, Any]) -> dict[str, Any]:
        fresh = base64.b64encode(f"View:{len(self.views)}".encode()).decode()
        key = given.get("id") or fresh
        project = {"id": "P", "name": given["projectName"], "entityName": given["entityName"]}
        kept = {name: given[name] for name in ("name", "displayName", "type", "spec")}
        facts = {"description": "", "updatedAt": None, "createdAt": None}
        self.views[key] = kept | facts | {"id": key, "project": project}
        return self.views[key]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    """A W&B server that the client is logged in to."""
    handler = type("Handler", (Server,), {"views": {}, "files": {}, "run_count": 2})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield handler
        listening.shutdown()
        thread.join()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No API key anywhere."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_wandb_sync_sends_what_was_read_back(experiment: Path, read_back, server: type[Server]):
    run = Run(experiment / "ag-seed0")
    command = [sys.executable, "-m", "wandb", "sync", str(run.wandb / "latest-run")]
    done = subprocess.run(command, env=os.environ, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    sent = [json.loads(line) for line in server.files["wandb-history.jsonl"]]
    curves = [{key: row[key] for key in HISTORY[0]} for row in sent]
    held = read_back(run)[-1]
    assert curves == held["history"]
    summary = json.loads(server.files["wandb-summary.json"][-1])
    assert summary["val_mean_iou"] == {"max": held["summary"]["val_mean_iou.max"]}
    numbers = {
        key: value for key, value in held["summary"].items() if "/" in key and value is not None
    }
    assert {key: summary[key] for key in numbers} == numbers
    for table, rows in held["tables"].items():
        assert summary[table]["nrows"] == rows
    assert summary["overlays"]["count"] == held["images"]["overlays"]


def test_workspace_and_report_are_saved_and_then_renewed(experiment: Path, server: type[Server]):
    lines = make_dashboard(experiment)
    assert [line.partition(" ")[0] for line in lines[:2]] == ["Workspace:", "Report:"]
    assert all("/me/brainseg" in line for line in lines[:2])
    assert lines[2] == describe_unsent([Run(experiment / f"{name}-seed0") for name in NAMES])
    assert "2 of 2 runs (ag-seed0, none-seed0)" in lines[2]
    workspace, report = server.views.values()
    assert workspace["displayName"] == report["displayName"] == f"brainseg {GROUP}"
    before = {key: view["spec"] for key, view in server.views.items()}
    assert "fp16" not in str(before)
    upsert_rows(
        Run(experiment / "none-seed0"), [Row(mode="fp16", device="cpu", threads=2, **TIMED)]
    )
    assert make_dashboard(experiment) == lines
    assert server.views.keys() == before.keys()
    assert all("fp16" in view["spec"] for view in server.views.values())


def test_runs_without_attention_are_grouped_by_what_they_are_called(
    experiment: Path, server: type[Server]
):
    config = config_of("ag") | {"model": {"name": "smp_unet"}}
    write_run(experiment / "smp_unet-seed0", config).wandb.mkdir()
    make_dashboard(experiment)
    for view in server.views.values():
        assert '"groupBy":"variant.value"' in view["spec"].replace(": ", ":")
        assert '"config:variant.value"' in view["spec"]
        assert "model.value.attention" not in view["spec"]
    assert "smp_unet 1.0000 (1)" in str(server.views)


def test_a_dashboard_that_was_deleted_is_made_anew(experiment: Path, server: type[Server]):
    first = make_dashboard(experiment)
    server.views.clear()
    assert make_dashboard(experiment)[0] != first[0]
    assert len(server.views) == 2


def test_what_was_sent_is_not_asked_for(experiment: Path, server: type[Server]):
    for file in experiment.glob("*/wandb/latest-run/run-*.wandb"):
        file.with_name(f"{file.name}.synced").touch()
    assert len(make_dashboard(experiment)) == 2


def test_runs_that_the_server_does_not_have_are_to_be_sent(experiment: Path, server: type[Server]):
    server.run_count = 0
    with pytest.raises(InputError, match=r"me/brainseg has no runs of the group .*wandb sync"):
        make_dashboard(experiment)
    assert not server.views


def test_without_a_server_it_says_what_waits_and_how_to_send_it(experiment: Path, nobody: None):
    command = f"wandb sync '{experiment}'/*/wandb/latest-run".replace("it's", "it'\"'\"'s")
    assert sync_command([Run(experiment / "ag-seed0")]) == command
    for file in experiment.glob("none-seed0/wandb/latest-run/run-*.wandb"):
        file.with_name(f"{file.name}.synced").touch()
    with pytest.raises(InputError) as told:
        dashboard(experiment)
    for part in ("wandb login", "WANDB_BASE_URL", "1 of 2 runs (ag-seed0)", command):
        assert part in str(told.value)


def test_a_dashboard_prints_where_it_is(
    experiment: Path, server: type[Server], capsys: pytest.CaptureFixture[str]
):
    dashboard(experiment)
    shown = capsys.readouterr().out
    for start in ("Workspace: http", "Report: http", "Not sent to W&B yet: 2"):
        assert start in shown


def test_a_server_that_does_not_answer_is_named(
    experiment: Path, nobody: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("brainseg.tracking.dashboard.SERVER_TIMEOUT_S", 0.2)
    with pytest.raises(InputError, match=r"(?s)no W&B server accepted.*127\.0\.0\.1:9.*wandb sync"):
        make_dashboard(experiment)


def test_without_the_extra_it_names_it(experiment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("brainseg.tracking.panels")
    monkeypatch.delitem(sys.modules, "brainseg.tracking.panels")
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(InputError, match=r"pip install wandb-workspaces"):
        make_dashboard(experiment)


def test_runs_that_were_not_tracked_have_no_dashboard(tmp_path: Path):
    write_run(tmp_path / "se-seed0", config_of("se", "none"))
    with pytest.raises(InputError, match=r"No run in .* was tracked.*tracking=wandb") as told:
        dashboard(tmp_path)
    assert "wandb sync" not in str(told.value)


def test_a_run_sent_while_it_ran_needs_no_sending(tmp_path: Path, nobody: None):
    run = write_run(tmp_path / "ag-seed0", config_of("ag"))
    (run.wandb / "run-20260101_000000-abc").mkdir(parents=True)
    assert describe_unsent([run]) is None
    with pytest.raises(InputError, match="All runs have been sent"):
        dashboard(tmp_path)


def test_a_run_or_several_experiments_are_refused(experiment: Path):
    with pytest.raises(InputError, match="Give its experiment's folder"):
        make_dashboard(experiment / "ag-seed0")
    other = write_run(experiment / "cbam", config_of("cbam") | {"experiment_name": "other"})
    other.wandb.mkdir()
    with pytest.raises(InputError, match=r"found brainseg/it's \[bold\], brainseg/other"):
        make_dashboard(experiment)
