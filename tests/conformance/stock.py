"""The driver for `lazaretto-stock.wasm` on wasmtime-py: a granted folder and wasi:http, and no host
code of lazaretto's.

    stock.py <path to lazaretto-stock.wasm>

Reads calls and prints answers, one JSON object a line; the protocol is in README.md.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from wasmtime import WasmtimeError

from wasi_host import Refused, Wasi, load

KEEPER = "lazaretto:keeper/keeper@0.1.0"
POOL = "lazaretto:keeper/pool@0.1.0"
CLASSIFIER = "lazaretto:keeper/classifier@0.1.0"
VAULT = "vault"


def main() -> None:
    engine, component = load(sys.argv[1])
    keeper: Wasi | None = None
    opening = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        call = json.loads(line)
        try:
            keeper = keeper or opened(engine, component, opening)
            answer = {"ok": answered(keeper, call)}
        except Refused as refused:
            answer = {"error": refused.value}
        except WasmtimeError as trap:
            # The instance is over. The next call has another.
            keeper = None
            answer = {"error": {"code": "internal", "action": "inspect", "message": str(trap).splitlines()[0]}}
        print(json.dumps(answer), flush=True)


def opened(engine: Any, component: Any, opening: dict[str, Any]) -> Wasi:
    folders: dict[str, str] = {}

    def granted(path: str, guest: str) -> str:
        """Returns the path as the component sees it, in a folder that it is granted."""
        folder, name = os.path.split(os.path.abspath(path))
        return folders.setdefault(folder, guest) + "/" + name

    env = {"LAZARETTO_VAULT": granted(opening["vault"], "/vault"), "LAZARETTO_FOLDER_IS_PRIVATE": "1"}
    if opening.get("providers"):
        env["LAZARETTO_PROVIDERS"] = granted(opening["providers"], "/providers")
    if opening.get("allow_loopback_http"):
        env["LAZARETTO_ALLOW_LOOPBACK_HTTP"] = "1"
    return Wasi(engine, component, folders=folders.items(), env=env)


def answered(keeper: Wasi, call: dict[str, Any]) -> Any:
    what = call["call"]
    about = {**call, "vault": call.get("vault") or VAULT}
    match what:
        case "token" | "refresh":
            about["min_valid_s"] = call.get("min_valid_s") or 0
            return keeper.call(KEEPER, what, about)
        case "status":
            report = keeper.call(KEEPER, "status", about["vault"], call.get("provider"))
            for warning in report["warnings"]:
                print(f"warning: {warning}", file=sys.stderr)
            return report["credentials"]
        case "report":
            return keeper.call(POOL, "report", {**about, "headers": call.get("headers") or [], "body": call.get("body") or ""})
        case "reset" | "unquarantine":
            return keeper.call(KEEPER, what, about)
        case "end_use":
            return keeper.call(POOL, "end-use", about)
        case "origins":
            return keeper.call(KEEPER, "origins")
        case "classify":
            return keeper.call(CLASSIFIER, "classify", call["answer"], None, call["now_s"])
    raise SystemExit(f"there is no call {what!r}")


if __name__ == "__main__":
    main()
