"""The browser side: components, per-visitor state and the handlers behind the page.

Deliberately absent: what goes where and the event table, which are `app.py`, and any model or video code.
"""

from web.components import CSS_FILES, masthead
from web.device import DeviceQueue
from web.drawer import advanced_drawer
from web.editing import EDIT_OUTPUTS, Edits
from web.editor import Editor, HostedEditor, LazyEditor
from web.endpoints import Endpoints
from web.examples import Example, load_examples
from web.mask_exchange import EXPORT_OUTPUTS, MaskExchange
from web.opening import CLIP_OUTPUTS, Clips
from web.parts import clip_row, prompt_part, result_part, selection_part
from web.segmenters import PICKER_OUTPUTS, SegmenterPicker, Segmenters
from web.selecting import Selections
from web.settings import FORM_FIELDS, REFINEMENT_FIELDS, preset_fields
from web.theme import page_theme
from web.visitors import VisitorStore
from web.wiring import Wiring

__all__ = [
    "CLIP_OUTPUTS",
    "CSS_FILES",
    "EDIT_OUTPUTS",
    "EXPORT_OUTPUTS",
    "FORM_FIELDS",
    "PICKER_OUTPUTS",
    "REFINEMENT_FIELDS",
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
    "clip_row",
    "load_examples",
    "masthead",
    "page_theme",
    "preset_fields",
    "prompt_part",
    "result_part",
    "selection_part",
]
