"""The component in wasmtime. Each call runs in an instance of its own, so that in the component no
secret outlives the call it was read for. Python's own strings cannot be overwritten.

The component is compiled once a process (some 0.2 s) and kept. Compiled code is not kept on disk:
to load it is to run it, so whoever could write that file could run anything here.
"""

from __future__ import annotations

import os
import threading
import time
from importlib import resources
from typing import Any, Callable, Dict, List, Optional, Tuple

from wasmtime import Config, Engine, Store, Trap, WasmtimeError
from wasmtime.component import Component as Compiled
from wasmtime.component import ComponentInstanceType, FuncType, Linker

from ._wit_values import Function, ShapeError
from ._world import World
from .errors import ConfigurationNeeded, InspectionNeeded, UsageError

_TICK_S = 0.025
_IDLE_S = 1.0
"""How long the ticker goes on after the last call, so that a busy host does not start it again and
again."""

_TABLE_ELEMENTS = 16 << 10
"""Of each table. They are memory of the host that the limit on linear memory does not count; the
core has some hundred functions."""


class Limits:
    """What one call may use up. A guest that wants more is stopped: that costs the call, never the
    host.

    :param memory_bytes: Linear memory. A vault of 16 MiB needs about six times its size.
    :param guest_time_s: Guest code alone, without the time it waits for the host. An answer that
        was sent for may hold the only refresh token that still works, so with each request the time
        starts anew, at 60 s or more.
    """

    def __init__(self, *, memory_bytes: int = 384 << 20, guest_time_s: float = 10.0) -> None:
        self.memory_bytes = memory_bytes
        self.guest_time_s = guest_time_s


GUEST_TIME_AFTER_A_SEND_S = 60.0


class Component:
    """A component, compiled, and how to call it. Any thread may."""

    _own: Optional[Component] = None
    _own_lock = threading.Lock()

    def __init__(self, wasm: bytes) -> None:
        config = Config()
        config.epoch_interruption = True
        self._engine = Engine(config)
        self._ticker = _Ticker(self._engine)
        self._running = threading.local()
        compiled = Compiled(self._engine, wasm)
        self._compiled = compiled
        self._linker = Linker(self._engine)
        imports = _functions_of(self._engine, compiled.type.imports(self._engine))
        with self._linker.root() as root:
            for instance, functions in imports.items():
                with root.add_instance(instance) as defined:
                    for name, shapes in functions.items():
                        defined.add_func(name, self._import(instance.split("@")[0], name, shapes))
        self._exports: Dict[Tuple[str, str], Tuple[Any, Function]] = {}
        for instance, functions in _functions_of(self._engine, compiled.type.exports(self._engine)).items():
            index = compiled.get_export_index(instance)
            for name, shapes in functions.items():
                key = (instance.split("@")[0].split("/")[-1], name)
                self._exports[key] = (compiled.get_export_index(name, index), shapes)

    @classmethod
    def own(cls) -> Component:
        """Returns the component that this package carries, compiled at the first use."""
        with cls._own_lock:
            if cls._own is None:
                cls._own = cls(_own_wasm())
            return cls._own

    def call(self, world: World, limits: Limits, interface: str, name: str, *arguments: Any) -> Any:
        """Makes one call in an instance of its own. Arguments and result are plain values: see
        ``_wit_values``."""
        function, shapes = self._exports[interface, name]
        try:
            lowered = [shape.lower(argument) for shape, argument in zip(shapes.params, arguments)]
        except ShapeError as error:
            raise UsageError("bad-request", f"{name}: {error}") from None
        guest = _Guest(world, limits)
        running: List[_Guest] = self._running.__dict__.setdefault("guests", [])
        running.append(guest)
        store = Store(self._engine)
        try:
            store.set_limits(
                memory_size=limits.memory_bytes, table_elements=_TABLE_ELEMENTS, instances=8, memories=2, tables=8
            )
            with self._ticker:
                guest.enter(store)
                instance = self._linker.instantiate(store, self._compiled)
                callee = instance.get_func(store, function)
                assert callee is not None
                result = callee(store, *lowered)
            return None if shapes.result is None else shapes.result.lift(result)
        except (WasmtimeError, Trap) as error:
            raise InspectionNeeded("internal", f"the component was stopped: {guest.why or _root_cause(error)}") from None
        finally:
            running.pop()
            store.close()
            world.end()

    def _import(self, instance: str, name: str, shapes: Function) -> Callable[..., Any]:
        key = (instance, name)
        is_send = key == ("lazaretto:keeper/http", "send")
        result = shapes.result

        def answer(store: Any, *arguments: Any) -> Any:
            guest: _Guest = self._running.guests[-1]
            guest.leave()
            lifted = [shape.lift(argument) for shape, argument in zip(shapes.params, arguments)]
            answered = guest.functions[key](*lifted)
            lowered = None if result is None else result.lower(answered)
            if is_send:
                guest.start_anew()
            guest.enter(store)
            return lowered

        return answer


class _Guest:
    """The guest of one call: its imports, and its time, which runs only while it computes
    itself."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.functions = world.functions()
        self._limit_s = limits.guest_time_s
        self._left_s = limits.guest_time_s
        self._entered = 0.0
        self.why: Optional[str] = None

    def enter(self, store: Any) -> None:
        self._entered = time.monotonic()
        # One tick may come at once.
        ticks = int(max(self._left_s, 0.0) / _TICK_S) + 2
        # A StoreContext has no such method, but is all that it needs.
        Store.set_epoch_deadline(store, ticks)

    def leave(self) -> None:
        self._left_s -= time.monotonic() - self._entered

    def start_anew(self) -> None:
        self._limit_s = self._left_s = max(self._limit_s, GUEST_TIME_AFTER_A_SEND_S)


class _Ticker:
    """Ticks an engine's epoch while calls are under way, from a thread that ends by itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._calls = 0
        self._pid = os.getpid()
        self._thread: Optional[threading.Thread] = None

    def __enter__(self) -> None:
        if self._pid != os.getpid():  # a fork has no threads, and its lock may have been taken by one
            self._lock = threading.Lock()
            self._calls, self._thread, self._pid = 0, None, os.getpid()
        with self._lock:
            self._calls += 1
            if self._thread is None:
                thread = threading.Thread(target=self._tick, name="lazaretto-ticker", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return  # without a thread to spare the limit is not kept; the call itself is more use than none
                self._thread = thread

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1

    def _tick(self) -> None:
        idle_s = 0.0
        while True:
            time.sleep(_TICK_S)
            self._engine.increment_epoch()
            with self._lock:
                idle_s = 0.0 if self._calls else idle_s + _TICK_S
                if idle_s >= _IDLE_S:
                    self._thread = None
                    return


def _functions_of(engine: Engine, items: Dict[str, Any]) -> Dict[str, Dict[str, Function]]:
    """Returns the functions of the instances among a component's imports or exports."""
    found: Dict[str, Dict[str, Function]] = {}
    for name, item in items.items():
        instance = _type_of(item)
        if not isinstance(instance, ComponentInstanceType):
            continue
        functions = {}
        for function, extern in instance.exports(engine).items():
            ty = _type_of(extern)
            if isinstance(ty, FuncType):
                functions[function] = Function(ty)
        found[name] = functions
    return found


def _type_of(item: Any) -> Any:
    # Since wasmtime-py 50 an item says more than its type.
    return getattr(item, "ty", item)


def _root_cause(error: BaseException) -> str:
    text = str(error)
    if "interrupt" in text:
        return "it computed for too long"
    # The frames around it are the component's own business.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].split(": ", 1)[-1] if lines else type(error).__name__


def _own_wasm() -> bytes:
    try:
        return resources.files("lazaretto").joinpath("lazaretto.wasm").read_bytes()
    except FileNotFoundError:
        raise ConfigurationNeeded(
            "no-component",
            "lazaretto.wasm is not in this installation: in a source tree build it with `cargo build -p lazaretto-host` and copy it in "
            "with `python bindings/python/build_component.py`",
        ) from None
