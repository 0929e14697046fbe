"""One edit at a time on the device, first come first served.

The page's own queue hands a cancelled job's place on while its last step still runs, so the device
itself has to be guarded here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

LEFT_THE_LINE = "You left the line. Nothing was changed."


class QueueFullError(Exception):
    """Too many edits are waiting already."""


class DeviceQueue:
    """Hands the device to one ticket holder at a time, in order of arrival.

    Args:
        max_waiting: tickets that may wait behind those that run.
        at_once: tickets that hold it together; more than one where every edit borrows a device of its own.
    """

    def __init__(self, *, max_waiting: int = 8, at_once: int = 1) -> None:
        self._tickets: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._max_waiting = max_waiting
        self._at_once = at_once

    def enter(self) -> Ticket:
        """A place at the end of the line. Give it back with `Ticket.leave`, or use it in a `with`.

        Raises:
            QueueFullError: if `max_waiting` others wait already.
        """
        with self._changed:
            if len(self._tickets) >= self._max_waiting + self._at_once:
                raise QueueFullError(
                    f"{self._max_waiting} edits are waiting already; please try again in a few minutes"
                )
            ticket = Ticket(self)
            self._tickets.append(ticket)
            return ticket

    def place_of(self, ticket: Ticket) -> int:
        """How many are before this ticket; 0 means that it holds the device."""
        with self._changed:
            return max(0, self._tickets.index(ticket) + 1 - self._at_once)

    def wait_for(self, ticket: Ticket, *, seconds: float) -> bool:
        """Wait until the ticket holds the device, at most so long. True if it does."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._tickets.index(ticket) < self._at_once, timeout=seconds
            )

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out of the line, wherever it stands. Doing so twice does no harm."""
        with self._changed:
            if ticket in self._tickets:
                self._tickets.remove(ticket)
                self._changed.notify_all()


def waiting(ticket: Ticket, stop: threading.Event) -> Iterator[str | None]:
    """Wait until a ticket holds the device or the visitor has had enough.

    Args:
        ticket: in the line.
        stop: set by who has had enough.

    Yields:
        How many are before it, in plain words; None while that stays the same.
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


class Ticket:
    """A place in the line of a `DeviceQueue`. Leaving its `with` block leaves the line."""

    def __init__(self, queue: DeviceQueue) -> None:
        self._queue = queue

    @property
    def place(self) -> int:
        """How many are before this one; 0 means that it holds the device."""
        return self._queue.place_of(self)

    def wait(self, *, seconds: float) -> bool:
        """Wait for the device, at most so long. True if it is held now."""
        return self._queue.wait_for(self, seconds=seconds)

    def leave(self) -> None:
        """Give the device or the place in the line back."""
        self._queue.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
