"""Facts about the data behind results: a run's `data.json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainseg.data.cache import Slices
from brainseg.data.leakage import LEFT_OUT, leaking_slices
from brainseg.data.shortcut import describe_trivially, shortcut_auc
from brainseg.vocabulary import NEGATIVE


def describe_data(
    table: pd.DataFrame, slices: Slices, parts: pd.Series, leaks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Count images, patients, duplicates and leaks; measure the source shortcut. Plain JSON.

    Takes what `brainseg.data.load.load_data` returns, and what `divide` returns and finds.
    """
    used = (parts != LEFT_OUT).to_numpy()
    negative = (table["class"] == NEGATIVE).to_numpy()
    groups = table["patient"].fillna("cluster-" + table["cluster"].astype(str))
    features = np.array(
        [describe_trivially(slices.images[row], slices.masks[row]) for row in np.flatnonzero(used)]
    )
    tested = set(table.loc[parts == "test", "id"])
    kinds = Counter(pair.kind for pair in slices.pairs)
    repeated = table["cluster"].value_counts()
    return {
        "images": {
            part: table.loc[rows.index, "class"].value_counts().sort_index().to_dict()
            for part, rows in parts.groupby(parts)
        },
        "patients": table["patient"].groupby(parts).nunique().to_dict(),
        "duplicates": {
            "exact_pairs": kinds["exact"],
            "near_pairs": kinds["near"],
            "clusters": int((repeated > 1).sum()),
            "images_in_clusters": int(repeated[repeated > 1].sum()),
        },
        "leaks": dict(Counter(leak["shared"] for leak in leaks if leak["id"] in tested)),
        "leaking_patients": leaking_slices(table, parts),
        "shortcut_auc": shortcut_auc(features, negative[used], groups[used].tolist()),
    }
