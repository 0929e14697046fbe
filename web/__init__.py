"""The browser side: components, per-visitor state and the handlers behind the page.

Deliberately absent: the layout and the event table, which are `app.py`, and any model or video code.
"""

from web.components import (
    CSS_FILES,
    click_canvas,
    examples_row,
    losses_plot,
    masthead,
    player,
    segmenter_list,
)
from web.device import DeviceQueue
from web.drawer import advanced_drawer
from web.editing import EDIT_OUTPUTS, Edits
from web.editor import Editor, HostedEditor, LazyEditor
from web.endpoints import Endpoints
from web.examples import Example, load_examples
from web.mask_exchange import EXPORT_OUTPUTS, MASK_FILE_TYPES, MASK_KINDS, MaskExchange
from web.opening import CLIP_OUTPUTS, Clips
from web.segmenters import PICKER_OUTPUTS, SegmenterPicker, Segmenters
from web.selecting import Selections
from web.settings import FORM_FIELDS, preset_fields, preset_names
from web.theme import page_theme
from web.visitors import VisitorStore
from web.wiring import Wiring

__all__ = [
    "CLIP_OUTPUTS",
    "CSS_FILES",
    "EDIT_OUTPUTS",
    "EXPORT_OUTPUTS",
    "FORM_FIELDS",
    "MASK_FILE_TYPES",
    "MASK_KINDS",
    "PICKER_OUTPUTS",
    "Clips",
    "DeviceQueue",
    "Editor",
    "Edits",
    "Endpoints",
    "Example",
    "HostedEditor",
    "LazyEditor",
    "MaskExchange",
    "SegmenterPicker",
    "Segmenters",
    "Selections",
    "VisitorStore",
    "Wiring",
    "advanced_drawer",
    "click_canvas",
    "examples_row",
    "load_examples",
    "losses_plot",
    "masthead",
    "page_theme",
    "player",
    "preset_fields",
    "preset_names",
    "segmenter_list",
]
