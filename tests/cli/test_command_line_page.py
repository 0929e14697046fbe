"""docs/command-line.md is generated from the argument parser.

Rewrite it with ``python -m tests.cli.test_command_line_page``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dreammotion_core.cli.main import build_parser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
MARK = "<!-- What follows is generated: python -m tests.cli.test_command_line_page -->\n"


def command_line_page(page: str, parser: argparse.ArgumentParser) -> str:
    """The page with everything after the mark written anew from the parser."""
    written, mark, _ = page.partition(MARK)
    assert mark, f"{PAGE.name} has lost its mark"
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return written + mark + "".join(_section(name, command) for name, command in commands.choices.items())


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    needed = [a for a in parser._actions if a.required or not a.option_strings]
    usage = " ".join([parser.prog, *map(_spelled, needed), "[OPTIONS]"])
    lines = [f"\n## `{name}`\n", f"{parser.description}\n", f"`{usage}`\n"]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if not isinstance(a, argparse._HelpAction)]
        if not actions:
            continue
        if group.title not in ("positional arguments", "options"):
            lines.append(f"**{group.title}**\n")
        rows = [f"| {_cell(f'`{_spelled(a)}`')} | {_meaning(a)} |" for a in actions]
        lines.append("\n".join(["| | |", "|---|---|", *rows]) + "\n")
    return "\n".join(lines)


def _spelled(action: argparse.Action) -> str:
    value: object = action.metavar or (action.choices and "{" + ",".join(action.choices) + "}")
    if isinstance(value, tuple):
        value = " ".join(value)
    words = [", ".join(action.option_strings)]
    if action.nargs != 0:
        words.append(f"{value or action.dest.upper()}{' ...' if action.nargs == '+' else ''}")
    return " ".join(filter(None, words))


def _meaning(action: argparse.Action) -> str:
    return _cell((action.help or "") % vars(action)) + (
        " (required)" if action.required and action.option_strings else ""
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def test_the_page_of_the_command_line_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == command_line_page(page, build_parser()), f"rewrite it: python -m {__spec__.name}"


if __name__ == "__main__":
    PAGE.write_text(command_line_page(PAGE.read_text(encoding="utf-8"), build_parser()), encoding="utf-8")
