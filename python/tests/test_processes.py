"""Links between this interpreter and other processes, most of them in Rust, some of which are killed."""

import errno
import os
import signal
import subprocess
import sys

import pytest
import rust_tango as tango
from conftest import LONG, message


def test_rust_to_python(peer):
    peer("produce", "numbers", 5000)
    rx = tango.Link.open("numbers").consumer()
    count = 0
    for fragment in rx:
        assert (fragment.sig, bytes(fragment)) == (count, message(count))
        count += 1
    assert count == 5000


def test_rust_to_python_in_batches(peer):
    peer("produce", "numbers", 5000)
    rx = tango.Link.open("numbers").consumer()
    count = 0
    with pytest.raises(tango.Closed):
        while True:
            for fragment in rx.batch(16, timeout=LONG):
                assert (fragment.sig, bytes(fragment)) == (count, message(count))
                count += 1
    assert count == 5000


def test_python_to_rust(peer):
    link = tango.Link.create("numbers", mtu=1024, depth=64, remove_on_drop=True)
    assert (link.name, os.path.basename(link.path)) == ("numbers", "numbers")
    with link.producer() as tx:
        reader = peer("consume", "numbers")
        assert tx.wait_for_consumers(1, LONG)
        for i in range(1000):
            tx.publish(message(i), sig=i, timeout=LONG)
        for i in range(1000, 2000):
            data = message(i)
            with tx.loan(len(data), sig=i, timeout=LONG) as loan, memoryview(loan) as view:
                view[:] = data
                view.release()
        for i in range(2000, 3000):
            tx.publish_batch([message(i)], sig=i, timeout=LONG)
        assert tx.wait_until_drained(LONG)
    assert reader.lines() == ["3000 messages"]
    assert reader.wait() == 0


def test_a_killed_producer_is_noticed_and_replaced(peer):
    first = peer("produce", "numbers")
    rx = tango.Link.open("numbers").consumer()
    for count, fragment in enumerate(rx):
        assert bytes(fragment) == message(count)
        if count == 100:
            break
    fragment.release()
    first.kill()
    with pytest.raises(tango.ProducerGone) as error:
        for fragment in rx:
            count += 1
            assert bytes(fragment) == message(count)
    assert isinstance(error.value, ConnectionError)
    for read in (rx.recv, rx.try_recv, lambda: rx.batch(2)):
        with pytest.raises(tango.ProducerGone):
            read()
    assert not rx.wait_for_producer(timeout=0.01)
    assert not rx.is_closed
    peer("take-over", "numbers")
    assert rx.wait_for_producer(timeout=LONG)
    with pytest.raises(tango.ProducerReplaced) as error:
        rx.recv(timeout=LONG)
    assert error.value.first == count + 2
    fragment = rx.recv(timeout=LONG)
    assert (fragment.seq, fragment.sig, bytes(fragment)) == (count + 2, 7, b"the next producer")


def test_a_killed_consumer_does_not_hold_the_producer(peer):
    tx = tango.Link.create("numbers", depth=4, mtu=1024).producer()
    reader = peer("hold", "numbers")
    assert tx.wait_for_consumers(1, LONG)
    tx.publish(b"to be held")
    assert reader.line() == "held"
    for _ in range(3):
        tx.publish(b"more")
    with pytest.raises(tango.NoCredits):
        tx.publish(b"too much", timeout=0.01)
    metrics = tango.Link.open("numbers").metrics()  # of a consumer in another process
    assert (metrics.published, metrics.reaped) == (4, 0) and metrics.backpressure_events > 0
    assert [(c.consumed, c.lag) for c in metrics.consumers] == [(0, 4)]
    reader.kill()
    tx.publish(b"too much", timeout=LONG)
    assert tx.consumers == 0
    metrics = tango.Link.open("numbers").metrics()
    assert (metrics.published, metrics.reaped, metrics.lag) == (5, 1, 5)  # its slot waits for another consumer


def test_a_killed_interpreter_returns_its_credit_and_its_name(python):
    tx = tango.Link.create("numbers", depth=2).producer()
    reader = python(
        """
rx = tango.Link.open("numbers").consumer()
print("ready")
view = memoryview(rx.recv())
print(bytes(view).decode())
input()
"""
    )
    assert reader.line() == "ready"
    tx.publish(b"one")
    assert reader.line() == "one"
    tx.publish(b"two")
    with pytest.raises(tango.NoCredits):
        tx.try_publish(b"three")
    reader.kill()
    tx.publish(b"three", timeout=LONG)


def test_a_killed_python_producer_is_noticed(python, peer):
    writer = python(
        """
tx = tango.Link.create("numbers", mtu=1024).producer()
print("ready")
input()
for i in range(10):
    tx.publish(i.to_bytes(8, "little") + bytes([i]) * i, sig=i)
print("done")
input()
"""
    )
    assert writer.line() == "ready"
    reader = peer("consume", "numbers")
    writer._process.stdin.write("go\n")
    writer._process.stdin.flush()
    assert writer.line() == "done"
    writer.kill()
    assert reader.lines() == ["10 messages, producer gone"]


def asleep(pid):
    """Returns when the main thread of the process sleeps."""
    while True:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "S":
                return


@pytest.mark.parametrize(
    "waits",
    [
        "rx.recv()",
        "next(rx)",
        "rx.batch(4)",
        "list(rx)",
        "[tx.publish(b'x') for _ in range(100)]",
        "[tx.publish_batch([b'x'] * 100)]",
        "[tx.publish(b'x') for _ in range(2)]; tx.wait_until_drained()",
        "tx.wait_for_consumers(2)",
        "[tx.loan(4).commit() for _ in range(100)]",
        "observer.recv()",
        "tango.Link.open_wait('missing')",
    ],
)
def test_ctrl_c_ends_every_wait(python, waits):
    process = python(
        f"""
link = tango.Link(depth=2, consumers=2)
tx, rx, observer = link.producer(), link.consumer(), link.observer()
try:
    print("ready")
    {waits}
except KeyboardInterrupt:
    print("interrupted")
else:
    print("returned")
del rx
tx.publish_batch([b"z"] * 2)
print("usable")
"""
    )
    assert process.line() == "ready"
    asleep(process.pid)
    process.signal(signal.SIGINT)
    assert process.lines() == ["interrupted", "usable"]
    assert process.wait() == 0


def test_a_handler_of_signals_may_read_on(python):
    process = python(
        """
import signal
link = tango.Link()
tx, rx = link.producer(), link.consumer()
def publish(*_):
    tx.publish(b"by the handler")
signal.signal(signal.SIGUSR1, publish)
print("ready")
print(bytes(rx.recv()).decode())
"""
    )
    assert process.line() == "ready"
    asleep(process.pid)
    process.signal(signal.SIGUSR1)
    assert process.line() == "by the handler"


def test_a_forked_child_finds_the_link_closed_and_harms_nothing():
    link = tango.Link.create("numbers", mtu=1024)
    tx, rx = link.producer(), link.consumer()
    tx.publish(b"held over the fork")
    fragment = rx.recv()
    view = memoryview(fragment)
    child = os.fork()
    if child == 0:
        try:
            assert bytes(view) == bytes(len(view))
            view.release()
            fragment.release()
            for use in (lambda: tx.publish(b"of the child"), rx.recv, lambda: tx.loan(4)):
                try:
                    use()
                except tango.Closed:
                    pass
                else:
                    os._exit(1)
            rx.close()
            tx.close()
            # It can open the link again.
            assert bytes(tango.Link.open("numbers").observer("oldest").recv()) == b"held over the fork"
            os._exit(0)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bytes(view) == b"held over the fork"
    view.release()
    tx.publish(b"of the parent")
    assert bytes(rx.recv(timeout=LONG)) == b"of the parent"


def test_errors_of_opening_are_those_of_files(folder):
    with pytest.raises(tango.LinkNotFound) as error:
        tango.Link.open("missing")
    assert isinstance(error.value, FileNotFoundError) and error.value.errno == errno.ENOENT
    assert "missing" in str(error.value)
    link = tango.Link.create("here", consumers=1)
    with pytest.raises(tango.LinkInUse) as error:
        tango.Link.create("here")
    assert isinstance(error.value, FileExistsError)
    _tx, _rx = link.producer(), link.consumer()
    for end in (link.producer, link.consumer):
        with pytest.raises(tango.Taken) as error:
            end()
        assert isinstance(error.value, OSError)
    for wrong in ({"depth": 3}, {"mode": 0o777}, {"slot": 65}):
        with pytest.raises(tango.InvalidArgument) as error:
            tango.Link.create("wrong", **wrong)
        assert isinstance(error.value, ValueError)
    with pytest.raises(TypeError, match="length"):
        tango.Link.create("wrong", length=3)
    with pytest.raises(TypeError, match="mode"):
        tango.Link(mode=0o600)
    assert tango.Link.list() == tango.Link.list(folder) == ["here"]
    with pytest.raises(tango.LinkInUse):
        tango.Link.remove("here", dead_only=True)
    tango.Link.remove("here")
    assert tango.Link.list() == []
    os.mkdir(f"{folder}/file")
    assert not issubclass(tango.InvalidArgument, OSError)


def test_open_wait(python):
    with pytest.raises(tango.LinkNotFound, match="later"):
        tango.Link.open_wait("later", timeout=0.01)
    reader = python(
        """
print("ready")
rx = tango.Link.open_wait("later", timeout=60).consumer()
print(bytes(rx.recv(60)).decode())
"""
    )
    assert reader.line() == "ready"
    tx = tango.Link.create("later").producer()
    assert tx.wait_for_consumers(1, LONG)
    tx.publish(b"at last")
    assert reader.lines() == ["at last"]


def test_links_remove_themselves():
    with tango.Link.create("here", remove_on_drop=True) as link:
        assert tango.Link.list() == ["here"]
    with pytest.raises(tango.Released):
        link.status()
    assert tango.Link.list() == []
    link = tango.Link.create("there")
    link.unlink()
    assert tango.Link.list() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_may_observe_and_not_consume(start, folder):
    os.chmod(folder, 0o755)
    tx = tango.Link.create("numbers", mode=0o644).producer()
    tx.publish(b"for all")
    program = """
import os
import rust_tango as tango
os.setuid(65534)
link = tango.Link.open("numbers")
try:
    link.consumer()
except PermissionError as error:
    print(type(error).__name__)
print(bytes(link.observer("oldest").recv()).decode())
"""
    other = start(sys.executable, "-c", program)
    assert other.lines() == ["AccessDenied", "for all"]


def test_no_interpreter_is_left():
    """The interpreter ends while objects of all kinds live, and a thread waits."""
    program = """
import threading
import rust_tango as tango
link = tango.Link(consumers=2)
tx, rx, other = link.producer(), link.consumer(), link.consumer()
tx.publish(b"one")
fragment = rx.recv()
view = memoryview(fragment)
waits = threading.Thread(target=other.recv, daemon=True)
other.recv()
waits.start()
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=LONG, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
