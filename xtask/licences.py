"""Every package that npm locks or pip installed here has a licence that `deny.toml` allows.

    python3 xtask/licences.py bindings/node/package-lock.json examples/browser/package-lock.json
    target/ci-python/bin/python xtask/licences.py --installed
"""

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What only tools of the build may have: nothing of them is published.
TOOLS_TOO = {"0BSD", "BSD-2-Clause", "PSF-2.0", "MPL-2.0"}
# Names from before licences were written as SPDX expressions.
SPELLINGS = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def allowed() -> set[str]:
    return set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])


def is_allowed(expression: str, known: set[str]) -> bool:
    """One side of an OR, and both of an AND; no more of SPDX is in use here."""
    alternatives = re.split(r"\s+OR\s+", expression)
    return any(all(spdx(part) in known for part in re.split(r"\s+AND\s+", one)) for one in alternatives)


def spdx(name: str) -> str:
    return SPELLINGS.get(name.strip(), name.strip(" ()"))


def of_npm(lock: Path) -> list[tuple[str, str, bool]]:
    packages = json.loads(lock.read_text())["packages"]
    return [(name, of.get("license", ""), of.get("dev", False)) for name, of in packages.items() if name and not of.get("link")]


def of_pip() -> list[tuple[str, str, bool]]:
    found = []
    for distribution in metadata.distributions():
        about = distribution.metadata
        classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or [] if line.startswith("License :: ")]
        licence = about.get("License-Expression") or " OR ".join(classifiers) or (about.get("License") or "").split("\n")[0]
        # Of what is installed for the tests only the engine is a dependency of the binding.
        found.append((about["Name"], licence, about["Name"] != "wasmtime"))
    return found


def main() -> int:
    known = allowed()
    refused, count = [], 0
    for argument in sys.argv[1:]:
        packages = of_pip() if argument == "--installed" else of_npm(Path(argument))
        for name, licence, is_tool in packages:
            count += 1
            if not is_allowed(licence, known | TOOLS_TOO if is_tool else known):
                refused.append(f"{argument}: {name}: {licence or 'no licence'} is not allowed by deny.toml")
    print("\n".join(refused) or f"{count} packages, all with licences that deny.toml allows")
    return 1 if refused or not count else 0


if __name__ == "__main__":
    sys.exit(main())
