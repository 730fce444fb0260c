"""The end of a sweep: all of its runs are timed side by side."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from brainseg.benchmark.together import time_together
from brainseg.run import Run
from brainseg.tracking.wandb_run import log_results, tracked
from brainseg.training.settings import plan_timing

Job = tuple[Mapping[str, Any], Run]
"""The resolved configuration of a run, and its directory."""


def time_sweep(jobs: Sequence[Job]) -> None:
    """Time the finished runs of a sweep in one interleaved session, if one of them lacks a timing.

    Latencies that were taken one after the other, each after its own training, would compare the
    hours of the day rather than the networks. W&B gets the new rows.

    Args:
        jobs: those that ended well. Jobs that ask for other timings have a session of their own.

    Raises:
        InputError: a run has lost its test images.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    for config, run in jobs:
        groups[json.dumps(config["deploy"], sort_keys=True)].append((config, run))
    for alike in groups.values():
        configs = {run: config for config, run in alike}
        done = time_together(list(configs), plan_timing(alike[0][0]["deploy"]))
        for run, phrases in done.items():
            if phrases:
                with tracked(run, configs[run], job="benchmark") as opened:
                    log_results(opened, run)
