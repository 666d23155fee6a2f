"""An end is used by one thread at a time, and a waiting thread lets others run."""

import threading

import pytest
import rust_tango as tango
from conftest import LONG


def until(condition):
    end = threading.Event()
    while not condition():
        end.wait(0.001)


def test_a_second_thread_is_refused():
    link = tango.Link()
    tx, rx = link.producer(), link.consumer()
    read = []
    reader = threading.Thread(target=lambda: read.append(bytes(rx.recv(LONG))))
    reader.start()

    def is_refused():
        try:
            rx.is_closed  # noqa: B018
        except tango.Busy:
            return True
        return False

    until(is_refused)  # it waits
    for use in (rx.try_recv, rx.close, lambda: next(rx), rx.fileno):
        with pytest.raises(tango.Busy) as error:
            use()
        assert isinstance(error.value, RuntimeError)
    tx.publish(b"one")
    reader.join(LONG)
    assert read == [b"one"]
    tx.publish(b"two")
    assert bytes(rx.recv()) == b"two"


def test_a_fragment_may_end_in_another_thread():
    link = tango.Link(depth=2)
    tx, rx = link.producer(), link.consumer()
    for i in range(100):
        tx.publish(bytes([i]))
        kept = [rx.recv()]
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join(LONG)
    assert tx.is_drained


def test_threads_exchange_messages_both_ways():
    there, back = tango.Link(depth=4), tango.Link(depth=4)

    def echo():
        with there.consumer() as rx, back.producer() as tx:
            ready.set()
            for fragment in rx:
                tx.publish(fragment, sig=fragment.sig)

    ready = threading.Event()
    thread = threading.Thread(target=echo)
    thread.start()
    assert ready.wait(LONG)
    rx = back.consumer()
    with there.producer() as tx:
        for i in range(2000):
            tx.publish(i.to_bytes(8, "little"), sig=i)
            fragment = rx.recv(LONG)
            assert (fragment.sig, int.from_bytes(fragment.payload, "little")) == (i, i)
    thread.join(LONG)
    assert not thread.is_alive()


def test_many_threads_that_fight_over_one_consumer_get_each_fragment_once():
    link = tango.Link(depth=8)
    tx, rx = link.producer(), link.consumer()
    seen, lock = [], threading.Lock()

    def read():
        while True:
            try:
                seq = rx.try_recv().seq
            except (tango.Busy, tango.Empty, tango.Released):
                continue
            except tango.Closed:
                return
            with lock:
                seen.append(seq)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(500):
        tx.publish(bytes([i & 255]))
    while True:
        try:
            tx.close()
            break
        except tango.Busy:
            pass
    for thread in threads:
        thread.join(LONG)
    assert sorted(seen) == list(range(1, 501))
