"""How good is an edit? Metrics of frames, masks and tracks, the models behind some, and the ablation board.

`evaluate_edit` computes every metric that a clip allows; each metric is also a function of its own.
"""

import lazy_loader

# The public list is that of `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
