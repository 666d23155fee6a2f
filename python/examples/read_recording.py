"""Reads a file of ``tango record`` with mcap and numpy.

    pip install mcap numpy
    python read_recording.py quotes.mcap

The format is in docs/recording.md. A file that its recorder did not finish is read up to its last complete chunk.
"""

import io
import json
import sys

import numpy
from mcap.exceptions import EndOfFile
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader

FOOTER = 2
METADATA = numpy.dtype(
    [
        ("seq", "<u8"),
        ("sig", "<u8"),
        ("chunk", "<u4"),
        ("size", "<u4"),
        ("ctl", "<u2"),
        ("reserved", "<u2"),
        ("ts", "<u4"),
    ]
)


def complete(data):
    """A recording without the record at its end that was not finished, if there is one."""
    end = 8
    while len(data) - end >= 9:
        size = int.from_bytes(data[end + 1 : end + 9], "little")
        # The footer is followed by 8 bytes.
        after = end + 9 + size + (8 if data[end] == FOOTER else 0)
        if after > len(data):
            break
        end = after
    return data[:end]


def read(path):
    """The fragments of each link, as pairs of time and message, and all events."""
    channels, links, events = {}, {}, []
    with open(path, "rb") as file:
        data = complete(file.read())
    try:
        for record in StreamReader(io.BytesIO(data), validate_crcs=True).records:
            if isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels[record.channel_id]
                if channel.message_encoding == "tango.fragment.1":
                    links.setdefault(channel.topic, []).append((record.log_time, record.data))
                elif channel.topic == "tango/events":
                    events.append(json.loads(record.data))
    except EndOfFile:
        print(f"{path} was not finished", file=sys.stderr)
    return links, events


def metadata(fragments):
    """An array with the metadata of fragments."""
    return numpy.frombuffer(b"".join(data[: METADATA.itemsize] for _, data in fragments), METADATA)


def payloads(fragments, dtype):
    """An array with the payloads of fragments, all of which are values of a numpy dtype."""
    return numpy.frombuffer(b"".join(data[METADATA.itemsize :] for _, data in fragments), dtype)


def main(path):
    links, events = read(path)
    for link, fragments in links.items():
        meta = metadata(fragments)
        seconds = (fragments[-1][0] - fragments[0][0]) / 1e9
        print(f"{link}: {len(meta)} fragments in {seconds:.3f} s, {meta['size'].sum()} bytes")
    for event in events:
        if event["event"] == "gap":
            print(f"{event['link']}: {event['lost']} missing, {event['first']} to {event['last']}")


if __name__ == "__main__":
    main(sys.argv[1])
