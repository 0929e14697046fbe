"""How often the judge is right: ``python -m benchmarks.judge_accuracy --scenes 300``.

Zero-shot choices on true renders with seeds and combinations never trained on, sharp and blurred.
"""

from __future__ import annotations

import argparse

from benchmarks.toybox import Judge
from training.judge import VIEW_SIZE, accuracy
from training.world import ATTRIBUTES

FIRST_SEED = 4_000_000_000  # seeds that neither training nor `toybox_quality` uses


def main() -> None:
    """Print a table: a row for each kind of picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.judge_accuracy", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--scenes", type=int, default=300)
    judge, seeds = Judge.from_folder(), range(FIRST_SEED, FIRST_SEED + parser.parse_args().scenes)
    print("| Pictures |", " | ".join(ATTRIBUTES), "|")
    print("|---|" + "---|" * len(ATTRIBUTES))
    for close_up in (True, False):
        for sharpness in (VIEW_SIZE, VIEW_SIZE // 2):
            shares = accuracy(
                judge.model,
                judge.tokenizer,
                seeds=seeds,
                held_out=True,
                close_up=close_up,
                sharpness=sharpness,
            )
            name = f"{'close-ups' if close_up else 'whole frames'}{', blurred' * (sharpness < VIEW_SIZE)}"
            print(
                f"| {name} |", " | ".join(f"{shares[a]:.0%}" if a in shares else "" for a in ATTRIBUTES), "|"
            )


if __name__ == "__main__":
    main()
