"""What is published is read, in each of the ways."""

import threading

import numpy
import pytest
import rust_tango as tango

LONG = 60.0


@pytest.fixture
def ends():
    link = tango.Link(depth=8, mtu=1000, consumers=2)
    return link.producer(), link.consumer()


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"a view")[2:],
        b"",
        bytes(1000),
        numpy.arange(100, dtype="f8"),
        numpy.zeros((4, 5), dtype="u2"),
    ],
    ids=lambda data: f"{type(data).__name__}-{memoryview(data).nbytes}",
)
def test_every_buffer_can_be_published(ends, data):
    tx, rx = ends
    seq = tx.publish(data, sig=7, ctl=3, ts=9)
    fragment = rx.recv(timeout=LONG)
    assert (fragment.seq, fragment.sig, fragment.ctl, fragment.ts) == (seq, 7, 3, 9)
    assert bytes(fragment) == bytes(fragment.payload) == memoryview(data).tobytes()
    assert len(fragment) == memoryview(data).nbytes and fragment


def test_what_is_no_buffer_is_refused(ends):
    tx, _ = ends
    for wrong in ("text", 7, None):
        with pytest.raises(TypeError):
            tx.publish(wrong)
    with pytest.raises((BufferError, ValueError)):
        tx.publish(numpy.zeros((4, 4))[:, 1])
    with pytest.raises(OverflowError):
        tx.publish(b"", sig=2**64)
    assert tx.next_seq == 1


def test_a_buffer_of_a_reader_cannot_be_written(ends):
    tx, rx = ends
    tx.publish(b"fixed")
    fragment = rx.recv()
    view = memoryview(fragment)
    assert view.readonly and view.format == "B" and view.contiguous
    with pytest.raises(TypeError):
        view[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        numpy.frombuffer(fragment, dtype="u1")[0] = 1


def test_numpy_reads_in_place(ends):
    tx, rx = ends
    tx.publish(numpy.arange(64, dtype="f8"))
    with rx.recv() as fragment:
        array = numpy.frombuffer(fragment, dtype="f8")
        assert array.sum() == 2016 and array.ctypes.data % 32 == 0
        del array


def test_nothing_there_closed_and_too_late_are_told_apart(ends):
    tx, rx = ends
    with pytest.raises(tango.Empty):
        rx.try_recv()
    with pytest.raises(tango.Empty):
        rx.try_batch(4)
    with pytest.raises(tango.Timeout) as error:
        rx.recv(timeout=0.001)
    assert isinstance(error.value, TimeoutError)
    assert not rx.is_closed
    tx.publish(b"the last")
    tx.close()
    assert bytes(rx.recv()) == b"the last"
    for read in (rx.recv, rx.try_recv, lambda: rx.batch(3), lambda: rx.try_batch(3)):
        with pytest.raises(tango.Closed):
            read()
    assert rx.is_closed and list(rx) == []


def test_a_producer_waits_for_credits(ends):
    tx, rx = ends
    for _ in range(8):
        tx.try_publish(b"x")
    for publish in (tx.try_publish, lambda data: tx.publish(data, timeout=0.001)):
        with pytest.raises(tango.NoCredits) as error:
            publish(b"x")
        assert error.value.held_by == 0 and isinstance(error.value, TimeoutError)
    with pytest.raises(tango.NoCredits):
        tx.loan(4, timeout=0.001)

    def read():
        for fragment in rx:
            read.count += len(fragment)

    read.count = 0
    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        tx.publish(bytearray(b"y"), timeout=LONG)
    with tx.loan(2, timeout=LONG):
        pass
    assert tx.wait_until_drained(LONG) and tx.is_drained
    tx.close()
    reader.join(LONG)
    assert read.count == 110


def test_batches(ends):
    tx, rx = ends
    with pytest.raises(tango.TooLarge) as error:
        tx.publish_batch([b"one", bytes(1001), b"two"])
    assert (error.value.published, error.value.size, error.value.max) == (1, 1001, 1000)
    assert tx.publish_batch([b"two", bytearray(b"three"), bytes(900)], sig=5) == 3
    with rx.batch(32) as batch:
        assert len(batch) == 4
        assert [len(fragment) for fragment in batch] == [3, 3, 5, 900]
        assert [fragment.seq for fragment in batch] == [1, 2, 3, 4]
        assert bytes(batch[-2]) == b"three" and batch[1].sig == 5
        with pytest.raises(IndexError):
            batch[4]
    with pytest.raises(tango.NoCredits) as error:
        tx.publish_batch([b"x"] * 20, timeout=0.001)
    assert error.value.published == 8
    assert [len(rx.batch(3)) for _ in range(3)] == [3, 3, 2]
    with pytest.raises(ValueError, match="at least one"):
        rx.batch(0)
    with pytest.raises(tango.Timeout):
        rx.batch(3, timeout=0.001)


def test_numbers_are_left_out():
    link = tango.Link(depth=8, mtu=64, start=1)
    tx, rx = link.producer(), link.consumer()
    tx.skip(0)
    tx.skip(3)
    assert tx.next_seq == 4
    with pytest.raises(tango.Lost) as error:
        rx.recv()
    assert (error.value.lost, error.value.next) == (3, 4)
    with pytest.raises(tango.NoCredits) as error:
        tx.skip(100, timeout=0.001)
    assert (tx.next_seq, error.value.held_by) == (12, 0)
    with pytest.raises(OverflowError):
        tx.skip(-1)
    link.stop()
    with pytest.raises(tango.Closed):
        tx.skip(1)


@pytest.mark.parametrize("observers", [True, False], ids=["apart", "in place"])
def test_loans(observers):
    link = tango.Link(depth=8, mtu=1000, observers=observers)
    tx, rx = link.producer(), link.consumer()
    with tx.loan(8, sig=1) as loan:
        assert len(loan) == 8 and loan.seq is None
        view = loan.payload
        assert not view.readonly
        view[:] = b"12345678"
        view.release()
    assert loan.seq == 1 and not loan.is_alive
    with pytest.raises(tango.Released):
        memoryview(loan)
    fragment = rx.recv()
    assert (bytes(fragment), fragment.sig) == (b"12345678", 1)

    with pytest.raises(KeyError), tx.loan(8):
        raise KeyError
    assert tx.next_seq == 2

    loan = tx.loan(900)
    array = numpy.frombuffer(loan, dtype="u1")
    array[:] = 7
    with pytest.raises(tango.Busy):
        tx.publish(b"meanwhile")
    with pytest.raises(BufferError, match="del"):
        loan.commit()
    del array
    with pytest.raises(ValueError, match="cannot be"):
        loan.commit(901)
    assert loan.commit(500, sig=3) == 2
    with pytest.raises(tango.Released):
        loan.commit()
    fragment = rx.recv()
    assert (bytes(fragment), fragment.sig) == (b"\x07" * 500, 3)

    tx.loan(8)  # nobody keeps it
    assert tx.publish(b"next") == 3
    with pytest.raises(tango.TooLarge):
        tx.loan(1001)


@pytest.mark.parametrize("observers", [True, False], ids=["apart", "in place"])
def test_a_loan_with_buffers_is_not_published_at_the_end_of_its_block(observers):
    link = tango.Link(depth=8, observers=observers)
    tx = link.producer()
    with pytest.raises(BufferError):
        with tx.loan(8) as loan:
            view = memoryview(loan)
    with pytest.raises(tango.Busy):
        tx.publish(b"as long as it could be written")
    with pytest.raises(tango.Released):
        memoryview(loan)
    assert not loan.is_alive
    view[:] = bytes(8)
    view.release()
    assert tx.publish(b"next") == 1 and loan.seq is None


def test_observers_count_what_they_lose():
    link = tango.Link(depth=8, mtu=8)
    tx, strict, lenient = link.producer(), link.observer(), link.observer(raise_lost=False)
    for i in range(100):
        tx.publish(bytes([i]))
    with pytest.raises(tango.Lost) as error:
        strict.recv()
    lost = error.value.lost
    assert lost >= 92 and error.value.next == lost + 1 and strict.lost == lost
    tx.close()
    assert [fragment.seq for fragment in strict] == list(range(lost + 1, 101))
    assert [fragment.seq for fragment in lenient] == list(range(lost + 1, 101)) and lenient.lost == lost


def test_evicted_consumers_join_again():
    link = tango.Link(depth=2)
    tx, rx = link.producer(patience=0), link.evictable_consumer()
    for i in range(5):
        tx.publish(bytes([i]))
    with pytest.raises(tango.Evicted) as error:
        rx.recv()
    assert isinstance(error.value, tango.Lost) and rx.lost == error.value.lost > 0


def test_starts():
    link = tango.Link(depth=8, consumers=4)
    tx = link.producer()
    for i in range(4):
        tx.publish(bytes([i]))
    assert link.consumer("oldest").recv().seq == 1
    assert link.consumer(3).recv().seq == 3
    with pytest.raises(tango.Empty):
        link.consumer("next").try_recv()
    with pytest.raises(ValueError, match="start"):
        link.consumer("first")
    with pytest.raises(ValueError, match="park"):
        link.consumer(wait="sleep")


def test_metrics_count_what_both_ends_did():
    link = tango.Link(depth=8, consumers=2)
    tx, rx, evictable = link.producer(patience=0), link.consumer(), link.evictable_consumer()
    for i in range(5):
        tx.publish(bytes([i]))
        rx.recv().release()
    metrics = link.metrics()
    assert (metrics.published, metrics.consumed, metrics.lag, metrics.producers) == (5, 5, 5, 1)
    assert [(c.slot, c.consumed, c.lag, c.lost) for c in metrics.consumers] == [(0, 5, 0, 0), (1, 0, 5, 0)]
    for i in range(8):
        tx.publish(bytes([i]))
        rx.recv().release()
    with pytest.raises(tango.Evicted) as error:
        evictable.recv()
    metrics = link.metrics()
    assert (metrics.published, metrics.consumers[0].consumed, metrics.evicted) == (13, 13, 1)
    assert metrics.consumers[1].overruns == 1 and metrics.lost == error.value.lost > 0
    evictable.close()
    rx.close()
    metrics = link.metrics()
    assert (metrics.published, metrics.consumers, metrics.consumed, metrics.lag) == (13, [], 0, 0)
    link.close()
    with pytest.raises(tango.Released):
        link.metrics()


def test_status_and_stop(ends):
    tx, rx = ends
    tx.beat(77)
    link = tango.Link(depth=8, consumers=2)
    tx, rx = link.producer(), link.consumer()
    assert tx.consumers == 1
    tx.beat(77)
    tx.publish(b"one")
    status = link.status()
    assert (status.producer, status.next, status.heartbeat) == (True, 2, 77)
    assert [(c.slot, c.lag, c.alive) for c in status.consumers] == [(0, 1, True)]
    link.stop()
    assert tx.is_stopped and link.status().stopped
    with pytest.raises(tango.Closed):
        tx.publish(b"two")
    with pytest.raises(tango.Closed) as error:
        tx.publish_batch([b"two"])
    assert error.value.published == 0
    assert [bytes(fragment) for fragment in rx] == [b"one"]
