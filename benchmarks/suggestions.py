"""All edits that the page suggests for its examples, on one sheet, as a newcomer gets them.

    python -m benchmarks.suggestions --out outputs/suggestions.png

One click as the example says, the preset by the words, one seed; beside each edit its source. Look at it with
the titles covered first: does each edit show what was asked for, without a blemish?
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from benchmarks.arguments import described_parser
from benchmarks.edges import ENLARGED, clicked_mask
from benchmarks.sheets import Cell, contact_sheet
from dreammotion_core import DreamMotionPipeline, read_clip
from dreammotion_core.method.source_cache import MemorySourceCache
from dreammotion_core.values import Frames
from segmentation import Click
from training.examples import FOLDER


def suggested_edits(pipe: DreamMotionPipeline, folder: Path, *, seed: int) -> list[Cell]:
    """The edits of one example."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    video = read_clip(folder / "clip.mp4", spec=pipe.spec)
    mask = clicked_mask(video.frames, Click(**meta["click"]))
    cells = []
    for target in meta["target_prompts"]:
        words = {"source_prompt": meta["source_prompt"], "target_prompt": target}
        place = {"size": video.size, "room": meta["rooms"].get(target)}
        choice = pipe.spec.choose_preset(*words.values(), **place)
        config = pipe.spec.config(**words, **place, seed=seed, preview_interval=0)
        output = pipe(video, **words, mask=mask, config=config)
        clips = [enlarged(video.frames), enlarged(output.frames)]
        cells.append(Cell(clips, target, f"{choice.preset}, {output.seconds:.0f} s"))
    return cells


def enlarged(frames: Frames) -> Frames:
    """First and middle frame at half of `ENLARGED` times their size, smoothly, as the page shows them."""
    size = tuple(side * ENLARGED // 2 for side in (frames.shape[2], frames.shape[1]))
    pictures = [Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC) for frame in frames]
    return np.stack([np.asarray(picture) for picture in pictures])


def main() -> None:
    """Run the command line."""
    parser = described_parser("suggestions", __doc__)
    parser.add_argument("--model", default="toybox", help="name or folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(%(default)s)")
    parser.add_argument("--examples", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument("--out", type=Path, default=Path("outputs/suggestions.png"), metavar="PNG")
    options = parser.parse_args()
    disable_progress_bar()
    pipe = DreamMotionPipeline.from_pretrained(options.model, device="cpu", source_cache=MemorySourceCache())
    folders = sorted(path.parent for path in FOLDER.glob("*/meta.json"))
    wanted = [folder for folder in folders if options.examples is None or folder.name in options.examples]
    cells: list[Cell] = []
    for folder in tqdm(wanted, desc="examples", disable=None):
        cells += suggested_edits(pipe, folder, seed=options.seed)
    contact_sheet(cells, options.out, columns=3)
    print(f"{options.out}: {len(cells)} edits")


if __name__ == "__main__":
    main()
