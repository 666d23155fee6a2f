"""Throughput and round trips between two interpreters, beside pyzmq and the queues of multiprocessing.

    python python/bench.py [--rounds N] [--messages N] [--size BYTES]

`pip install pyzmq` adds its rows. Each round runs all channels, one after the other, so that they see the same
machine. Printed are medians over the rounds, and ratios to the first row. Use a wheel that was built with --release,
on a machine where nothing else runs.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time

import rust_tango as tango

try:
    import zmq
except ImportError:
    zmq = None

LONG = 30.0
BATCH = 64


# Each channel is a class with `send` and `recv` on either side. `recv` returns how many messages it has read.


class TangoSender:
    def __init__(self, place, size, wait="park"):
        self.link = tango.Link.create(place, depth=1024, mtu=size, remove_on_drop=True)
        self.tx = self.link.producer(wait=wait)
        self.tx.wait_for_consumers(1, LONG)

    def send(self, data):
        self.tx.publish(data)

    def send_many(self, data, count):
        for _ in range(count):
            self.tx.publish(data)

    def close(self):
        self.tx.wait_until_drained(LONG)
        self.tx.close()
        self.link.close()


class TangoBatchSender(TangoSender):
    def send_many(self, data, count):
        batch = [data] * BATCH
        for _ in range(count // BATCH):
            self.tx.publish_batch(batch)


class TangoReceiver:
    def __init__(self, place, size, wait="park"):
        self.rx = tango.Link.open_wait(place, LONG).consumer(wait=wait)

    def recv(self):
        return len(self.rx.recv())

    def recv_many(self, count):
        for _ in range(count):
            len(next(self.rx))

    def close(self):
        self.rx.close()


class TangoBatchReceiver(TangoReceiver):
    def recv_many(self, count):
        while count > 0:
            batch = self.rx.batch(BATCH)
            count -= len(batch)
            for fragment in batch:
                len(fragment)


class ZmqSender:
    def __init__(self, place, size, wait=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.connect(f"ipc://{place}")

    def send(self, data):
        self.socket.send(data)

    def send_many(self, data, count):
        for _ in range(count):
            self.socket.send(data)

    def close(self):
        self.socket.close(linger=int(LONG * 1000))
        self.context.term()  # waits until everything is sent


class ZmqReceiver:
    def __init__(self, place, size, wait=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PULL)
        self.socket.bind(f"ipc://{place}")

    def recv(self):
        return len(self.socket.recv())

    def recv_many(self, count):
        for _ in range(count):
            len(self.socket.recv())

    def close(self):
        self.socket.close()
        self.context.term()


class QueueEnd:
    """Of `multiprocessing.Queue`, `SimpleQueue`, or `Pipe`, which is a pair."""

    def __init__(self, place, size, wait=None):
        self.put = place[1].send_bytes if isinstance(place, tuple) else place.put
        self.get = place[0].recv_bytes if isinstance(place, tuple) else place.get

    def send(self, data):
        self.put(data)

    def send_many(self, data, count):
        for _ in range(count):
            self.put(data)

    def recv(self):
        return len(self.get())

    def recv_many(self, count):
        for _ in range(count):
            len(self.get())

    def close(self):
        pass


def throughput(channel, there, back, size, count):
    """Messages a second, as the receiver sees them."""
    receiver = channel["receiver"](there, size, channel["wait"])
    receiver.recv()
    begin = time.perf_counter()
    receiver.recv_many(count)
    elapsed = time.perf_counter() - begin
    receiver.close()
    return count / elapsed


def send(channel, there, back, size, count):
    sender = channel["sender"](there, size, channel["wait"])
    data = bytes(size)
    sender.send(data)
    sender.send_many(data, count)
    sender.close()


def round_trip(channel, there, back, size, count):
    """Round trips a second."""
    receiver = channel["receiver"](back, size, channel["wait"])
    sender = channel["sender"](there, size, channel["wait"])
    data = bytes(size)
    for _ in range(100):
        sender.send(data)
        receiver.recv()
    begin = time.perf_counter()
    for _ in range(count):
        sender.send(data)
        receiver.recv()
    elapsed = time.perf_counter() - begin
    sender.close()
    receiver.close()
    return count / elapsed


def echo(channel, there, back, size, count):
    sender = channel["sender"](back, size, channel["wait"])
    receiver = channel["receiver"](there, size, channel["wait"])
    data = bytes(size)
    for _ in range(100 + count):
        receiver.recv()
        sender.send(data)
    sender.close()
    receiver.close()


def channels(workload):
    both = {"sender": TangoSender, "receiver": TangoReceiver}
    yield {"name": "rust_tango", "wait": "park", **both}
    yield {"name": 'rust_tango, wait="spin"', "wait": "spin", **both}
    if workload is throughput:
        name = f"rust_tango, batches of {BATCH}"
        yield {"name": name, "wait": "park", "sender": TangoBatchSender, "receiver": TangoBatchReceiver}
    if zmq:
        yield {"name": "pyzmq, ipc", "wait": None, "sender": ZmqSender, "receiver": ZmqReceiver}
    for name, make in (
        ("multiprocessing.Pipe", lambda context: context.Pipe(duplex=False)),
        ("multiprocessing.SimpleQueue", lambda context: context.SimpleQueue()),
        ("multiprocessing.Queue", lambda context: context.Queue(1024)),
    ):
        yield {"name": name, "wait": None, "sender": QueueEnd, "receiver": QueueEnd, "make": make}


def run(context, workload, channel, size, count, folder, number):
    other = send if workload is throughput else echo
    places = [f"bench-{number}-{way}" for way in ("there", "back")]
    if make := channel.pop("make", None):
        places = [make(context) for _ in places]
    elif channel["sender"] is ZmqSender:
        places = [f"{folder}/{place}" for place in places]
    process = context.Process(target=other, args=(channel, *places, size, count))
    process.start()
    try:
        return workload(channel, *places, size, count)
    finally:
        process.join(LONG)
        if process.is_alive():
            process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000, help="a tenth as many round trips")
    parser.add_argument("--size", type=int, default=64, help="of a payload, in bytes")
    options = parser.parse_args()
    context = multiprocessing.get_context("fork")
    number = 0
    with tempfile.TemporaryDirectory(prefix="tango-bench-", dir="/dev/shm") as folder:
        os.environ["TANGO_DIR"] = f"{folder}/links"
        for workload, unit, count in (
            (throughput, "messages", options.messages // BATCH * BATCH),
            (round_trip, "round trips", options.messages // 10),
        ):
            rates = {}
            for _ in range(options.rounds):
                for channel in channels(workload):
                    number += 1
                    rate = run(context, workload, channel, options.size, count, folder, number)
                    rates.setdefault(channel["name"], []).append(rate)
            print(
                f"\n{unit} a second, {options.size} bytes, two processes, median of {options.rounds} rounds", flush=True
            )
            first = statistics.median(next(iter(rates.values())))
            for name, each in rates.items():
                rate = statistics.median(each)
                print(f"  {name:30} {rate:12,.0f}  ({min(each):,.0f} to {max(each):,.0f})  {first / rate:6.2f}")
    print("\nThe last column: how many times as fast the first row is.")


if __name__ == "__main__":
    main()
