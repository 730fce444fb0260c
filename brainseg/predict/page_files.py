"""The page that segments in a browser, as files beside a network."""

import shutil
from pathlib import Path

from brainseg.runtime.web_files import IN_PAGES, find_ort

PAGE = Path(__file__).parent / "page"
START = "index.html"


def copy_page(into: Path) -> None:
    """Copy `index.html` and the folder `page` with all that it loads, onnxruntime-web too.

    Opened from a web server, the page reads `manifest.json` beside `index.html`, and the network
    that it names.

    Args:
        into: folder; made where it is missing. Files of the same names are replaced.

    Raises:
        Unavailable: onnxruntime-web is not there.
    """
    ort = find_ort()
    target = into / "page"
    shutil.copytree(PAGE, target, ignore=shutil.ignore_patterns(START), dirs_exist_ok=True)
    (target / "ort").mkdir(exist_ok=True)
    for name in IN_PAGES:
        shutil.copyfile(ort / name, target / "ort" / name)
    shutil.copyfile(PAGE / START, into / START)
