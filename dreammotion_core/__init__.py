"""DreamMotion: rewrite the appearance of an object in a video, keeping everything else.

pipe = DreamMotionPipeline.from_pretrained("toybox")
output = pipe(read_video("clip.mp4"), source_prompt="a red car", target_prompt="a blue car", mask=mask)
write_video(output.video, "edited.mp4")
"""

import lazy_loader

__version__ = "0.2.0"
"""The version of this library, stated once."""

# A name is imported when it is first used: reading a configuration or a video needs no torch. The public list
# is that of `__init__.pyi`: constants, then classes, then functions.
__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted(_names, key=lambda name: (not name.isupper(), name))
