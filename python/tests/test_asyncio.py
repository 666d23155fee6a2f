"""Consumers in an event loop."""

import asyncio
import select

import pytest
import rust_tango as tango
from conftest import LONG, message


def test_async_for_waits_and_ends():
    async def main():
        link = tango.Link(depth=8, consumers=2)
        tx, rx, other = link.producer(), link.consumer(), link.consumer()

        async def write():
            for i in range(50):
                await asyncio.sleep(0.001 if i % 10 == 0 else 0)
                while True:
                    try:
                        tx.try_publish(message(i % 200), sig=i)
                        break
                    except tango.NoCredits:
                        await asyncio.sleep(0)
            tx.close()

        async def read(rx):
            return [(fragment.sig, bytes(fragment)) async for fragment in rx]

        _, one, two = await asyncio.gather(write(), read(rx), read(other))
        assert one == two == [(i, message(i % 200)) for i in range(50)]

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_from_another_process(peer):
    async def main():
        peer("produce", "numbers", 3000)
        rx = tango.Link.open("numbers").consumer()
        count = 0
        async for fragment in rx:
            assert (fragment.sig, bytes(fragment)) == (count, message(count))
            count += 1
        return count

    assert asyncio.run(asyncio.wait_for(main(), LONG)) == 3000


def test_a_killed_producer_ends_the_loop_with_an_exception(peer):
    async def main():
        process = peer("produce", "numbers")
        rx = tango.Link.open("numbers").consumer()
        with pytest.raises(tango.ProducerGone):
            async for fragment in rx:
                if fragment.seq == 100:
                    process.kill()

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_to_cancel_loses_nothing():
    async def main():
        link = tango.Link()
        tx, rx = link.producer(), link.consumer()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(rx.recv_async(), 0.01)
        tx.publish(b"one")
        assert bytes(await rx.recv_async()) == b"one"
        # Back to waiting without the loop, and again with it.
        tx.publish(b"two")
        assert bytes(rx.recv(timeout=LONG)) == b"two"
        with pytest.raises(tango.Timeout):
            rx.recv(timeout=0.001)
        waits = asyncio.create_task(asyncio.to_thread(lambda: bytes(rx.recv(LONG))))
        while True:
            try:
                rx.next_seq  # noqa: B018
            except tango.Busy:
                break  # it waits
            await asyncio.sleep(0)
        tx.publish(b"three")
        assert await waits == b"three"
        tx.publish(b"four")
        task = asyncio.create_task(rx.recv_async())
        await asyncio.sleep(0)
        task.cancel()
        try:
            fragment = await task  # it was not cancelled in time
        except asyncio.CancelledError:
            fragment = rx.try_recv()
        assert bytes(fragment) == b"four"
        tx.close()
        with pytest.raises(tango.Closed):
            await rx.recv_async()

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_other_tasks_get_a_turn():
    async def main():
        link = tango.Link(depth=1024)
        tx, rx = link.producer(), link.consumer()
        tx.publish_batch([b"x"] * 1000)
        tx.close()
        turns = 0

        async def count():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(count())
        read = [fragment.seq async for fragment in rx]
        other.cancel()
        assert len(read) == 1000 and turns >= 5

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_the_descriptor_works_with_poll():
    link = tango.Link()
    tx, rx = link.producer(), link.observer()
    poll = select.poll()
    poll.register(rx.fileno(), select.POLLIN)
    with pytest.raises(tango.Empty):
        rx.try_recv()
    tx.publish(b"one")
    assert poll.poll(LONG * 1000)
    assert bytes(rx.try_recv()) == b"one"
    with pytest.raises(tango.Empty):
        rx.try_batch(4)
    tx.publish_batch([b"two", b"three"])
    assert poll.poll(LONG * 1000)
    assert [bytes(fragment) for fragment in rx.try_batch(4)] == [b"two"]
    assert bytes(rx.try_recv()) == b"three"
