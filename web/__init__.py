"""The browser side: components, per-visitor state and the handlers behind the page.

Deliberately absent: what goes where, which is `app.py`, and any model or video code.
"""

from web.components import CSS_FILES, masthead
from web.drawer import advanced_drawer
from web.events import connect_mask_files, connect_models, connect_segmenters
from web.editing import EDIT_OUTPUTS
from web.editor import LazyEditor
from web.evidence_events import connect_board, connect_runs
from web.examples import Example, load_examples
from web.handlers import Handlers
from web.hosting import HostedEditor, runs_on
from web.judging import SharedInstruments
from web.model_picker import LIST_OUTPUTS
from web.models import Models
from web.opening import CLIP_OUTPUTS
from web.layout import clip_row, evidence_part, prompt_part, result_part, selection_part
from web.pickers import PICKER_OUTPUTS, Segmenters
from web.form import EDIT_FIELDS, FORM_FIELDS, PRESET_OUTPUTS, REFINEMENT_FIELDS
from web.theme import page_theme
from web.wiring import Wiring

__all__ = [
    "CLIP_OUTPUTS",
    "CSS_FILES",
    "EDIT_FIELDS",
    "EDIT_OUTPUTS",
    "FORM_FIELDS",
    "LIST_OUTPUTS",
    "PICKER_OUTPUTS",
    "PRESET_OUTPUTS",
    "REFINEMENT_FIELDS",
    "Example",
    "Handlers",
    "HostedEditor",
    "LazyEditor",
    "Models",
    "Segmenters",
    "SharedInstruments",
    "Wiring",
    "advanced_drawer",
    "clip_row",
    "connect_board",
    "connect_mask_files",
    "connect_models",
    "connect_runs",
    "connect_segmenters",
    "evidence_part",
    "load_examples",
    "masthead",
    "page_theme",
    "prompt_part",
    "result_part",
    "runs_on",
    "selection_part",
]
