"""All edits that the page suggests for its examples, on one sheet, as a newcomer gets them.

    python -m benchmarks.suggestions --out outputs/suggestions.png

One click as the example says, the preset by the words, one seed; beside each edit its source. Look at it with
the titles covered first: does each edit show what was asked for, without a blemish?

    python -m benchmarks.suggestions --keep

writes the first edit of each example beside its clip instead: the page shows it before anything is pressed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from benchmarks.arguments import described_parser
from benchmarks.edges import ENLARGED, clicked_mask
from benchmarks.sheets import Cell, contact_sheet
from dreammotion_core import DreamMotionPipeline, EditOutput, Video, read_clip, write_video
from dreammotion_core.method.source_cache import MemorySourceCache
from dreammotion_core.values import Frames
from segmentation import Click
from training.examples import FOLDER
from web.components import EDIT_NAME


def suggested_edits(
    pipe: DreamMotionPipeline, folder: Path, *, seed: int, most: int | None = None
) -> Iterator[tuple[Video, EditOutput, str]]:
    """The edits of one example, at most `most` of them: the clip, its edit, and the preset by the words."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    video = read_clip(folder / "clip.mp4", spec=pipe.spec)
    mask = clicked_mask(video.frames, Click(**meta["click"]))
    for target in meta["target_prompts"][:most]:
        words = {"source_prompt": meta["source_prompt"], "target_prompt": target}
        place = {"size": video.size, "room": meta["rooms"].get(target)}
        choice = pipe.spec.choose_preset(*words.values(), **place)
        config = pipe.spec.config(**words, **place, seed=seed, preview_interval=0)
        yield video, pipe(video, **words, mask=mask, config=config), choice.preset


def sheet_cell(video: Video, output: EditOutput, preset: str) -> Cell:
    """An edit beside its source, with its words."""
    clips = [enlarged(video.frames), enlarged(output.frames)]
    return Cell(clips, output.target_prompt, f"{preset}, {output.seconds:.0f} s")


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
    parser.add_argument("--keep", action="store_true", help="write edits for the page in place of the sheet")
    options = parser.parse_args()
    disable_progress_bar()
    pipe = DreamMotionPipeline.from_pretrained(options.model, device="cpu", source_cache=MemorySourceCache())
    folders = sorted(path.parent for path in FOLDER.glob("*/meta.json"))
    wanted = [folder for folder in folders if options.examples is None or folder.name in options.examples]
    cells: list[Cell] = []
    most = 1 if options.keep else None
    for folder in tqdm(wanted, desc="examples", disable=None):
        for video, output, preset in suggested_edits(pipe, folder, seed=options.seed, most=most):
            if options.keep:
                print(write_video(output.video, folder / EDIT_NAME))
            else:
                cells.append(sheet_cell(video, output, preset))
    if options.keep:
        return
    contact_sheet(cells, options.out, columns=3)
    print(f"{options.out}: {len(cells)} edits")


if __name__ == "__main__":
    main()
