"""The browser side: components, per-visitor state and the handlers behind the page.

Deliberately absent: what goes where, which is `app.py`, and any model or video code.
"""

from web.components import CSS_FILES, Example, load_examples, masthead, page_theme
from web.editing import EDIT_OUTPUTS
from web.editor import HostedEditor, LazyEditor, runs_on
from web.events import (
    Handlers,
    connect_board,
    connect_mask_files,
    connect_models,
    connect_runs,
    connect_segmenters,
)
from web.form import EDIT_FIELDS, FORM_FIELDS, PRESET_OUTPUTS, REFINEMENT_FIELDS
from web.layout import advanced_drawer, clip_row, evidence_part, prompt_part, result_part, selection_part
from web.models import Models
from web.opening import CLIP_OUTPUTS
from web.pickers import LIST_OUTPUTS, PICKER_OUTPUTS, Segmenters
from web.scoring import SharedInstruments
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
