"""The base of every closed set of words: a member is the word, as the WIT spells it."""

from __future__ import annotations

from enum import Enum


class ClosedSet(str, Enum):
    """An enum of words. A member equals its word, and prints as it."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(str(self.value), spec)
