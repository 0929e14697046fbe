"""The browser side: components, per-visitor state and the handlers behind the page.

Deliberately absent: the layout and the event table, which are `app.py`, and any model or video code.
"""

from web.components import CSS_FILES, click_canvas, examples_row, losses_plot, masthead, player
from web.device import DeviceQueue
from web.drawer import advanced_drawer, outline_drawer
from web.editing import EDIT_OUTPUTS, Edits
from web.editor import Editor, HostedEditor, LazyEditor
from web.endpoints import Endpoints
from web.examples import Example, load_examples
from web.opening import CLIP_OUTPUTS, Clips
from web.selecting import Selections
from web.settings import FORM_FIELDS, REFINEMENT_FIELDS, preset_fields, preset_names
from web.theme import page_theme
from web.visitors import VisitorStore
from web.wiring import Wiring

__all__ = [
    "CLIP_OUTPUTS",
    "CSS_FILES",
    "EDIT_OUTPUTS",
    "FORM_FIELDS",
    "REFINEMENT_FIELDS",
    "Clips",
    "DeviceQueue",
    "Editor",
    "Edits",
    "Endpoints",
    "Example",
    "HostedEditor",
    "LazyEditor",
    "Selections",
    "VisitorStore",
    "Wiring",
    "advanced_drawer",
    "click_canvas",
    "examples_row",
    "load_examples",
    "losses_plot",
    "masthead",
    "outline_drawer",
    "page_theme",
    "player",
    "preset_fields",
    "preset_names",
]
