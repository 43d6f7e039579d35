"""A component on wasmtime-py with what WASI gives it, and its functions as plain Python: records
are dictionaries in snake case, absent options None, and an `err` an exception.

wasmtime-py gives a variant as itself where the Python types of its cases differ, and as
`Variant(tag, payload)` where they do not. Here the component's own types say which, so that nobody
has to know.
"""

from __future__ import annotations

import os
from typing import Any, Iterable

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Func, Linker, Record, Variant
from wasmtime.component import _types as types

# New files belong to their owner alone. WASI has no word for that, so the process says it.
os.umask(0o077)


class Refused(Exception):
    """The `err` of a result."""

    def __init__(self, value: Any) -> None:
        super().__init__(str(value))
        self.value = value


class Wasi:
    """One instance of a component with folders, an environment, and HTTP."""

    def __init__(
        self,
        engine: Engine,
        component: Component,
        *,
        folders: Iterable[tuple[str, str]] = (),
        env: dict[str, str] | None = None,
        argv: Iterable[str] = (),
        streams: bool = False,
        http: bool = True,
    ) -> None:
        linker = Linker(engine)
        linker.add_wasip2()
        if http:
            linker.add_wasi_http()
        config = WasiConfig()
        config.env = sorted((env or {}).items())
        config.argv = list(argv)
        for host, guest in folders:
            config.preopen_dir(host, guest)
        if streams:
            config.inherit_stdin()
            config.inherit_stdout()
        config.inherit_stderr()
        self.store = Store(engine)
        self.store.set_wasi(config)
        if http:
            self.store.set_wasi_http()
        self.component = component
        self.instance = linker.instantiate(self.store, component)
        self.functions: dict[tuple[str, str], Func] = {}

    def function(self, interface: str, name: str) -> Func:
        found = self.functions.get((interface, name))
        if found is None:
            index = self.instance.get_export_index(self.store, interface)
            index = index and self.instance.get_export_index(self.store, name, index)
            found = index and self.instance.get_func(self.store, index)
            if not found:
                raise LookupError(f"the component does not export {interface}.{name}")
            self.functions[interface, name] = found
        return found

    def call(self, interface: str, name: str, *arguments: Any) -> Any:
        """Calls, and raises `Refused` for an `err`."""
        function = self.function(interface, name)
        kind = function.type(self.store)
        lowered = [lower(wanted, given) for (_, wanted), given in zip(kind.params, arguments, strict=True)]
        answer = function(self.store, *lowered)
        return None if kind.result is None else lift(kind.result, answer)


def lower(kind: Any, value: Any) -> Any:
    """Plain Python to what wasmtime-py wants."""
    match kind:
        case types.RecordType():
            record = Record()
            for name, inner in kind.fields:
                setattr(record, name, lower(inner, value.get(name.replace("-", "_"))))
            return record
        case types.TupleType():
            return tuple(lower(inner, one) for inner, one in zip(kind.elements, value, strict=True))
        case types.ListType() if not isinstance(value, bytes):
            return [lower(kind.element, one) for one in value]
        case types.OptionType():
            inner = None if value is None else lower(kind.payload, value)
            if kind._tagged():
                return Variant("none") if value is None else Variant("some", inner)
            return inner
        case types.VariantType():
            tag, payload = value
            inner = dict(kind._cases())[tag]
            payload = None if inner is None else lower(inner, payload)
            return Variant(tag, payload) if kind._tagged() else payload
        case _:
            return value


def lift(kind: Any, value: Any) -> Any:
    """Returns what wasmtime-py gives to plain Python. A variant is its tag and its payload."""
    match kind:
        case types.RecordType():
            return {name.replace("-", "_"): lift(inner, getattr(value, name)) for name, inner in kind.fields}
        case types.TupleType():
            return [lift(inner, one) for inner, one in zip(kind.elements, value, strict=True)]
        case types.ListType() if not isinstance(value, bytes):
            return [lift(kind.element, one) for one in value]
        case types.OptionType() | types.ResultType() | types.VariantType():
            tag, payload = case_of(kind, value)
            inner = dict(kind._cases())[tag]
            payload = None if inner is None else lift(inner, payload)
            if isinstance(kind, types.VariantType):
                return tag, payload
            if tag == "err":
                raise Refused(payload)
            return payload
        case _:
            return value


def case_of(kind: Any, value: Any) -> tuple[str, Any]:
    if kind._tagged():
        return value.tag, value.payload
    for tag, inner in kind._cases():
        if inner is None:
            if value is None:
                return tag, None
            continue
        classes: set[type] = set()
        inner.add_classes(classes)
        if isinstance(value, tuple(classes)) and value is not None:
            return tag, value
    raise TypeError(f"no case of {kind} is {type(value)}")


def load(path: str) -> tuple[Engine, Component]:
    engine = Engine()
    return engine, Component.from_file(engine, path)
