"""Files in the cache of the hub's library, as if they had been downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreammotion_core.spec import HubPart


def put_into_cache(cache: Path, part: HubPart, files: Mapping[str, Any]) -> Path:
    """Write files of a repository, each with a JSON value, where the library looks for them.

    Returns:
        The folder of the revision.
    """
    snapshot = cache / f"models--{part.source.replace('/', '--')}" / "snapshots" / part.revision
    for name, value in files.items():
        path = snapshot / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    return snapshot
