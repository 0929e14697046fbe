"""What a default edit of an example costs as a whole process: ``python -m benchmarks.cli_edit``.

Start-up, model load, segmentation and encoding are included. Memory is the process's peak resident set.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"


def main() -> None:
    """Run the command line once and print wall time and peak memory."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cli_edit", description=__doc__.split("\n")[0])
    parser.add_argument("--example", default="car", choices=sorted(p.name for p in EXAMPLES.iterdir()))
    options = parser.parse_args()
    meta = json.loads((EXAMPLES / options.example / "meta.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dreammotion_core", "edit"]
        command += [str(EXAMPLES / options.example / "clip.mp4"), "--seed", "0"]
        command += ["--source-prompt", meta["source_prompt"], "--target-prompt", meta["target_prompts"][0]]
        command += ["--click", f"{meta['click']['x']},{meta['click']['y']}", "--out", f"{folder}/edited.mp4"]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"wall {seconds:.1f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
