"""Shell patterns that name layers: what is accepted, and what they match.

They replace regular expressions, of which a short one can keep the processor busy without end.
"""

from __future__ import annotations

import fnmatch
import re

from dreammotion_core.errors import ConfigError

MOST_KEY_SITES = 16
LONGEST_KEY_SITE = 200
"""Characters of a pattern."""

_NEVER_IN_NAMES = re.compile(r"^\.|\.\.|[^\w.*?\[\]!-]", re.ASCII)
_CHOICE = re.compile(r"\((?:\?:)?([^()]*\|[^()]*)\)(?![*+?{])")

_NEW_SPELLINGS = (
    (re.compile(r"\([^()]*\)[*+?]?"), "*"),
    (re.compile(r"\[\^"), "[!"),
    (re.compile(r"(?:\\[dw]|(?<!\\)\.|\[[^\]]*\])(?:[*+]|\{[^}]*\})"), "*"),
    (re.compile(r"\\d"), "[0-9]"),
    (re.compile(r"\\w"), "?"),
    (re.compile(r"[^\w.*?\[\]!-]", re.ASCII), ""),
    (re.compile(r"\*+"), "*"),
    (re.compile(r"\.{2,}"), "."),
)
"""What a part of a regular expression becomes, one after the other."""


def check_key_pattern(pattern: object) -> None:
    """Refuse what is no shell pattern for the dotted name of a layer.

    Raises:
        ConfigError: if it is empty, too long or a regular expression; for the last, with its new spelling.
    """
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(
            f"key_sites holds {str(pattern)[:50]!r}; pass shell patterns, such as 'up_blocks.*.to_k'"
        )
    if len(pattern) > LONGEST_KEY_SITE:
        raise ConfigError(
            f"key_sites holds a pattern of {len(pattern):,} characters; pass at most {LONGEST_KEY_SITE}"
        )
    if _NEVER_IN_NAMES.search(pattern):
        raise ConfigError(
            f"key_sites holds {pattern!r}, which is no shell pattern; regular expressions are no longer "
            f"accepted; write {' and '.join(map(repr, _shell_spelling(pattern)))}"
        )


def compiled_key_pattern(pattern: str) -> re.Pattern[str]:
    """An expression whose ``match`` accepts the names that a shell pattern names, each as a whole.

    ``*`` stands for any characters, the dot included, ``?`` for one and ``[0-9]`` for one of these. The
    time of a match is at most proportional to the length of the name times that of the pattern.
    """
    # Each star but the last becomes an atomic group, which gives back nothing.
    return re.compile(fnmatch.translate(pattern))


def _shell_spelling(expression: str) -> list[str]:
    """The shell patterns that say what a regular expression said, or nearly so."""
    choice = _CHOICE.search(expression)
    if choice is None:
        spellings = expression.split("|")
    else:
        before, after = expression[: choice.start()], expression[choice.end() :]
        spellings = [f"{before}{option}{after}" for option in choice[1].split("|")]
    for old, new in _NEW_SPELLINGS:
        spellings = [old.sub(new, spelling) for spelling in spellings]
    return [spelling.lstrip(".") or "*" for spelling in spellings]
