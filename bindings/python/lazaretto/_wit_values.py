"""WIT values as plain Python ones, whatever wasmtime-py makes of them.

wasmtime-py hands a case of a ``result``, ``option`` or ``variant`` over as it is where the cases
have different Python types, and in a ``Variant(tag, payload)`` where they have not: so the shape of
a value depends on its neighbours. Here it never does:

===========================  ===========================================================
WIT                          Python
===========================  ===========================================================
``bool``, integers, strings  themselves
``list<T>``, ``tuple<...>``  ``list``, ``tuple``
``record``                   ``dict``, its keys in snake case
``enum``                     ``str``, as the WIT spells it
``option<T>``                ``None`` or the value
``variant``                  ``(tag, payload)``, the payload ``None`` where the case has none
``result<T, E>``             ``("ok", value)`` or ``("err", value)``
===========================  ===========================================================

What is lowered is checked, so that nothing is found to be wrong only inside wasmtime-py: an
exception there would cost the whole call, and in wasmtime-py 50 may surface in another thread.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from wasmtime.component import (
    Bool,
    EnumType,
    FuncType,
    ListType,
    OptionType,
    Record,
    RecordType,
    ResultType,
    S8,
    S16,
    S32,
    S64,
    String,
    TupleType,
    U8,
    U16,
    U32,
    U64,
    ValType,
    Variant,
    VariantType,
)
from wasmtime.component import _types

Convert = Callable[[Any], Any]
Case = Tuple[str, Optional[ValType]]


class ShapeError(TypeError):
    """A value does not fit the WIT type. Says what was expected, never the value."""


class Shape:
    """How one WIT type goes in and comes out."""

    def __init__(self, lower: Convert, lift: Convert) -> None:
        self.lower = lower
        """Plain Python to what wasmtime-py takes."""
        self.lift = lift
        """What wasmtime-py gives to plain Python."""


class Function:
    """The shapes of a function's parameters and result."""

    def __init__(self, function: FuncType) -> None:
        self.params: List[Shape] = [shape_of(ty) for _, ty in function.params]
        result = function.result
        self.result: Optional[Shape] = None if result is None else shape_of(result)


_RANGES = {
    U8: (0, 1 << 8),
    U16: (0, 1 << 16),
    U32: (0, 1 << 32),
    U64: (0, 1 << 64),
    S8: (-1 << 7, 1 << 7),
    S16: (-1 << 15, 1 << 15),
    S32: (-1 << 31, 1 << 31),
    S64: (-1 << 63, 1 << 63),
}


def shape_of(ty: ValType) -> Shape:
    """Returns the shape of a type. Looked up once: the types of wasmtime-py ask the C library for
    everything each time."""
    if isinstance(ty, String):
        return Shape(_lower_string, _same)
    if isinstance(ty, Bool):
        return Shape(_expect(bool), _same)
    for integer, (low, end) in _RANGES.items():
        if isinstance(ty, integer):
            return Shape(_lower_integer(low, end), _same)
    if isinstance(ty, EnumType):
        return Shape(_lower_enum(_names_of(ty)), _same)
    if isinstance(ty, ListType):
        return _list(ty)
    if isinstance(ty, TupleType):
        return _tuple(ty)
    if isinstance(ty, RecordType):
        return _record(ty)
    if isinstance(ty, OptionType):
        return _option(ty)
    if isinstance(ty, VariantType):
        return _variant(ty.cases)
    if isinstance(ty, ResultType):
        return _variant([("ok", ty.ok), ("err", ty.err)])
    raise NotImplementedError(f"the component uses a WIT type that this package does not know: {type(ty).__name__}")


def is_tagged(cases: List[Case]) -> bool:
    """Returns whether wasmtime-py wraps the cases: two of them may have one Python type."""
    seen: Set[type] = set()
    for _, ty in cases:
        classes = _classes(ty)
        if classes & seen:
            return True
        seen |= classes
    return False


def _classes(ty: Optional[ValType]) -> Set[type]:
    classes: Set[type] = set()
    if ty is None:
        classes.add(object)
    else:
        ty.add_classes(classes)
    return classes


def _same(value: Any) -> Any:
    return value


def _expect(kind: type) -> Convert:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ShapeError(f"expected {kind.__name__}, not {type(value).__name__}")
        return value

    return check


def _lower_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ShapeError(f"expected str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        # A path that is not UTF-8, in a message: Python keeps its bytes as surrogates.
        return value.encode("utf-8", "replace").decode()
    return value


def _lower_integer(low: int, end: int) -> Convert:
    def lower(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ShapeError(f"expected int, not {type(value).__name__}")
        if not low <= value < end:
            raise ShapeError(f"expected a number from {low} to {end - 1}")
        return value

    return lower


def _lower_enum(names: Set[str]) -> Convert:
    def lower(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ShapeError(f"expected one of {', '.join(sorted(names))}")
        return value

    return lower


def _names_of(ty: EnumType) -> Set[str]:
    return {name for name in map(ty.name, range(ty.names_count)) if name is not None}


def _list(ty: ListType) -> Shape:
    element = shape_of(ty.element)

    def lower(value: Any) -> List[Any]:
        if not isinstance(value, (list, tuple)):
            raise ShapeError(f"expected list, not {type(value).__name__}")
        return [element.lower(each) for each in value]

    return Shape(lower, lambda value: [element.lift(each) for each in value])


def _tuple(ty: TupleType) -> Shape:
    elements = [shape_of(each) for each in ty.elements]

    def lower(value: Any) -> Tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != len(elements):
            raise ShapeError(f"expected {len(elements)} values together")
        return tuple(shape.lower(each) for shape, each in zip(elements, value))

    return Shape(lower, lambda value: tuple(shape.lift(each) for shape, each in zip(elements, value)))


def _record(ty: RecordType) -> Shape:
    fields = [(name, name.replace("-", "_"), shape_of(field)) for name, field in ty.fields]

    def lower(value: Any) -> Record:
        if not isinstance(value, dict):
            raise ShapeError(f"expected dict, not {type(value).__name__}")
        record = Record()
        for name, key, shape in fields:
            try:
                setattr(record, name, shape.lower(value.get(key)))
            except ShapeError as error:
                raise ShapeError(f"{key}: {error}") from None
        return record

    def lift(record: Any) -> Dict[str, Any]:
        return {key: shape.lift(getattr(record, name)) for name, key, shape in fields}

    return Shape(lower, lift)


def _option(ty: OptionType) -> Shape:
    some = shape_of(ty.payload)
    if is_tagged([("none", None), ("some", ty.payload)]):

        def lower(value: Any) -> Any:
            return Variant("none") if value is None else Variant("some", some.lower(value))

        return Shape(lower, lambda value: None if value.tag == "none" else some.lift(value.payload))
    return Shape(
        lambda value: None if value is None else some.lower(value),
        lambda value: None if value is None else some.lift(value),
    )


def _variant(cases: List[Case]) -> Shape:
    shapes = {name: None if ty is None else shape_of(ty) for name, ty in cases}
    tagged = is_tagged(cases)
    # Of an untagged value its Python type tells the case: asked in order, and the case without a
    # payload is None.
    classes = [(name, None if ty is None else tuple(_classes(ty))) for name, ty in cases]

    def lower(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != 2 or value[0] not in shapes:
            raise ShapeError(f"expected (tag, payload), the tag one of {', '.join(shapes)}")
        tag, payload = value
        shape = shapes[tag]
        payload = None if shape is None else shape.lower(payload)
        return Variant(tag, payload) if tagged else payload

    def lift(value: Any) -> Tuple[str, Any]:
        if tagged:
            tag, payload = value.tag, value.payload
        else:
            tag, payload = next(
                name for name, kinds in classes if (value is None if kinds is None else isinstance(value, kinds))
            ), value
        shape = shapes[tag]
        return (tag, None if shape is None else shape.lift(payload))

    return Shape(lower, lift)


class _SetPerThread:
    """wasmtime-py notes the Python types of a case in one set for all threads, between clearing and
    reading it: two threads that lower values at once take each other's cases. With this in its
    place each thread has its own.
    """

    def __init__(self) -> None:
        self._here = threading.local()

    def _set(self) -> Set[type]:
        found: Optional[Set[type]] = getattr(self._here, "set", None)
        if found is None:
            found = self._here.set = set()
        return found

    def add(self, kind: type) -> None:
        self._set().add(kind)

    def clear(self) -> None:
        self._set().clear()

    def __iter__(self) -> Iterator[type]:
        return iter(self._set())


if type(getattr(_types, "case_test_cache", None)) is set:
    _types.case_test_cache = _SetPerThread()  # type: ignore[assignment]
