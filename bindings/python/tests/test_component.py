"""Shapes of values, and what a guest may use up."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from wasmtime import Engine, Store
from wasmtime.component import Component as Compiled

from lazaretto import Component, InspectionNeeded, Keeper, LazarettoError, Limits
from lazaretto._component import _functions_of, _own_wasm, _type_of
from lazaretto.http.profile_origins import ProfilesError, origins
from lazaretto._wit_values import Function, ShapeError, Shape, is_tagged
from lazaretto.storage import MemoryStorage

Functions = Dict[str, Dict[str, Function]]


@pytest.fixture(scope="module")
def of_the_core() -> Functions:
    engine = Engine()
    ty = Compiled(engine, _own_wasm()).type
    return {**_functions_of(engine, ty.imports(engine)), **_functions_of(engine, ty.exports(engine))}


# What goes through every function that the core has, per result and parameter. A list: several
# values of one type.
ERROR = {"code": "c", "action": "a", "message": "m", "run": "r", "provider": None, "credential": "p", "retry_after_s": 3}
STORAGE_ERROR = ("err", {"code": "denied", "message": "no"})
TOKEN = {
    "token": "t", "token_type": "Bearer", "provider": "p", "credential": "login", "expires_at_ms": (1 << 64) - 1, "picked": "only",
    "origin": "stored", "warning": None, "run": "r", "unsaved": "u",
}  # fmt: skip
STATUS = {
    "provider": "p", "credential": "c", "label": "l", "source": "s", "kind": "oauth", "state": "valid",
    "usable": "yes", "renewal": "ok", "refreshing_by": None, "refreshing_since_ms": 7, "account": "a", "expires_at_ms": 1,
    "retry_at_ms": None, "sealed_until_ms": 0, "last_error": {"code": "c", "message": "m", "reason": "r", "at_ms": None},
    "note": None, "todo": "do",
}  # fmt: skip
REQUEST = {
    "vault": "v", "provider": "p", "credential": None, "min_valid_s": 0, "refused_access_token": "\u00e9\0", "session": "",
}  # fmt: skip
SELECTOR = {"vault": "v", "provider": "p", "credential": "c"}
CALL = {
    "vault": "v", "provider": "p", "credential": None, "session": None, "access_token": "t", "status": 65535,
    "headers": [("a", "b"), ("a", "c")], "body": "",
}  # fmt: skip
ANSWER = {
    "provider": "p", "status": None, "headers": [], "body": "b", "body_complete": True, "body_lossy": False,
    "transport_error": "dns",
}  # fmt: skip
JUDGEMENT = {
    "verdict": "terminal", "status": 400, "code": "c", "sub_code": None, "rule": "r", "retry_after_s": 0, "summary": "s",
    "in_doubt": True, "steps": [{"name": "n", "finding": "f"}],
}  # fmt: skip
DOCUMENT = {"version": "v", "text": "t"}
EVENT = {
    "name": "n", "severity": "info", "at_ms": 1, "provider": "p", "credential": None, "message": "m",
    "attributes": [{"key": "k", "value": "v"}],
}  # fmt: skip
HTTP_REQUEST = {"method": "POST", "url": "u", "headers": [{"name": "n", "value": "v"}], "body": "b", "deadline_ms": 5}
RESPONSE = {"status": 200, "headers": [], "body": "b", "body_complete": False, "body_lossy": True}

VALUES: Dict[str, Tuple[List[List[Any]], List[Any]]] = {
    "storage/load": ([["n"], [None, "v"]], [("ok", ("unchanged", None)), ("ok", ("absent", None)), ("ok", ("loaded", DOCUMENT)), STORAGE_ERROR]),
    "storage/store": (
        [["n"], ["t"], [None, ""], [True, False], [None, "l"]],
        [("ok", ("stored", "v")), ("ok", ("stale", None)), ("ok", ("stale", DOCUMENT)), ("ok", ("unknown", None)), STORAGE_ERROR],
    ),
    "storage/acquire": (
        [[("document", "n"), ("grant", {"document": "n", "fingerprint": "f"})], [0], [1 << 40]],
        [
            ("ok", ("acquired", {"lease": "l", "granted_ttl_ms": None})), ("ok", ("acquired", {"lease": "l", "granted_ttl_ms": 7})),
            ("ok", ("busy", {"name": "", "since_ms": 1})), STORAGE_ERROR,
        ],
    ),
    "storage/release": ([["l"]], []),
    "storage/holder-of": (
        [[("document", "n"), ("grant", {"document": "n", "fingerprint": "f"})]],
        [("ok", None), ("ok", {"name": "pid 1", "since_ms": 1}), ("ok", {"name": "", "since_ms": None}), STORAGE_ERROR],
    ),
    "storage/list": ([["p"]], [("ok", ["a"]), ("ok", []), STORAGE_ERROR]),
    "storage/describe": ([], [{"cas": "c", "reads": "r", "durability": "d", "excludes_foreign": True}]),
    "http/send": (
        [[HTTP_REQUEST]],
        [("ok", RESPONSE), ("err", {"kind": "dns", "sent": "no", "message": "m"}), ("err", {"kind": "x", "sent": "maybe", "message": ""})],
    ),
    "events/emit": ([[EVENT]], []),
    "wall-clock/now": ([], [{"seconds": 1, "nanoseconds": 999_999_999}]),
    "monotonic-clock/now": ([], [(1 << 64) - 1]),
    "random/get-random-u64": ([], [0]),
    "keeper/token": ([[REQUEST]], [("ok", TOKEN), ("err", ERROR)]),
    "keeper/refresh": ([[REQUEST]], [("ok", TOKEN), ("err", ERROR)]),
    "keeper/status": ([["v"], [None, "p"]], [("ok", {"credentials": [STATUS], "warnings": ["w"]}), ("err", ERROR)]),
    "keeper/unquarantine": ([[SELECTOR]], [("ok", STATUS), ("err", ERROR)]),
    "keeper/reset": ([[SELECTOR]], [("ok", {**STATUS, "last_error": None}), ("err", ERROR)]),
    "keeper/save-unsaved": ([["u"]], [("ok", None), ("err", ERROR)]),
    "keeper/origins": ([], [("ok", ["https://a:443"]), ("err", ERROR)]),
    "pool/report": (
        [[CALL]],
        [("ok", {"advice": "use", "token": TOKEN, "retry_after_s": None, "message": "m", "run": None}), ("ok", {"advice": "wait", "token": None, "retry_after_s": 1, "message": "", "run": None}), ("err", ERROR)],
    ),
    "pool/end-use": ([[SELECTOR]], [("ok", None), ("err", ERROR)]),
    "classifier/classify": ([[ANSWER], [None, "{}"], [0]], [("ok", JUDGEMENT), ("err", {"code": "c", "message": "m"})]),
}  # fmt: skip


def through(shape: Shape, ty: Any, value: Any) -> Any:
    """Into the C library's own value and back: what wasmtime-py does on the way."""
    import ctypes

    from wasmtime import _ffi

    raw = _ffi.wasmtime_component_val_t()
    store = Store(Engine())
    ty.convert_to_c(store, shape.lower(value), ctypes.pointer(raw))
    return shape.lift(ty.convert_from_c(raw))


def functions_with_types() -> Iterator[Tuple[str, Any]]:
    engine = Engine()
    ty = Compiled(engine, _own_wasm()).type
    for items in (ty.imports(engine), ty.exports(engine)):
        for instance, item in items.items():
            for name, extern in _type_of(item).exports(engine).items():
                if type(_type_of(extern)).__name__ == "FuncType":
                    yield f"{instance.split('@')[0].split('/')[1]}/{name}", _type_of(extern)


def test_every_value_of_every_function_comes_back() -> None:
    """Every value of every function of the core goes through and comes back."""
    seen = set()
    for name, ty in functions_with_types():
        seen.add(name)
        function = Function(ty)
        params, results = VALUES[name]
        assert len(params) == len(function.params), name
        for (_, param), shape, values in zip(ty.params, function.params, params):
            for value in values:
                assert through(shape, param, value) == value, name
        assert (function.result is None) == (results == []), name
        for value in results:
            assert function.result is not None
            assert through(function.result, ty.result, value) == value, name
    assert seen >= {name for name in VALUES if name != "storage/list"}


def test_the_values_cover_every_record_member_and_case_of_the_wit() -> None:
    wit = Path(__file__).parents[3] / "wit"
    if not wit.is_dir():
        pytest.skip("not in the source tree")
    shown = repr(VALUES)
    for file in ("storage", "http", "events", "keeper", "pool", "classifier"):
        text = re.sub(r"//.*", "", (wit / f"{file}.wit").read_text())
        for body in re.findall(r"(?:record|variant)\s[\w-]+\s*\{([^}]*)\}", text):
            for member in re.findall(r"^\s*%?([a-z][a-z-]*)\s*[:(,]", body, re.M):
                assert f"'{member}'" in shown or f"'{member.replace('-', '_')}'" in shown, f"{file}: {member}"


def test_our_rule_of_what_is_tagged_is_wasmtime_s(of_the_core: Functions) -> None:
    for _, ty in functions_with_types():
        types = [param for _, param in ty.params] + ([ty.result] if ty.result is not None else [])
        while types:
            found = types.pop()
            cases = getattr(found, "_cases", None)
            if cases is not None:
                assert is_tagged(cases()) == found._tagged()
                types += [case for _, case in cases() if case is not None]
            types += [field for _, field in getattr(found, "fields", [])]


def test_threads_that_lower_at_once_do_not_take_each_other_s_cases() -> None:
    # Without _SetPerThread this fails with "value not valid for this variant".
    types = dict(functions_with_types())
    failed: List[BaseException] = []

    def lower(name: str, values: List[Any]) -> None:
        ty = types[name].result
        shape = Function(types[name]).result
        assert shape is not None
        try:
            for _ in range(150):
                for value in values:
                    assert through(shape, ty, value) == value
        except BaseException as error:
            failed.append(error)

    names = ["storage/load", "storage/store", "keeper/token", "keeper/status"] * 2
    threads = [threading.Thread(target=lower, args=(name, VALUES[name][1])) for name in names]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert failed == []


@pytest.mark.parametrize(
    "function, value",
    [
        ("keeper/token", {**REQUEST, "vault": None}), ("keeper/token", {**REQUEST, "min_valid_s": True}),
        ("keeper/token", {**REQUEST, "min_valid_s": -1}), ("keeper/token", []), ("pool/report", {**CALL, "status": 65536}),
        ("pool/report", {**CALL, "headers": [("a",)]}), ("pool/report", {**CALL, "headers": "ab"}),
        ("classifier/classify", {**ANSWER, "body_complete": 1}), ("storage/acquire", ("other", "n")), ("storage/acquire", "n"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_it_is_lowered(of_the_core: Functions, function: str, value: Any) -> None:
    interface, name = function.split("/")
    found = next(functions[name] for key, functions in of_the_core.items() if key.split("@")[0].endswith(f"/{interface}"))
    with pytest.raises(ShapeError):
        found.params[0].lower(value)


def test_a_path_that_is_not_text_is_still_a_message() -> None:
    import os

    interface = MemoryStorage({"vault": "{}"})
    with pytest.raises(Exception) as raised:
        Keeper(storage=interface).token(os.fsdecode(b"\xff"))
    assert "?" in str(raised.value) or "ff" in str(raised.value)


ENDLESS = """
(component
  (core module $m (func (export "spin") (loop br 0)) (memory (export "mem") 1)
    (func (export "grow") (result i32) (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable)) i32.const 1))
  (core instance $i (instantiate $m))
  (func $origins (canon lift (core func $i "spin")))
  (func $grow (result u32) (canon lift (core func $i "grow")))
  (instance $keeper (export "origins" (func $origins)) (export "grow" (func $grow)))
  (export "lazaretto:keeper/keeper@0.1.0" (instance $keeper)))
"""


def test_an_endless_guest_is_stopped_and_costs_its_call_only() -> None:
    from lazaretto._world import World

    component = Component(ENDLESS)  # type: ignore[arg-type]
    world = World(MemoryStorage(), None, None)  # type: ignore[arg-type]
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(InspectionNeeded) as raised:
            component.call(world, Limits(guest_time_s=0.2), "keeper", "origins")
        assert raised.value.code == "internal" and "too long" in raised.value.message
        assert 0.15 < time.monotonic() - begun < 3
    assert Keeper(storage=MemoryStorage({"vault": "{}"})).origins()


def test_a_guest_gets_no_more_memory_than_it_may_have() -> None:
    from lazaretto._world import World

    component = Component(ENDLESS)  # type: ignore[arg-type]
    world = World(MemoryStorage(), None, None)  # type: ignore[arg-type]
    assert component.call(world, Limits(), "keeper", "grow") == 1
    with pytest.raises(InspectionNeeded):
        component.call(world, Limits(memory_bytes=1 << 20), "keeper", "grow")


def guest_of(module: str, call: str = "", more: str = "") -> Component:
    return Component(  # type: ignore[arg-type]
        f"""(component
          (core module $m {module} (func (export "call") (result i32) {call or "i32.const 7"}))
          (core instance $i (instantiate $m)) {more}
          (func $origins (result u32) (canon lift (core func $i "call")))
          (instance $keeper (export "origins" (func $origins)))
          (export "lazaretto:keeper/keeper@0.1.0" (instance $keeper)))"""
    )


def test_a_guest_gets_no_larger_tables_than_it_may_have() -> None:
    from lazaretto._world import World

    world = World(MemoryStorage(), None, None)  # type: ignore[arg-type]
    for by, result in ((200_000_000, 0xFFFF_FFFF), (20_000, 0xFFFF_FFFF), (1_000, 1)):
        component = guest_of("(table $t 1 funcref)", f"(table.grow $t (ref.null func) (i32.const {by}))")
        assert component.call(world, Limits(), "keeper", "origins") == result, by


@pytest.mark.parametrize(
    "module, more",
    [
        ("(table 20001 funcref)", ""),
        ("(table 1 funcref)" * 9, ""),
        ("(memory 1)", "(core instance (instantiate $m))" * 2),
        ("", "(core instance (instantiate $m))" * 8),
    ],
)
def test_a_guest_with_more_tables_memories_or_instances_is_refused(module: str, more: str) -> None:
    from lazaretto._world import World

    world = World(MemoryStorage(), None, None)  # type: ignore[arg-type]
    assert guest_of("(memory 1) (table 1 funcref)").call(world, Limits(), "keeper", "origins") == 7
    with pytest.raises(InspectionNeeded):
        guest_of(module, "", more).call(world, Limits(), "keeper", "origins")


CASES = Path(__file__).parents[3] / "tests" / "cases" / "origins.json"


@pytest.mark.skipif(not CASES.exists(), reason="the cases are the repository's")
@pytest.mark.parametrize("case", json.loads(CASES.read_text()) if CASES.exists() else [], ids=lambda case: case["is"])
def test_the_host_and_the_component_name_the_same_origins(case: Any) -> None:
    providers = case["providers"]
    user = providers if providers is None or isinstance(providers, str) else json.dumps(providers)
    documents = {"vault": "{}", **({} if user is None else {"providers.json": user})}
    try:
        named = origins(user)
    except ProfilesError:
        with pytest.raises(LazarettoError):
            Keeper(storage=MemoryStorage(documents)).origins()
        return
    assert named == Keeper(storage=MemoryStorage(documents)).origins()
    assert set(case.get("names", [])) <= set(named) and not set(case.get("names_not", [])) & set(named)


def test_the_time_that_the_guest_waits_does_not_count() -> None:
    """The time in which the guest waits for the host does not count."""
    class Slow(MemoryStorage):
        def load(self, name: str, known: Any) -> Any:
            time.sleep(0.7)
            return super().load(name, known)

    keeper = Keeper(storage=Slow({"vault": "{}"}), limits=Limits(guest_time_s=0.5))
    assert keeper.status().credentials == []


def test_the_core_imports_only_what_its_world_says(of_the_core: Functions) -> None:
    imports = {name for name in of_the_core if "clocks" in name or "random" in name}
    assert imports == {"wasi:clocks/wall-clock@0.2.0", "wasi:clocks/monotonic-clock@0.2.0", "wasi:random/random@0.2.0"}
    assert not [name for name in of_the_core if "filesystem" in name or "sockets" in name]


