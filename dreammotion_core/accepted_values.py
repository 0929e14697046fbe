"""What a setting accepts: written down once for each, and checked by one function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dreammotion_core.errors import ConfigError


class Accepted(Protocol):
    """The values that a setting can have."""

    def holds(self, value: Any) -> bool:
        """Whether it can have that one."""

    def __str__(self) -> str:
        """What to pass, for errors."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`, and None where it is `optional`."""

    low: int
    high: int
    optional: bool = False

    def holds(self, value: Any) -> bool:
        """True and False are no numbers."""
        return (self.optional and value is None) or (is_whole(value) and self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Real:
    """Numbers from `low`, or, with `above`, from above it, to `high`."""

    low: float
    high: float
    above: bool = False

    def holds(self, value: Any) -> bool:
        """True and False are no numbers."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        return f"a number {'above' if self.above else 'from'} {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Sides:
    """A tuple (height, width) of whole numbers from `low` to `high`."""

    low: int
    high: int

    def holds(self, value: Any) -> bool:
        """Whether there are two, each within the range."""
        each = Whole(self.low, self.high)
        return isinstance(value, tuple) and len(value) == 2 and all(map(each.holds, value))

    def __str__(self) -> str:
        return f"two whole numbers (height, width) from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Kind:
    """All values of a type, and None where it is `optional`."""

    type: type
    described: str
    optional: bool = False

    def holds(self, value: Any) -> bool:
        """Whether it is of that type."""
        return isinstance(value, self.type) or (self.optional and value is None)

    def __str__(self) -> str:
        return self.described


FLAG = Kind(bool, "True or False")


def check_accepted(settings: object, *, accepted: Mapping[str, Accepted]) -> None:
    """Refuse settings of which one has a value that it cannot have.

    Args:
        settings: with an attribute for each setting.
        accepted: name of a setting -> what it accepts; names that `settings` does not have are passed over.

    Raises:
        ConfigError: naming the first, its value and what it accepts.
    """
    for name, values in accepted.items():
        if hasattr(settings, name) and not values.holds(value := getattr(settings, name)):
            raise ConfigError(f"{name} is {value!r}; pass {values}")


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, and neither True nor False."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
