"""What the numbered objects of a mask archive are called: a small JSON file beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dreammotion_core.errors import MaskError

NAMES_ENTRY = "objects.json"
"""Name of the file, in the folder of the pictures."""

MOST_NAMES_BYTES = 2**16
_MOST_CHARACTERS = 40


def names_text(names: Mapping[int, str]) -> str:
    """The content of the file.

    Args:
        names: of the objects, by number.

    Raises:
        MaskError: if one could not be read again.
    """
    for number, name in names.items():
        if not _is_entry(str(number), name):
            raise MaskError(
                f"object {number} is called {name!r}; numbers are from 1 to 255, and names have up to "
                f"{_MOST_CHARACTERS} printable characters"
            )
    entries = {str(number): name for number, name in sorted(names.items())}
    return json.dumps(entries, ensure_ascii=False, indent=1) + "\n"


def read_names(content: bytes) -> dict[int, str] | None:
    """The inverse of `names_text`; None where the content is something else.

    Args:
        content: from strangers, UTF-8.
    """
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or not all(_is_entry(*entry) for entry in entries.items()):
        return None
    return {int(number): name for number, name in entries.items()}


def _is_entry(number: str, name: Any) -> bool:
    is_number = number.isascii() and number.isdecimal() and len(number) <= 3 and 1 <= int(number) <= 255
    return is_number and isinstance(name, str) and name.isprintable() and 1 <= len(name) <= _MOST_CHARACTERS
