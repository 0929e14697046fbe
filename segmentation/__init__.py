"""Clicks become masks: select objects on frames of a clip and follow them through the others.

    frames = ...                                            # (F, H, W, 3) uint8 RGB
    tracks = Tracks(load_segmenter().open(frames), frames)
    history = History(tracks.new_project()).do(lambda project: project.add_object("the car"))
    prompt = Prompt(Selection(3, (Click(46, 81),)))
    history = history.do(lambda project: project.with_prompt(1, prompt))
    for found in tracks.update(history.present):            # streams; closing it cancels
        ...                                                 # found.frame_index, .number, .mask
    health = review_object(tracks, project=history.present, number=1)
    frame = next_doubtful(health, after=3)                  # correct it, update again

Frames are uint8 (F, H, W, 3) RGB, masks bool (H, W), coordinates pixels of the source video with x to
the right and y down.
"""

import lazy_loader

# The public list is that of `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
