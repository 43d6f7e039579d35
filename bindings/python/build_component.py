"""Puts the core component and the built-in profiles into the package: ``python
build_component.py``, or by itself when a wheel is built.

It is the file that the environment variable LAZARETTO_WASM names, else the newest that cargo has
built in this source tree, else the one that is there already (in an unpacked source distribution).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Dict

HERE = Path(__file__).resolve().parent
INSIDE = HERE / "lazaretto" / "lazaretto.wasm"
PROFILES = HERE.parent.parent / "src" / "provider" / "providers.json"


def put_in() -> Path:
    """Copies both to where the package reads them, and says where the component is from."""
    if PROFILES.is_file():  # in an unpacked source distribution they are there already
        shutil.copyfile(PROFILES, INSIDE.with_name(PROFILES.name))
    named = os.environ.get("LAZARETTO_WASM")
    if named:
        source = Path(named)
        if not source.is_file():
            raise SystemExit(f"LAZARETTO_WASM names {named}, and there is no such file")
    else:
        target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
        made = "build/lazaretto-host-*/out/lazaretto.wasm"
        found = [*target.glob(f"*/{made}"), *target.glob(f"*/*/{made}")]
        if not found and INSIDE.is_file():
            return INSIDE
        if not found:
            raise SystemExit(
                f"there is no lazaretto.wasm in {target}: build it with `cargo build -p lazaretto-host` in the root of the source tree, or "
                "name a built one in LAZARETTO_WASM"
            )
        source = max(found, key=lambda path: path.stat().st_mtime)
    shutil.copyfile(source, INSIDE)
    return source


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass
else:

    class ComponentBuildHook(BuildHookInterface[Any]):
        """Has the component in the wheel, and says so if there is none."""

        def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
            put_in()


if __name__ == "__main__":
    print(f"{put_in()} -> {INSIDE}", file=sys.stderr)
