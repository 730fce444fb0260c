"""Print the oldest versions that pyproject.toml allows, as requirements, one a line.

Usage: floors.py EXTRA…
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = [project["optional-dependencies"][extra] for extra in sys.argv[1:]]
for requirement in sum(extras, project["dependencies"]):
    if ">=" in requirement:  # stubs of types have no floor
        print(requirement.replace(">=", "=="))
