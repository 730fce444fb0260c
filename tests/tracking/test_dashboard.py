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
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from brainseg.errors import InputError
from brainseg.evaluation.cases import score_cases, summarize
from brainseg.files import read_csv, read_json, write_csv, write_json, write_npz
from brainseg.rows import new_row, upsert_rows
from brainseg.run import Run
from brainseg.tracking.dashboard import dashboard, headline, logged_keys, make_dashboard
from brainseg.tracking.offline import latest_offline, read_offline, sync_command
from brainseg.tracking.wandb_run import log_epoch, log_results, tracked
from brainseg.vocabulary import CHECKPOINT

panels = pytest.importorskip("brainseg.tracking.panels")

GROUP = "it's [bold]"
"""The name of an experiment that is neither markup nor a quoted text."""

HISTORY = [
    {"epoch": 0, "train_loss": 1.5, "val_loss": 1.25, "val_mean_iou": 0.5, "lr": 0.001},
    {"epoch": 1, "train_loss": 0.75, "val_loss": 0.5, "val_mean_iou": 0.625, "lr": 0.0005},
]
TIMED = {"latency_ms": {"p50": 4.0, "p90": 5.0}, "mean_iou": 0.75, "size_bytes": 2**20}
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
    write_npz(run.test, ids=ids, images=masks * 100, masks=masks)
    write_npz(run.predictions(CHECKPOINT), ids=ids, probabilities=masks * 255)
    cases = score_cases(list(ids), ["glioma", "notumor"], patients, masks * 255, masks)
    write_csv(run.cases("fp32"), cases, list(cases[0]))
    write_json(run.metrics, summarize(cases))
    upsert_rows(run, [new_row("fp32", device="cpu", threads=2, **TIMED)])
    return run


def later_stage(run: Run) -> None:
    """Another row, as `brainseg quantize` and `brainseg benchmark` would leave it."""
    upsert_rows(run, [new_row("int8_static", device="cpu", threads=2, **TIMED)])
    with tracked(run, run.read_config(), job="benchmark") as opened:
        log_results(opened, run)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment: a run with a later stage, one without, and one that was not tracked."""
    experiment = tmp_path_factory.mktemp("out") / GROUP
    for attention in ("ag", "none"):
        run = write_run(experiment / f"{attention}-seed0", config_of(attention))
        run.history.rename(run.path / "later.csv")
        with tracked(run, run.read_config()) as opened:  # as in training, epoch by epoch
            for row in HISTORY:
                log_epoch(opened, row)
            log_results(opened, run)
        (run.path / "later.csv").rename(run.history)
        held_by(run)
    write_run(experiment / "se-seed0", config_of("se", "none"))
    later_stage(Run(experiment / "ag-seed0"))
    held_by(Run(experiment / "ag-seed0"))
    return experiment


@pytest.fixture
def experiment(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / GROUP, symlinks=True))


def held_by(run: Run) -> dict[str, Any]:
    """What the latest folder holds, once W&B's own process has written the last of it."""
    folder = latest_offline(run)
    assert folder is not None
    deadline = time.monotonic() + 20
    while (held := read_offline(folder))["exit_code"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


# What offline folders hold


@pytest.mark.parametrize("name", ["ag-seed0", "none-seed0"])
def test_history_is_that_of_the_run_row_by_row(made: Path, name: str):
    run = Run(made / name)
    rows = [{key: float(value) for key, value in row.items()} for row in read_csv(run.history)]
    assert held_by(run)["history"] == rows


def test_summary_is_that_of_the_run(made: Path):
    run = Run(made / "ag-seed0")
    summary, metrics = held_by(run)["summary"], read_json(run.metrics)
    for name in ("mean_iou", "tumor_iou", "dice", "hd95_px", "false_positive_rate", "n"):
        assert summary[f"test/{name}"] == metrics[name]
        for class_ in ("glioma", "notumor"):
            assert summary[f"test/classes/{class_}/{name}"] == metrics["classes"][class_][name]
    assert summary["val_mean_iou.max"] == 0.625
    places = [name.split("/")[3] for name in summary if name.endswith("/latency_p50_ms")]
    assert places == ["fp32", "int8_static"]


def test_deploy_table_has_the_rows_also_of_a_later_stage(made: Path):
    run = Run(made / "ag-seed0")
    folders = sorted(run.wandb.glob("offline-run-*"))
    assert [read_offline(folder)["tables"]["deploy"] for folder in folders] == [1, 2]
    (file,) = folders[-1].glob("files/media/table/deploy_*.table.json")
    table = json.loads(file.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    for row, expected in zip(rows, read_json(run.deploy), strict=True):
        assert row["latency_ms/p50"] == expected["latency_ms"]["p50"]
        assert {key: row[key] for key in ("mode", "mean_iou", "size_bytes", "status")} == {
            key: expected[key] for key in ("mode", "mean_iou", "size_bytes", "status")
        }


def test_folder_holds_tables_images_group_and_tags(made: Path):
    held = held_by(Run(made / "ag-seed0"))
    assert held["tables"] == {"deploy": 2, "classes": 3, "cases": 2}
    assert held["images"] == {"overlays": 2}
    assert (held["group"], held["tags"]) == (GROUP, ["ag", "phantom", "patient"])
    assert held["config"] == config_of("ag")
    assert held["exit_code"] == 0


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(made: Path, tmp_path: Path):
    folder = latest_offline(Run(made / "ag-seed0"))
    assert folder is not None
    (file,) = folder.glob("run-*.wandb")
    content = file.read_bytes()
    (tmp_path / file.name).write_bytes(content[:-9])
    held = read_offline(tmp_path)
    assert (held["exit_code"], len(held["history"])) == (None, 2)
    (tmp_path / file.name).write_bytes(content[:7])
    assert read_offline(tmp_path)["history"] == []


def test_records_longer_than_a_block_are_put_together(tmp_path: Path):
    config = config_of("ag") | {"long": "x" * 100_000}
    run = write_run(tmp_path / "ag-seed0", config)
    with tracked(run, config):
        pass
    assert held_by(run)["config"] == config


def test_another_folder_is_no_offline_folder(tmp_path: Path):
    with pytest.raises(InputError, match=r"(?s)expected a run-<id>\.wandb.*offline-run"):
        read_offline(tmp_path)


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
    runs = [Run(made / name) for name in ("ag-seed0", "none-seed0")]
    target = panels.Target("me", "brainseg", GROUP)
    keys = logged_keys(runs)
    return {
        "workspace": plain(panels.workspace(target, keys)._to_model().spec),
        "report": plain(panels.report(target, keys, headline(runs))._to_model().spec),
    }


@pytest.mark.parametrize("name", ["workspace", "report"])
def test_panels_read_only_what_an_offline_run_holds(made: Path, specs: dict[str, Any], name: str):
    held = held_by(Run(made / "ag-seed0"))
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


def test_sections_without_anything_logged_are_left_out():
    spec = plain(panels.workspace(panels.Target("me", "p", "g"), ["val_loss"])._to_model().spec)
    sections = spec["section"]["panelBankConfig"]["sections"]
    assert [(section["name"], len(section["panels"])) for section in sections] == [
        ("Learning curves", 1)
    ]


def test_headline_tells_data_scores_and_that_they_are_synthetic(made: Path):
    text = headline([Run(made / name) for name in ("ag-seed0", "none-seed0")])
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


def test_wandb_sync_sends_what_was_read_back(experiment: Path, server: type[Server]):
    run = Run(experiment / "ag-seed0")
    command = [sys.executable, "-m", "wandb", "sync", str(run.wandb / "latest-run")]
    done = subprocess.run(command, env=os.environ, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    sent = [json.loads(line) for line in server.files["wandb-history.jsonl"]]
    curves = [{key: row[key] for key in HISTORY[0]} for row in sent]
    held = held_by(run)
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
    assert "not sent yet: 2" in lines[2]
    assert sync_command([Run(experiment / "ag-seed0")]) in lines[2]
    workspace, report = server.views.values()
    assert workspace["displayName"] == report["displayName"] == f"brainseg {GROUP}"
    before = {key: view["spec"] for key, view in server.views.items()}
    assert "fp16" not in str(before)
    upsert_rows(Run(experiment / "none-seed0"), [new_row("fp16", device="cpu", threads=2, **TIMED)])
    assert make_dashboard(experiment) == lines
    assert server.views.keys() == before.keys()
    assert all("fp16" in view["spec"] for view in server.views.values())


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
    with pytest.raises(InputError, match=r"expected 2 runs .* me/brainseg, found none.*wandb sync"):
        make_dashboard(experiment)
    assert not server.views


def test_without_a_server_it_says_what_waits_and_how_to_send_it(
    experiment: Path, nobody: None, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(InputError) as told:
        dashboard(experiment)
    command = f"wandb sync '{experiment}'/*/wandb/latest-run".replace("it's", "it'\"'\"'s")
    for part in ("wandb login", "WANDB_BASE_URL", command):
        assert part in str(told.value)
    shown = capsys.readouterr().out
    assert f"To send them: {command}" in shown  # the brackets too
    lines = shown.splitlines()
    at = lines.index("ag-seed0")
    assert lines[at + 1].endswith(str(latest_offline(Run(experiment / "ag-seed0"))))
    assert re.match(r" +epochs: 2; numbers: \d+, test/mean_iou 1\.0000$", lines[at + 2])
    assert lines[at + 3].endswith("table rows: cases 2, classes 3, deploy 2; images: overlays 2")
    assert lines[at + 4].endswith("not sent yet")
    assert "tracking=none" in lines[lines.index("se-seed0") + 1]


def test_a_server_that_does_not_answer_is_named(
    experiment: Path, nobody: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("brainseg.tracking.dashboard.SERVER_TIMEOUT_S", 0.2)
    with pytest.raises(InputError, match=r"(?s)found: .*127\.0\.0\.1:9.*wandb sync"):
        make_dashboard(experiment)


def test_without_the_extra_it_names_it(experiment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("brainseg.tracking.panels")
    monkeypatch.delitem(sys.modules, "brainseg.tracking.panels")
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(InputError, match=r"pip install 'brainseg\[dashboard\]'"):
        make_dashboard(experiment)


def test_runs_that_were_not_tracked_have_no_dashboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_run(tmp_path / "se-seed0", config_of("se", "none"))
    with pytest.raises(InputError, match=r"(?s)No run in .* was tracked.*tracking=wandb"):
        dashboard(tmp_path)
    shown = capsys.readouterr().out
    assert "se-seed0" in shown
    assert "wandb sync" not in shown


def test_a_run_sent_while_it_ran_needs_no_sending(
    tmp_path: Path, nobody: None, capsys: pytest.CaptureFixture[str]
):
    run = write_run(tmp_path / "ag-seed0", config_of("ag"))
    (run.wandb / "run-20260101_000000-abc").mkdir(parents=True)
    with pytest.raises(InputError):
        dashboard(tmp_path)
    assert "while the run was made" in capsys.readouterr().out


def test_a_run_or_several_experiments_are_refused(experiment: Path):
    with pytest.raises(InputError, match="Give its experiment's folder"):
        make_dashboard(experiment / "ag-seed0")
    other = write_run(experiment / "cbam", config_of("cbam") | {"experiment_name": "other"})
    other.wandb.mkdir()
    with pytest.raises(InputError, match=r"found brainseg/it's \[bold\], brainseg/other"):
        make_dashboard(experiment)
