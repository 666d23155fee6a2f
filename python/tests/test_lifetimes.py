"""A payload is alive exactly as long as its fragment. Everything later is an exception."""

import gc
import weakref

import numpy
import pytest
import rust_tango as tango


@pytest.fixture(params=["consumer", "evictable_consumer", "observer"])
def ends(request):
    link = tango.Link(depth=8, mtu=1000)
    return link.producer(), getattr(link, request.param)()


def test_use_after_release(ends):
    tx, rx = ends
    tx.publish(b"one")
    fragment = rx.recv()
    fragment.release()
    fragment.release()
    for use in (bytes, memoryview, lambda f: f.payload, lambda f: f.copy(), lambda f: numpy.frombuffer(f, "u1")):
        with pytest.raises(tango.Released):
            use(fragment)
    assert not fragment.is_alive and (fragment.seq, len(fragment)) == (1, 3)
    assert "released" in repr(fragment)


def test_the_next_fragment_ends_the_one_before(ends):
    tx, rx = ends
    tx.publish_batch([b"one", b"two", b"three"])
    first = rx.recv()
    second = rx.try_recv()
    with pytest.raises(tango.Released):
        bytes(first)
    first.release()  # is not the second's
    assert bytes(second) == b"two"
    batch = rx.batch(3)
    assert not second.is_alive and [bytes(fragment) for fragment in batch] == [b"three"]


def test_a_fragment_with_buffers_is_not_released(ends):
    tx, rx = ends
    tx.publish_batch([b"one", b"two"])
    fragment = rx.recv()
    view, array = memoryview(fragment), numpy.frombuffer(fragment, "u1")
    for end in (fragment.release, rx.recv, rx.try_recv, lambda: next(rx), lambda: rx.batch(2), rx.close):
        with pytest.raises(BufferError, match=r"2 exported buffer.*del"):
            end()
    assert bytes(view) == array.tobytes() == b"one"
    view.release()
    with pytest.raises(BufferError, match="1 exported buffer"):
        rx.recv()
    del array
    assert bytes(rx.recv()) == b"two"


def test_a_loop_says_that_a_buffer_was_kept(ends):
    tx, rx = ends
    tx.publish_batch([b"one", b"two"])
    tx.close()
    with pytest.raises(BufferError, match="copy"):
        for fragment in rx:
            array = numpy.frombuffer(fragment, "u1")
    assert array.tobytes() == b"one"
    del array
    assert [bytes(fragment) for fragment in rx] == [b"two"]


def test_with_blocks(ends):
    tx, rx = ends
    tx.publish_batch([b"one", b"two", b"three"])
    with rx.recv() as fragment:
        pass
    assert not fragment.is_alive
    with pytest.raises(BufferError):
        with rx.recv() as fragment:
            view = memoryview(fragment)
    view.release()
    # An exception of the block is not replaced. What it has left goes with its last buffer.
    with pytest.raises(KeyError):
        with rx.recv() as fragment:
            view = memoryview(fragment)
            raise KeyError
    assert bytes(view) == b"three" and not fragment.is_alive
    with pytest.raises(tango.Released):
        memoryview(fragment)
    view.release()
    with pytest.raises(tango.Empty):
        rx.try_recv()


def test_the_credit_returns_with_the_last_reference():
    link = tango.Link(depth=2)
    tx, rx = link.producer(), link.consumer()
    tx.publish_batch([b"one", b"two"])
    fragment = rx.recv()
    with pytest.raises(tango.NoCredits):
        tx.try_publish(b"three")
    del fragment
    tx.try_publish(b"three")
    view = memoryview(rx.recv())  # keeps its fragment
    with pytest.raises(tango.NoCredits):
        tx.try_publish(b"four")
    assert bytes(view) == b"two"
    view.release()
    del view
    tx.try_publish(b"four")


def test_fragments_of_a_batch(ends):
    tx, rx = ends
    tx.publish_batch([b"one", b"two", b"three"])
    one, two, three = batch = rx.batch(3)
    del batch
    assert bytes(two) == b"two"
    one.release()
    with pytest.raises(tango.Released):
        bytes(one)
    view = memoryview(three)
    with pytest.raises(BufferError):
        three.release()
    with pytest.raises(BufferError):
        rx.try_recv()
    view.release()
    with pytest.raises(tango.Empty):
        rx.try_recv()
    assert not two.is_alive and not three.is_alive


def test_every_order_of_the_end():
    def objects():
        link = tango.Link(depth=8, mtu=1000)
        tx, rx = link.producer(), link.consumer()
        tx.publish(bytes(500))
        fragment = rx.recv()
        return [link, tx, rx, fragment, memoryview(fragment), numpy.frombuffer(fragment, "u1")]

    count = len(objects())
    for first in range(count):
        for second in range(count):
            kept = objects()
            view, array = kept[4], kept[5]
            for at in {first, second}:
                kept[at] = None
            gc.collect()
            assert view.nbytes == array.size == 500 and not view[499]
            kept.clear()
            gc.collect()
            assert view[0] == array[0] == 0
            view.release()
            assert array.sum() == 0
            del view, array


def test_cycles_are_collected():
    class Node:
        pass

    link = tango.Link(depth=2)
    tx, rx = link.producer(), link.consumer()
    tx.publish_batch([b"one", b"two"])
    node = Node()
    node.itself = node
    node.fragment = rx.recv()
    node.view = memoryview(node.fragment)
    gone = weakref.ref(node)
    del node
    with pytest.raises(BufferError):
        rx.recv()
    gc.collect()
    assert gone() is None
    assert bytes(rx.recv()) == b"two"


def test_closed_objects():
    link = tango.Link()
    tx, rx = link.producer(), link.consumer()
    tx.publish(b"one")
    fragment = rx.recv()
    rx.close()
    rx.close()
    tx.close()
    for use in (rx.recv, lambda: next(rx), lambda: tx.publish(b""), lambda: bytes(fragment), lambda: rx.next_seq):
        with pytest.raises(tango.Released):
            use()
    tx = link.producer()  # free again
    rx = link.consumer()
    link.close()
    with pytest.raises(tango.Released):
        link.producer()
    tx.publish(b"two")
    assert bytes(rx.recv()) == b"two"


def test_an_exception_leaves_a_consumer_with_buffers_to_its_last_reference():
    link = tango.Link()
    tx = link.producer()
    with pytest.raises(KeyError):
        with link.consumer() as rx:
            tx.publish(b"one")
            view = memoryview(rx.recv())
            raise KeyError
    assert bytes(view) == b"one"
    del view, rx
    link.consumer()
