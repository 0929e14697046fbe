"""The page in the browser: its components, what it keeps of each visitor, and what answers its events."""

from web.clip import own_temporary_folder
from web.components import CSS_FILES, ICON_FILE, Example, load_examples, page_theme
from web.editor import LazyEditor, OwnedSourceCache
from web.events import connect_page
from web.guard import Guard
from web.layout import notice_part, page_parts, place_line
from web.lending import HostedEditor
from web.models import Models, Segmenters
from web.scoring import SharedInstruments
from web.selection import Selections
from web.visitors import Limits, VisitorStore
from web.wiring import Wiring

__all__ = [
    "CSS_FILES",
    "ICON_FILE",
    "Example",
    "Guard",
    "HostedEditor",
    "LazyEditor",
    "Limits",
    "Models",
    "OwnedSourceCache",
    "Segmenters",
    "Selections",
    "SharedInstruments",
    "VisitorStore",
    "Wiring",
    "connect_page",
    "load_examples",
    "notice_part",
    "own_temporary_folder",
    "page_parts",
    "page_theme",
    "place_line",
]
