"""A network of any mode on any data set: what `brainseg evaluate` does."""

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from brainseg.data.describe import describe_data
from brainseg.data.external import External, find_copies, load_external
from brainseg.data.leakage import COLUMNS as LEAK_COLUMNS
from brainseg.deploy.environment import describe
from brainseg.deploy.models import Model, in_order
from brainseg.deploy.record import record, record_truth
from brainseg.deploy.score import predict_checkpoint, predict_part
from brainseg.deploy.session import open_session
from brainseg.deploy.testset import read_test, write_part, write_split
from brainseg.errors import InputError
from brainseg.files import read_csv, read_json, write_csv, write_json, write_text
from brainseg.run import CHECKPOINT, Run

logger = logging.getLogger(__name__)


def evaluate_all(
    models: Sequence[Model], root: Path, tell: Callable[[Run], None], **options: Any
) -> None:
    """Evaluate models one after the other; one that fails does not stop the others.

    What training knows of the data set is looked up once for all that were trained on the same.

    Args:
        models: from `brainseg.deploy.models.find_models`.
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
            tell(evaluate(model, root, **options, loaded=loaded))
        except Exception as error:  # whatever it is, the others can still be done
            failed[str(error)].append(model.name)
    if failed:
        raise InputError("\n".join(f"{', '.join(who)}: {why}" for why, who in failed.items()))


def evaluate(
    model: Model,
    root: Path,
    *,
    layout: str | None = None,
    out: Path | None = None,
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
        model: from `brainseg.deploy.models.find_models`.
        root: the data set's folder.
        layout: how it lies there; `None` detects it.
        out: where to write; by default the folder `evaluation/<name of root>` of the run, or
            `evaluation/<name of file>-<name of root>` beside a file from elsewhere.
        same_patients: whether a patient whose name training knows is the same person.
        progress: whether to draw bars, where standard error is a terminal.
        loaded: what was loaded for other models; taken from there, or added.

    Returns:
        The folder that was written: it has the files of a run, but for those of a training, and
        `evaluation.json`.

    Raises:
        InputError: the data set cannot be used, training knows all of it, or the folder holds
            something else.
    """
    target = Run(out or _usual_place(model, root))
    _check_place(target, root)
    config = model.run.read_config() if model.run else {}
    external = _load(model, config, root, layout, same_patients, {} if loaded is None else loaded)
    kept = _find_kept(target, model, external)
    _clear(target, kept)
    facts = _describe(model, root, external, kept)
    write_json(target.evaluation, facts | {"status": "running"})
    _write_data(target, external, config, root, facts)
    _tell(facts, target)
    test = read_test(target)
    record_truth(target, test)
    if model.checkpoint and model.run:
        record(target, CHECKPOINT, test, predict_checkpoint(model.run, test, progress=progress))
    for mode, file in model.files.items():
        record(target, mode, test, predict_part(open_session(file), test, mode, progress=progress))
    write_json(target.evaluation, facts | {"status": "finished"})
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


def _check_place(target: Run, root: Path) -> None:
    """Refuse a folder that holds anything but an evaluation of this data set."""
    if target.evaluation.exists():
        there = read_json(target.evaluation)["data"]["folder"]
        if there != str(root.resolve()):
            raise InputError(
                f"{target.path} holds an evaluation of other data, {there}. Choose another place "
                "with --out."
            )
    elif target.path.exists() and any(target.path.iterdir()):
        raise InputError(
            f"{target.path} is not empty and holds no evaluation. Choose a new folder with --out."
        )


def _load(
    model: Model,
    config: Mapping[str, Any],
    root: Path,
    layout: str | None,
    same_patients: bool,
    loaded: MutableMapping[str, External],
) -> External:
    data = _typed_data(model.run, config) if model.run else None
    arguments: dict[str, Any] = {
        "layout": layout,
        "size": model.size,
        "cache": data["cache_dir"] if data else None,
        "trained": data,
        "phantom_seed": config.get("split", {}).get("seed", 0),
        "known": _known(model.run),
        "same_patients": same_patients,
    }
    key = json.dumps([str(root), arguments], sort_keys=True)
    if key not in loaded:
        loaded[key] = load_external(root, **arguments)
    return loaded[key]


def _find_kept(target: Run, model: Model, external: External) -> dict[str, str]:
    """Modes that an earlier evaluation scored on these images with the same network, and hashes."""
    if not target.evaluation.exists():
        return {}
    there = read_json(target.evaluation)
    others = [
        mode
        for mode in there["modes"]
        if mode not in model.modes and target.cases(mode).exists()  # the last that is written
    ]
    networks = there.get("networks", {}) if _has_images(target, external) else {}
    kept = {
        mode: networks[mode]
        for mode in others
        if mode in networks and networks[mode] == model.hash_network(mode)
    }
    if len(kept) < len(others):
        logger.info(
            "The scores of %s in %s are removed: they belong to other images or another network.",
            *(", ".join(mode for mode in others if mode not in kept), target.path),
        )
    return kept


def _has_images(target: Run, external: External) -> bool:
    """Whether an evaluation's images, and all that is known of them, are those of this one."""
    if not target.test.exists():
        return False
    there, rows = read_test(target), np.flatnonzero(external.parts == "test")
    table, slices = external.table.iloc[rows], external.slices
    here: dict[str, Any] = {
        "ids": table["id"],
        "classes": table["class"],
        "patients": table["patient"].fillna(""),
        "unmasked": table["unmasked"],
        "images": slices.images[rows],
        "masks": slices.masks[rows],
    }
    return all(np.array_equal(there[name], values) for name, values in here.items())


def _clear(target: Run, kept: Collection[str]) -> None:
    """Remove what an earlier evaluation found there of other modes, or on other images."""
    for made in (target.cases, target.predictions, target.metrics_of, target.appropriateness):
        spared = {made(mode) for mode in kept}
        for file in {*target.path.glob(made("*").name), made(CHECKPOINT)} - spared:
            file.unlink(missing_ok=True)


def _typed_data(run: Run, config: Mapping[str, Any]) -> dict[str, Any]:
    """The run's `data`, with its paths as seen from here."""
    folder = Path(run.read_environment().get("folder") or ".")
    data = dict(config["data"])
    for key in ("root", "negatives", "cache_dir"):
        if data.get(key):
            data[key] = str(folder / data[key])
    return {"cache_dir": None} | data


def _known(run: Run | None) -> dict[str, str]:
    """The part of each case that the run's training knows."""
    rows = read_csv(run.split) if run and run.split.exists() else []
    return {row["id"]: row["split"] for row in rows if row["split"] in ("train", "val")}


def _write_data(
    target: Run, external: External, config: Mapping[str, Any], root: Path, facts: dict[str, Any]
) -> None:
    table = external.table.assign(patient=external.table["patient"].fillna(""))
    leaks, parts = external.leaks, external.parts
    data = {**config.get("data", {}), "name": facts["data"]["name"], "root": str(root)}
    for key in ("negatives", "test", "harmonize", "duplicates"):
        data.pop(key, None)
    described = {**config, "data": data, "split": {"name": "external"}}
    write_text(target.config, yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
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
            "root": str(root),
            "folder": str(root.resolve()),
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
