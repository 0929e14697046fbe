"""One edit at a time on the device, first come first served, a turn for each owner before anybody's second.

The page's own queue hands a cancelled job's place on while its last step still runs, so the device
itself has to be guarded here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType

LEFT_THE_LINE = "You left the line. Nothing was changed."


class QueueFullError(Exception):
    """Too many edits wait already."""


class DeviceQueue:
    """Hands the device to `at_once` ticket holders; `max_waiting` wait behind.

    Who has fewer tickets in the line comes first, then who arrived first.
    """

    def __init__(self, *, max_waiting: int = 8, at_once: int = 1) -> None:
        self.tickets: deque[Ticket] = deque()
        self.changed = threading.Condition()
        self._max_waiting = max_waiting
        self.at_once = at_once

    def enter(self, owner: object = None) -> Ticket:
        """A place in the line, for a `with`; None owns nothing else. `QueueFullError` if the line is full."""
        with self.changed:
            if len(self.tickets) >= self._max_waiting + self.at_once:
                raise QueueFullError(
                    f"{self._max_waiting} edits are waiting already; please try again in a few minutes"
                )
            turn = 0 if owner is None else sum(each.owner == owner for each in self.tickets)
            ticket = Ticket(self, owner, turn)
            # Who holds the device keeps it.
            behind = (i for i, each in enumerate(self.tickets) if i >= self.at_once and each.turn > turn)
            self.tickets.insert(next(behind, len(self.tickets)), ticket)
            return ticket


class Ticket(AbstractContextManager["Ticket"]):
    """A place in the line of a `DeviceQueue`. Leaving its `with` block leaves the line."""

    def __init__(self, queue: DeviceQueue, owner: object, turn: int) -> None:
        self._queue = queue
        self.owner, self.turn = owner, turn

    @property
    def place(self) -> int:
        """How many are before this one; 0 means that it holds the device."""
        queue = self._queue
        with queue.changed:
            return max(0, queue.tickets.index(self) + 1 - queue.at_once)

    def wait(self, *, seconds: float) -> bool:
        """Wait for the device, for at most `seconds`. True if it is held now."""
        with self._queue.changed:
            return self._queue.changed.wait_for(lambda: self.place == 0, timeout=seconds)

    def leave(self) -> None:
        """Give the device or the place in the line back; a second time does nothing."""
        with self._queue.changed:
            if self in self._queue.tickets:
                self._queue.tickets.remove(self)
                self._queue.changed.notify_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def waiting(ticket: Ticket, stop: threading.Event) -> Iterator[str | None]:
    """Wait until a ticket holds the device or the visitor stops waiting.

    Yields how many are before it, in plain words; None while that stays the same.
    """
    told = 0
    # Short waits keep the line cancellable: a closed tab is noticed at the next yield.
    while not stop.is_set() and not ticket.wait(seconds=0.5):
        if ticket.place == told:
            yield None
            continue
        told = ticket.place
        others = "one edit is" if told == 1 else f"{told} edits are"
        yield f"Waiting for the device: {others} before yours. Stop leaves the line."
    if stop.is_set():
        yield LEFT_THE_LINE
