"""Consumers in event loops of asyncio.

A consumer in this mode has a descriptor, which is readable unless the consumer was read in vain (``Consumer.fileno``).
One native thread of the process waits for all such consumers. So a task that waits takes no thread of a pool, and the
event loop sleeps in its selector.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ._errors import Closed, Empty

if TYPE_CHECKING:
    from ._native import Consumer, Fragment

# After this many fragments that were already there, other tasks get a turn.
_TURN = 128


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def wake() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)


async def recv(rx: "Consumer") -> "Fragment":
    """The next fragment. Nothing is read before it is returned: to cancel the task loses no fragment."""
    descriptor = rx.fileno()
    while True:
        try:
            return rx.try_recv()
        except Empty:
            await _readable(descriptor)


class Fragments(AsyncIterator["Fragment"]):
    """What ``async for`` iterates over."""

    def __init__(self, rx: "Consumer") -> None:
        self._rx = rx
        self._streak = 0

    async def __anext__(self) -> "Fragment":
        self._streak += 1
        if self._streak > _TURN:
            self._streak = 0
            await asyncio.sleep(0)
        try:
            return await recv(self._rx)
        except Closed:
            raise StopAsyncIteration from None
