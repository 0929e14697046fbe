"""The command line, `python -m dreammotion_core`."""

from dreammotion_core.cli.main import main

__all__ = ["main"]
