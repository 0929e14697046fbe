"""The app as a Hugging Face Space: what is uploaded, and whether its requirements can be installed there.

``make space-dry`` lists the files, ``make space SPACE=owner/name`` uploads them. ``make space-check``
resolves the requirements for every place without installing anything.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    *("app.py", "downloads.py", "requirements.txt", "README.md", "LICENSE"),
    *("dreammotion_core", "segmentation", "web", "assets"),
)
MOST_BYTES, MOST_FILE_BYTES = 75_000_000, 10_000_000

PLATFORM = "gradio[oauth,mcp]=={sdk_version}\nuvicorn>=0.14.0\nwebsockets>=10.4\nspaces==0.51.3\n"
"""What a Space adds to the same installation (build logs of autumn 2026)."""
LENT_TORCH = "torch<=2.13.0"
"""What a Space with lent GPUs adds (the same logs); the cap rises now and then."""


@dataclass(frozen=True)
class File:
    """A file that goes to the Space."""

    name: str
    size: int


def needed_files(root: Path = ROOT) -> list[File]:
    """What a Space needs of the files under version control, without tests, training and the like."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *NEEDED], cwd=root, capture_output=True, check=True, text=True
    )
    return [File(name, (root / name).stat().st_size) for name in listed.stdout.split("\0") if name]


def problems(files: Sequence[File]) -> Iterator[str]:
    """Why the files cannot go to a Space."""
    total = sum(file.size for file in files)
    if total > MOST_BYTES:
        yield f"{total / 1e6:.1f} MB are more than {MOST_BYTES / 1e6:.0f} MB; leave files out"
    for file in files:
        if file.size > MOST_FILE_BYTES:
            yield f"{file.name} has {file.size / 1e6:.1f} MB, more than {MOST_FILE_BYTES / 1e6:.0f}; split it"


def front_matter(root: Path = ROOT) -> dict[str, str]:
    """The settings of the Space at the head of the README; lists are left as text."""
    head = (root / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    entries = re.findall(r"^(\w+):[ \n](.*?)(?=^\w|\Z)", head, re.MULTILINE | re.DOTALL)
    return {name: value.strip().strip('"') for name, value in entries}


def listed(files: Sequence[File]) -> str:
    """Files and sizes, the largest first, with the sum."""
    rows = [f"{file.size:>12,}  {file.name}" for file in sorted(files, key=lambda file: -file.size)]
    total = sum(file.size for file in files)
    return "\n".join((*rows, f"{total:>12,}  {len(files)} files, {total / 1e6:.1f} MB"))


def upload(space: str, files: Sequence[File]) -> str:
    """Send the files and delete all others of the Space, in one commit.

    Args:
        space: ``owner/name``; it is made where there is none.
        files: relative to the root.

    Returns:
        The address of the Space.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    address = hub.create_repo(space, repo_type="space", space_sdk="gradio", exist_ok=True)
    hub.upload_folder(
        repo_id=space,
        repo_type="space",
        folder_path=ROOT,
        allow_patterns=[re.sub(r"([*?[])", r"[\1]", file.name) for file in files],
        delete_patterns="*",
        commit_message="Upload the app",
    )
    return str(address)


@dataclass(frozen=True)
class Installation:
    """One place where the requirements are installed.

    Attributes:
        name: for people.
        python: its version.
        added: requirements that come on top, one a line.
        is_lowest: whether the oldest versions of the ranges are taken.
    """

    name: str
    python: str
    added: str = ""
    is_lowest: bool = False


def installations(sdk_version: str) -> list[Installation]:
    """Every place that the requirements are made for."""
    platform = PLATFORM.format(sdk_version=sdk_version)
    return [
        Installation("Space, lent GPU", "3.12", f"{platform}{LENT_TORCH}\n"),
        Installation("Space, own GPU or none", "3.12", platform),
        Installation("Space, oldest torch", "3.12", platform, is_lowest=True),
        *(Installation("at home", python) for python in ("3.11", "3.12", "3.13")),
        *(Installation("at home, oldest torch", python, is_lowest=True) for python in ("3.11", "3.13")),
    ]


def resolve(place: Installation, *, requirements: Path = ROOT / "requirements.txt") -> dict[str, str]:
    """The versions that would be installed at a place; nothing is.

    Raises:
        ValueError: with the resolver's own words, if they contradict each other.
    """
    with tempfile.TemporaryDirectory() as folder:
        added = Path(folder) / "added.txt"
        added.write_text(place.added)
        command = [sys.executable, "-m", "uv", "pip", "compile", str(requirements), str(added), "--no-header"]
        command += ["--no-annotate", "--quiet", "--python-version", place.python, "--no-python-downloads"]
        command += ["--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:"]
        command += ["--resolution", "lowest-direct" if place.is_lowest else "highest"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip() or done.stdout.strip())
    return dict(line.split("==") for line in done.stdout.splitlines() if "==" in line)


def check() -> int:
    """Resolve the requirements for every place, and say what would be installed. 1 if one fails."""
    code = 0
    for place in installations(front_matter()["sdk_version"]):
        title = f"{place.name}, Python {place.python}"
        try:
            found = resolve(place)
        except ValueError as error:
            code = 1
            _say(f"✗ {title}\n{error}")
            continue
        names = ("torch", "torchvision", "gradio", "huggingface-hub", "pydantic", "numpy")
        _say(f"✓ {title}: " + ", ".join(f"{name} {found[name]}" for name in names))
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """List, upload or check.

    Returns:
        The exit code: 0 done, 1 failed, 2 what was asked for cannot be.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("dry", help="list what would be uploaded")
    commands.add_parser("check", help="resolve the requirements for every place")
    commands.add_parser("upload", help="upload").add_argument("space", metavar="OWNER/NAME")
    options = parser.parse_args(arguments)
    if options.command == "check":
        return check()
    files = needed_files()
    if options.command == "dry":
        _say(listed(files))
    if found := list(problems(files)):
        _say("\n".join(found))
        return 2
    if options.command == "upload":
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.space):
            _say(f"the Space is {options.space!r}; write make space SPACE=owner/name")
            return 2
        try:
            _say(upload(options.space, files))
        # The hub's client has many errors of its own, of which each says what happened.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            _say(f"nothing was changed on the hub: {reason}; sign in with `hf auth login`")
            return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
