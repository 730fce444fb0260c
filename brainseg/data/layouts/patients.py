"""Which examinations are of one patient, as the names of files and folders tell it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

Place = tuple[str, ...]
"""Where an examination lies: the parts of its path below the data set's folder."""

VISIT = (
    r"(?:ses-[a-z0-9]+|ses(?:sion)?[-_ ]?\d+|(?:visit|time[-_ ]?point|week|month)[-_ ]?\d+(?:-\d+)?"
    r"|(?:tp|fu)[-_ ]?\d+d?|baseline|follow[-_ ]?up[-_ ]?\d*|(?:pre|post)[-_ ]?op[-_ ]?\d*)"
)
"""Words that name an examination."""

DATE = (
    r"(?:(?:19|20)\d\d(?P<gap>[-_. ]?)(?:0[1-9]|1[0-2])(?P=gap)(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])-(?:19|20)\d\d)"
)

PUBLISHED = (r"(BraTS(?:-[A-Za-z]+)+-\d{4,5})-\d{1,3}", r"(UPENN-GBM-\d{5})_\d\d")
"""Names of data sets that number the examinations of a patient."""

FEW = 12
"""So many examinations one patient may have; more of a similar name are of several."""


def find_patients(places: Sequence[Place]) -> list[str]:
    """The patient of each examination.

    It is the path without the parts that name an examination (a word such as `ses-1`, or a date),
    shortened to the part that tells it from all others; in BIDS it is `sub-…`.
    """
    paths = [_leave_out_visits(place) for place in places]
    distinct = list(dict.fromkeys(paths))
    names = dict(zip(distinct, unique_names(distinct), strict=True))
    return [names[path] for path in paths]


def find_doubtful(places: Sequence[Place]) -> list[list[str]]:
    """Groups of patients who may be one person: names alone do not tell.

    They differ only in a last, short number (`P01_1`, `P01_2`), are the few in a numbered folder
    (`P01/a`, `P01/b`), or have no name but that of an examination.
    """
    groups: dict[object, list[str]] = defaultdict(list)
    for path in dict.fromkeys(map(_leave_out_visits, places)):
        numbered = re.fullmatch(r"(.*?(\d+))[-_.](\d+)", path[-1]) if path else None
        if numbered and len(numbered[3]) <= len(numbered[2]):
            groups[path[:-1], numbered[1]].append("/".join(path))
        elif len(path) > 1 and re.search(r"\d", path[-2]) and not path[-1].startswith("sub-"):
            groups[path[:-1]].append("/".join(path))
        elif path and re.fullmatch(f"{VISIT}|{DATE}", path[-1], re.IGNORECASE):
            groups[()].append("/".join(path))
    return [group for group in groups.values() if 2 <= len(group) <= FEW]


def unique_names(places: Iterable[Place]) -> list[str]:
    """A name for each path: its last part that is unique everywhere, else the whole path."""
    places = list(places)
    for depth in range(1, max(map(len, places), default=0) + 1):
        names = [place[-depth] if len(place) >= depth else "" for place in places]
        if len(set(names)) == len(names) and all(names):
            return names
    return ["-".join(place) or "volume" for place in places]


def _leave_out_visits(place: Place) -> Place:
    kept: list[str] = []
    for part in place:
        dated = re.fullmatch(rf"{DATE}(?:[-_. ].*)?", part)
        if kept and re.fullmatch(VISIT, part, re.IGNORECASE):
            continue
        if kept and dated and re.search(r"\d", kept[-1]):
            continue  # in a folder without a number, such as one of a hospital, it may be a name
        kept.append(_leave_out_visit(part))
        if part.startswith("sub-"):
            return (kept[-1],)
    return tuple(kept)


def _leave_out_visit(part: str) -> str:
    """A name without what it ends with, if that names an examination: `P01_ses-1_t1c` is `P01`."""
    for pattern in PUBLISHED:
        if found := re.fullmatch(pattern, part, re.IGNORECASE):
            return found[1]
    person = r"(sub-.*?|.*\d.*?)"  # without a number it may be the name of a study
    ending = rf"[-_. ](?:{VISIT}|{DATE})(?:[-_.][a-z]\w*)*"
    found = re.fullmatch(person + ending, part, re.IGNORECASE)
    return found[1] if found else part
