"""Jobs of a sweep as jobs of Slurm, through submitit, whose local executor stands in for a cluster.

Hydra's plug-in gives up a sweep with its first lost job; here the others go on.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from submitit.core.utils import UncompletedJobError

from brainseg.environment import physical_cores
from brainseg.training.sweep import OUTCOMES, note_lost, share_outcomes, take_cores

HANDED_ON = (OUTCOMES, "BRAINSEG_ROOT")
"""Variables that a job requires, also where the cluster hands on none."""

logger = logging.getLogger(__name__)


class SubmititLauncher(BaseSubmititLauncher):
    """Submits the jobs as one array, and waits for all of them."""

    _EXECUTOR = "slurm"

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run jobs, wherever there is room; one that gets lost is noted."""
        assert self.config is not None
        logging.getLogger("submitit").setLevel(logging.ERROR)  # it repeats what sacct lacks
        share_outcomes(Path(self.config.output_dir))
        self.cores = self._cores(len(job_overrides))
        self.variables = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        jobs = self._executor().map_array(
            self,
            [list(overrides) for overrides in job_overrides],
            ["hydra.sweep.dir"] * len(numbers),
            numbers,
            [str(number) for number in numbers],
            [Singleton.get_state()] * len(numbers),
        )
        for number, job in zip(numbers, jobs, strict=True):
            logger.info("Job %d is %s's job %s: %s", number, self._EXECUTOR, job.job_id, _log(job))
        try:
            for number, job in zip(numbers, jobs, strict=True):
                _wait(number, job)
        except BaseException:  # Ctrl-C ends a sweep, wherever its jobs are
            for job in jobs:
                job.cancel(check=False)
            raise
        return [JobReturn(status=JobStatus.COMPLETED) for _ in jobs]

    def __call__(self, *job: Any) -> JobReturn:
        """Run a job, in its own process on its own machine."""
        os.environ.update(self.variables)
        cores = self.cores or int(os.environ.get("SLURM_CPUS_PER_TASK", 0))
        if cores:
            take_cores(cores)
        return super().__call__(*job)

    def _cores(self, jobs: int) -> int | None:
        """The cores of a job; `None` where the cluster says."""
        return self.params.get("cpus_per_task")

    def _executor(self) -> submitit.AutoExecutor:
        settings = dict(self.params)
        folder, cluster = settings.pop("submitit_folder"), self._EXECUTOR
        retries = {"slurm_max_num_timeout": settings.pop("max_num_timeout", 0)}
        executor = submitit.AutoExecutor(folder, cluster=cluster, **retries)
        shared = BaseQueueConf.__dataclass_fields__
        executor.update_parameters(
            **{key if key in shared else f"{cluster}_{key}": settings[key] for key in settings}
        )
        return executor


class LocalLauncher(SubmititLauncher):
    """Runs all jobs at once on this machine, as Slurm would."""

    _EXECUTOR = "local"

    def _cores(self, jobs: int) -> int:
        return super()._cores(jobs) or max(1, physical_cores() // jobs)


def _log(job: submitit.Job) -> Path:
    """Where a job writes what it would show on a terminal."""
    return Path(os.path.relpath(job.paths.stdout))


def _wait(number: int, job: submitit.Job) -> None:
    """Wait for a job; one that its cluster ended, or that could not start, is noted as lost."""
    try:
        job.results()
    except UncompletedJobError:
        note_lost(number, f"Job {job.job_id} ended as {job.state}. Its log: {job.paths.stderr}")
