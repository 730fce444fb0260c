"""Titles of tables; what stands in them is tested with the report as a whole."""

import numpy as np

from brainseg.files import write_json
from brainseg.report.write import more_tables
from brainseg.run import Run
from brainseg.scoring.record import record, record_truth


def add_evaluation(run, name, synthetic):
    """A disc of each class, that is found as it is."""
    found, classes = Run(run.evaluations / name), ("glioma", "meningioma", "pituitary")
    rows, columns = np.mgrid[:40, :40]
    masks = np.stack([np.hypot(rows - 20, columns - 16 - at) < 6 for at in range(len(classes))])
    part = {"ids": np.array(classes), "classes": np.array(classes), "patients": np.array(classes)}
    part |= {"images": (90 + 100 * masks).astype(np.uint8), "masks": masks.astype(np.uint8)}
    record(found, "fp32", part, 200 * part["masks"])
    record_truth(found, part)
    data = {"name": name, "folder": f"/data/{name}", "n": 3, "clusters": 3, "unmasked": 0}
    data |= {"of_own_test": 0, "synthetic": synthetic}
    facts = {"data": data, "modes": ["fp32"], "left_out": {}, "unchecked": None}
    write_json(found.evaluation, facts | {"status": "finished"})


def test_titles_say_which_other_data_are_synthetic(tmp_path):
    run = Run(tmp_path / "ag-seed0")
    add_evaluation(run, "clinic", synthetic=False)
    add_evaluation(run, "phantoms", synthetic=True)
    assert [table.title for table in more_tables({"ag": [run]}, [])] == [
        "On other data",
        "Appropriateness on clinic",
        "Appropriateness on phantoms: synthetic data",
    ]
