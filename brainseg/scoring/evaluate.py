"""A network of any mode on any data set: what `brainseg evaluate` does."""

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from brainseg.data.describe import describe_data
from brainseg.data.external import External, find_copies, load_external
from brainseg.data.leakage import COLUMNS as LEAK_COLUMNS
from brainseg.data.load import data_of
from brainseg.data.parts import read_test, write_part, write_split
from brainseg.environment import describe, hide_home
from brainseg.errors import InputError, in_words
from brainseg.files import write_csv, write_json, write_text
from brainseg.interrupt import settle
from brainseg.lock import locked
from brainseg.model.checkpoint import load_network
from brainseg.run import Run
from brainseg.runtime.open import open_session, require_device
from brainseg.scoring.earlier import check_place, clear, find_kept
from brainseg.scoring.kept import files_of
from brainseg.scoring.models import Model, in_order
from brainseg.scoring.record import record, record_truth
from brainseg.scoring.score import predict_checkpoint, predict_part
from brainseg.vocabulary import CHECKPOINT, TRUTH

logger = logging.getLogger(__name__)


def evaluate_all(
    models: Sequence[Model], root: Path, tell: Callable[[Run], None], **options: Any
) -> None:
    """Evaluate models one after the other; one that fails does not stop the others.

    What training knows of the data set is looked up once for all that were trained on the same.

    Args:
        models: from `brainseg.scoring.models.find_models`.
        root: the data set's folder.
        tell: is given each folder that was written.
        options: of `evaluate`.

    Raises:
        InputError: some failed; it says why.
    """
    loaded: dict[str, External] = {}
    failed: dict[str, list[str]] = defaultdict(list)
    for model in models:
        try:
            target = options.get("out") or _usual_place(model, root)
            check_place(Run(target), root)
            with locked(target):
                tell(evaluate(model, root, **options, loaded=loaded))
        except Exception as error:  # whatever it is, the others can still be done
            settle()
            failed[in_words(error)].append(model.name)
    if failed:
        raise InputError("\n".join(f"{', '.join(who)}: {why}" for why, who in failed.items()))


def evaluate(
    model: Model,
    root: Path,
    *,
    layout: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    out: Path | None = None,
    device: str = "cpu",
    same_patients: bool = True,
    progress: bool = True,
    loaded: MutableMapping[str, External] | None = None,
) -> Run:
    """Predict a data set and score what has masks; write the same files as a run.

    Images that training or validation knows, and those of their patients, are left out and
    counted; where the training's data cannot be looked at, that is said. The run's own test images,
    or copies of them, stay, are counted, and are warned of: what they tell is known already.

    Modes that an earlier evaluation scored, and this one does not, keep their scores where images
    and network are still the same.

    Args:
        model: from `brainseg.scoring.models.find_models`.
        root: the data set's folder.
        layout: how it lies there; `None` detects it.
        data_options: of the layout, see `brainseg.data.cases.read_set`.
        out: where to write; by default the folder `evaluation/<name of root>` of the run, or
            `evaluation/<name of file>-<name of root>` beside a file from elsewhere.
        device: that runs the exported files; the checkpoint takes a GPU where there is one.
        same_patients: whether a patient whose name training knows is the same person.
        progress: whether to draw bars, where standard error is a terminal.
        loaded: what was loaded for other models; taken from there, or added.

    Returns:
        The folder that was written: it has the files of a run, but for those of a training, and
        `evaluation.json`.

    Raises:
        InputError: the data set cannot be used, training knows all of it, the folder holds
            something else, or the device is missing.
    """
    require_device(device)
    target = Run(out or _usual_place(model, root))
    check_place(target, root)
    config = model.run.read_config() if model.run else {}
    taken = {"layout": layout, "options": data_options, "same_patients": same_patients}
    external = _load(model, config, root, taken, {} if loaded is None else loaded)
    kept = find_kept(target, model, external)
    earlier = target.read(target.evaluation).get("devices", {}) if kept else {}
    facts = _describe(model, root, external, kept)
    facts["devices"] = dict.fromkeys(model.files, device) | {
        mode: earlier[mode] for mode in kept if mode in earlier
    }
    clear(target, kept)
    write_json(target.evaluation, facts | {"status": "running"})
    _write_data(target, external, config, root, facts)
    _tell(facts, target)
    test = read_test(target)
    record_truth(target, test)
    if model.checkpoint and model.run:
        network = load_network(model.run)
        found = predict_checkpoint(network, test, progress=progress)
        record(target, CHECKPOINT, test, found, progress=progress)
    for mode, file in model.files.items():
        found = predict_part(open_session(file, device), test, mode, progress=progress)
        record(target, mode, test, found, progress=progress)
    made = [target.test, target.split, target.leaks, target.data, target.appropriateness(TRUTH)]
    made += [file for mode in facts["modes"] for file in files_of(target, mode)]
    written = {"status": "finished", "files": target.hash_files(made)}
    write_json(target.evaluation, facts | written)
    return target


def _usual_place(model: Model, root: Path) -> Path:
    name = _name(root)
    if model.run:
        return model.run.evaluations / name
    file = next(iter(model.files.values()))
    return Run(file.parent).evaluations / f"{file.stem}-{name}"


def _name(root: Path) -> str:
    """As it was typed: what a link points to may be called anything."""
    return Path(os.path.normpath(root.absolute())).name


def _load(
    model: Model,
    config: Mapping[str, Any],
    root: Path,
    taken: Mapping[str, Any],
    loaded: MutableMapping[str, External],
) -> External:
    data = data_of(model.run) if model.run else None
    arguments: dict[str, Any] = {
        **taken,
        "size": model.size,
        "cache": data["cache_dir"] if data else None,
        "trained": data,
        "phantom_seed": config.get("split", {}).get("seed", 0),
        "known": _known(model.run),
    }
    key = json.dumps([str(root), arguments], sort_keys=True)
    if key not in loaded:
        loaded[key] = load_external(root, **arguments)
    return loaded[key]


def _known(run: Run | None) -> dict[str, str]:
    """The part of each case that the run's training knows."""
    rows = run.read(run.split) if run and run.split.exists() else []
    return {row["id"]: row["split"] for row in rows if row["split"] in ("train", "val")}


def _write_data(
    target: Run, external: External, config: Mapping[str, Any], root: Path, facts: dict[str, Any]
) -> None:
    table = external.table.assign(patient=external.table["patient"].fillna(""))
    leaks, parts = external.leaks, external.parts
    data = {**config.get("data", {}), "name": facts["data"]["name"], "root": str(root)}
    for key in ("negatives", "test", "duplicates"):
        data.pop(key, None)
    described = {**config, "data": data, "split": {"name": "external"}}
    write_text(
        target.config, yaml.safe_dump(hide_home(described), sort_keys=False, allow_unicode=True)
    )
    write_json(target.environment, describe())
    write_csv(target.leaks, leaks, LEAK_COLUMNS)
    write_json(target.data, describe_data(external.table, external.slices, parts, leaks))
    write_split(target.split, table, parts)
    write_part(target.test, table, external.slices, np.flatnonzero(parts == "test"))


def _describe(
    model: Model, root: Path, external: External, kept: Mapping[str, str]
) -> dict[str, Any]:
    """The content of `evaluation.json`."""
    part = (external.parts == "test").to_numpy()
    tested = external.table[part]
    networks = {**kept, **{mode: model.hash_network(mode) for mode in model.modes}}
    own = read_test(model.run) if model.run and model.run.test.exists() else None
    return {
        "model": model.name,
        "modes": in_order(networks),
        "networks": networks,
        "data": {
            "name": _name(root),
            "root": hide_home(str(root)),
            "folder": hide_home(str(root.resolve())),
            "synthetic": (root / "phantom.json").exists(),
            "n": len(tested),
            "clusters": int(tested["cluster"].nunique()),
            "of_own_test": int(find_copies(external, own)[part].sum()) if own else None,
            "classes": tested["class"].value_counts().sort_index().to_dict(),
            "patients": int(tested["patient"].nunique()),
            "unmasked": int(tested["unmasked"].sum()),
        },
        "left_out": dict(Counter(leak["shared"] for leak in external.leaks)),
        "unchecked": external.unchecked,
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _tell(facts: Mapping[str, Any], target: Run) -> None:
    """Say what is left out, what is no other data, and what cannot be scored."""
    data, left_out = facts["data"], facts["left_out"]
    if facts["unchecked"]:
        logger.warning(
            "Nobody can tell whether training knows some of these images: %s. The scores may "
            "flatter the network.",
            facts["unchecked"],
        )
    if left_out:
        logger.info(
            "%d images are left out: %s; see %s.",
            sum(left_out.values()),
            ", ".join(f"{count} for a known {what}" for what, count in left_out.items()),
            target.leaks,
        )
    if data["of_own_test"]:
        logger.warning(
            "%d of %d images are (copies of) the run's own test images: these are no other data.",
            *(data["of_own_test"], data["n"]),
        )
    if data["unmasked"]:
        logger.info(
            "%d of %d images show a tumour that nobody outlined: they are predicted, not scored.",
            *(data["unmasked"], data["n"]),
        )
