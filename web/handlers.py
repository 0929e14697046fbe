"""All that answers the events of one page, made together because it shares visitors and device."""

from __future__ import annotations

from collections.abc import Sequence

from web.boards import Boards
from web.device import DeviceQueue
from web.editing import Edits
from web.endpoints import Endpoints
from web.examples import Example
from web.judging import SharedInstruments
from web.mask_exchange import MaskExchange
from web.preflight import Measurements
from web.model_picker import ModelPicker
from web.models import Models
from web.opening import Clips
from web.scoring import Scores
from web.pickers import SegmenterPicker, Segmenters
from web.selection import Selections
from web.visitors import VisitorStore


class Handlers:
    """The handlers of a page; nothing is loaded by them.

    Args:
        models: that edit.
        segmenters: that answer clicks.
        examples: that may be opened by name.
        instruments: that measure results.
    """

    def __init__(
        self,
        *,
        models: Models,
        segmenters: Segmenters,
        examples: Sequence[Example],
        instruments: SharedInstruments,
    ) -> None:
        visitors, device, first = VisitorStore(), DeviceQueue(), segmenters.first
        self.visitors = visitors
        self.clips = Clips(visitors=visitors, models=models, segmenter=first, examples=examples)
        self.selections = Selections(visitors=visitors)
        self.edits = Edits(visitors=visitors, device=device, models=models)
        self.scores = Scores(visitors=visitors, instruments=instruments)
        self.boards = Boards(visitors=visitors, device=device, models=models, instruments=instruments)
        self.measurements = Measurements(visitors=visitors, device=device, models=models)
        self.endpoints = Endpoints(editor=models.first, segmenter=first, device=device)
        self.segmenter_picker = SegmenterPicker(visitors=visitors, segmenters=segmenters)
        self.model_picker = ModelPicker(visitors=visitors, models=models, clips=self.clips)
        self.exchange = MaskExchange(visitors=visitors)
