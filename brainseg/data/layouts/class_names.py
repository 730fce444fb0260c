"""Classes as data sets spell them."""

import re

from brainseg.vocabulary import CLASSES


def find_class(name: str) -> str | None:
    """The class that a folder or a table means; `None` where it is none of them.

    Case, blanks and `_` do not matter, nor does `tumor` after the class: `No_Tumor` and
    `glioma tumour` are `notumor` and `glioma`.
    """
    bare = re.sub(r"[\s_-]+", "", name.lower()).replace("tumour", "tumor")
    return next((known for known in CLASSES if bare in (known, f"{known}tumor")), None)
