"""One edit at a time on the device, first come first served."""

from __future__ import annotations

import pytest

from dreammotion_core import (
    MaskError,
)
from web.device import DeviceQueue, QueueFullError


def test_the_device_is_held_by_one_at_a_time_in_order_of_arrival() -> None:
    queue = DeviceQueue()
    first, second, third = queue.enter(), queue.enter(), queue.enter()

    assert (first.place, second.place, third.place) == (0, 1, 2)
    assert not second.wait(seconds=0.01)
    first.leave()
    assert second.wait(seconds=0.01)
    assert third.place == 1


def test_leaving_the_line_lets_those_behind_move_up() -> None:
    queue = DeviceQueue()
    holder, impatient, patient = queue.enter(), queue.enter(), queue.enter()

    impatient.leave()
    holder.leave()

    assert patient.wait(seconds=0.01)


def test_a_failing_edit_gives_the_device_back() -> None:
    queue = DeviceQueue()

    with pytest.raises(MaskError), queue.enter():
        raise MaskError("no")

    assert queue.enter().wait(seconds=0.01)


def test_a_full_line_is_refused() -> None:
    queue = DeviceQueue(max_waiting=1)
    queue.enter()
    queue.enter()

    with pytest.raises(QueueFullError, match="try again"):
        queue.enter()


def test_everybody_has_a_turn_before_anybody_has_a_second() -> None:
    queue = DeviceQueue()
    running, waiting, third = queue.enter("greedy"), queue.enter("greedy"), queue.enter("greedy")

    newcomer, other = queue.enter("patient"), queue.enter()

    assert list(queue.tickets) == [running, newcomer, other, waiting, third]
    assert running.place == 0
    running.leave()
    assert newcomer.wait(seconds=0.01)
    assert queue.enter("patient").place == 3
