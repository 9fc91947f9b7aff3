"""Print pip constraints: the lowest version of each dependency that pyproject.toml allows."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"].values()
for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
    if not requirement.startswith("kmq["):
        name, _, version = requirement.partition(">=")
        print(f"{name.partition('[')[0]}=={version}")  # constraints name no extras
