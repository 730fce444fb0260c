"""What was done by a prediction, so that it can be repeated and told from others."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from brainseg import __version__
from brainseg.environment import version_of
from brainseg.files import hash_file
from brainseg.predict.segment import keeps_aspect
from brainseg.predict.settings import Settings
from brainseg.runtime.session import Session
from brainseg.vocabulary import RESEARCH_ONLY

NAME = "manifest.json"

PACKAGES = (
    *("onnxruntime-gpu", "onnxruntime", "numpy", "opencv-python-headless", "pillow"),
    *("nibabel", "pydicom", "highdicom", "python-gdcm"),
)
"""Whose versions may change what is predicted."""


def describe(
    session: Session, settings: Settings, rows: Sequence[dict[str, Any]], started: datetime
) -> dict[str, Any]:
    """The manifest of a prediction, as `manifest.json` holds it.

    Args:
        session: the network.
        settings: that were used.
        rows: of `predictions.csv`.
        started: when.
    """
    used = asdict(settings)
    if used["keep_aspect"] is None:
        used["keep_aspect"] = keeps_aspect(session)
    return {
        "notice": RESEARCH_ONLY,
        "brainseg": __version__,
        "python": sys.version.split()[0],
        "versions": {name: found for name in PACKAGES if (found := version_of(name))},
        "network": {
            "file": session.path.name,
            "sha256": hash_file(session.path),
            "metadata": session.metadata,
        },
        "runtime": session.runtime,
        "device": session.device,
        "threads": session.threads,
        "settings": used,
        "started_at": started.astimezone(UTC).isoformat(timespec="seconds"),
        "rows": list(rows),
    }
