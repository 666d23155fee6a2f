"""A program that knows zenoh, and nothing of rust_tango: it prints what a `tango-bridge publish` sends.

    pip install eclipse-zenoh
    python3 plain_subscriber.py ENDPOINT KEY [COUNT]

    python3 plain_subscriber.py tcp/127.0.0.1:7448 'tango/**' 5
    tango/quotes: link quotes, next fragment 7
    tango/quotes: fragment 7, sig 1, ctl 0, ts 0: 68656c6c6f
    tango/quotes: missing 3 fragments from 8 on
    tango/quotes: end

It ends after COUNT fragments, if there is a COUNT. The encoding is described in src/wire/mod.rs.
"""

import json
import struct
import sys

import zenoh

# Magic, version, kind, cause, bridge, link, producer, first, count. All little-endian, without padding.
HEADER = struct.Struct("<4sBBH5Q")
# sig, ts, ctl, zero, size.
RECORD = struct.Struct("<QIHHI")


def show(key, message, following, left):
    """Prints a message. `following` has the number that is expected under each key. Returns how many fragments it has
    printed, at most `left`."""
    magic, version, kind, _cause, _bridge, _link, _producer, first, count = HEADER.unpack_from(message)
    if (magic, version) != (b"TNGB", 1):
        sys.exit(f"{key}: not a message of a tango-bridge")
    printed = 0
    if kind == 1:
        expected = following.get(key, first)
        if expected != first:
            # It could be asked for: `?first=EXPECTED;count=N` after the key.
            print(f"{key}: missing {first - expected} fragments from {expected} on", flush=True)
        at = HEADER.size
        for seq in range(first, first + min(count, left)):
            sig, ts, ctl, _zero, size = RECORD.unpack_from(message, at)
            at += RECORD.size
            payload = message[at : at + size]
            at += size
            print(f"{key}: fragment {seq}, sig {sig}, ctl {ctl}, ts {ts}: {payload.hex()}", flush=True)
            printed += 1
        following[key] = first + count
    elif kind == 2:
        if key not in following:
            print(f"{key}: link {json.loads(message[HEADER.size:])['name']}, next fragment {first}", flush=True)
    elif kind == 3:
        print(f"{key}: missing {count} fragments from {first} on", flush=True)
        following[key] = first + count
    elif kind == 4:
        print(f"{key}: end", flush=True)
    return printed


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: plain_subscriber.py ENDPOINT KEY [COUNT]")
    endpoint, key = sys.argv[1:3]
    left = int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("connect/endpoints", json.dumps([endpoint]))
    following = {}
    with zenoh.open(config) as session:
        subscriber = session.declare_subscriber(key)
        # What links there are. Later changes come by themselves, and so does the state of each link, every second.
        for reply in session.get(f"{key}?state"):
            if reply.ok:
                left -= show(str(reply.ok.key_expr), reply.ok.payload.to_bytes(), following, left)
        while left > 0:
            sample = subscriber.recv()
            left -= show(str(sample.key_expr), sample.payload.to_bytes(), following, left)


if __name__ == "__main__":
    main()
