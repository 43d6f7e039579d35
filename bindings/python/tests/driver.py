"""The conformance driver: one JSON object a line in, one a line out, through the package's public
API. It checks nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any, Dict

from lazaretto import Action, Keeper, LazarettoError

NAMED = ("provider", "credential", "vault")
TOKEN = (*NAMED, "min_valid_s", "refused_access_token", "session")


def call(keeper: Keeper, line: Dict[str, Any]) -> Any:
    """Makes the call that a line asks for. What is null or absent is left to its default."""

    def given(*names: str) -> Dict[str, Any]:
        return {name: line[name] for name in names if line.get(name) is not None}

    name = line["call"]
    if name in ("token", "refresh"):
        return getattr(keeper, name)(**given(*TOKEN))
    if name == "status":
        return keeper.status(**given("provider", "vault")).credentials
    if name == "report":
        return keeper.report(**given(*NAMED, "session", "access_token", "status", "headers", "body"))
    if name in ("reset", "unquarantine", "end_use"):
        return getattr(keeper, name)(**given(*NAMED))
    if name == "origins":
        return keeper.origins()
    if name == "save_unsaved":
        return keeper.save_unsaved(line["unsaved"])
    if name == "classify":
        answer = {key: value for key, value in line["answer"].items() if value is not None}
        return keeper.classify(**answer, now_s=line["now_s"])
    raise LazarettoError("bad-request", f"the driver knows no call {name}", action=Action.USAGE)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return [plain(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    options = json.loads(sys.stdin.readline())
    keeper, failed = None, None
    try:
        keeper = Keeper(**options)
    except LazarettoError as error:
        failed = error
    for text in sys.stdin:
        try:
            if keeper is None:
                assert failed is not None
                raise failed
            answer = {"ok": plain(call(keeper, json.loads(text)))}
        except LazarettoError as error:
            answer = {"error": error.as_dict()}
        print(json.dumps(answer), flush=True)
    if keeper is not None:
        keeper.close()


if __name__ == "__main__":
    main()
