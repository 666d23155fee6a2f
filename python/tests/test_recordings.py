"""The package mcap reads what ``tango record`` writes, and so does the example."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
import rust_tango
from conftest import LONG

TANGO = os.environ.get("TANGO_COMMAND", "")
EXAMPLE = Path(__file__).parents[1] / "examples" / "read_recording.py"
QUOTE = numpy.dtype([("price", "<f8"), ("size", "<u4"), ("flags", "<u4")])
COUNT = 5000


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("read_recording", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def record(folder, start):
    """Starts a recorder, and waits until it has joined its link."""
    if not TANGO:
        if os.environ.get("TANGO_TEST_SKIP_NOTHING"):
            pytest.fail("TANGO_COMMAND does not name the command")
        pytest.skip("TANGO_COMMAND does not name the command tango")

    def record(link, *options):
        path = Path(folder) / "file.mcap"
        recorder = start(TANGO, "record", link.name, "--reliable", "--output", path, *options)
        end = time.monotonic() + LONG
        while not link.status().consumers:
            assert time.monotonic() < end
            time.sleep(0.002)
        return recorder, path

    return record


def quote(number):
    return numpy.array((number / 4, number, 7), QUOTE)


def publish(link):
    with link.producer() as tx:
        for number in range(1, COUNT + 1):
            tx.publish(quote(number).tobytes(), sig=number * 3, ctl=number % 7, ts=number % 1000, timeout=LONG)


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_mcap_reads_it_with_all_checks(record, compression):
    from mcap.reader import make_reader

    link = rust_tango.Link.create("quotes", depth=256, mtu=64, consumers=1)
    recorder, path = record(link, "--compress", compression)
    publish(link)
    assert recorder.wait() == 0
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "tango"
        summary = reader.get_summary()
        # COUNT fragments, and that the recorder has joined and that the link was closed.
        assert summary.statistics.message_count == COUNT + 2
        assert {chunk.compression for chunk in summary.chunk_indexes} == {compression.replace("none", "")}
        channel = next(channel for channel in summary.channels.values() if channel.topic == "quotes")
        assert (channel.metadata["depth"], channel.metadata["mtu"]) == ("256", "64")
        times = []
        for number, (schema, _, message) in enumerate(reader.iter_messages(topics=["quotes"]), start=1):
            assert schema.name == "tango.Fragment" and message.sequence == number
            assert message.data[32:] == quote(number).tobytes()
            times.append(message.log_time)
        assert number == COUNT and times == sorted(times)
        events = [
            (schema.encoding, json.loads(message.data)) for schema, _, message in reader.iter_messages("tango/events")
        ]
        assert [event["event"] for _, event in events] == ["joined", "closed"] and events[0][0] == "jsonschema"
        assert [each.name for each in reader.iter_metadata()] == ["tango.recording"]


def test_the_example_reads_it(record, example):
    link = rust_tango.Link.create("quotes", depth=256, mtu=64, consumers=1)
    recorder, path = record(link)
    publish(link)
    assert recorder.wait() == 0
    links, events = example.read(path)
    numbers = numpy.arange(1, COUNT + 1)
    meta = example.metadata(links["quotes"])
    assert (meta["seq"] == numbers).all() and (meta["sig"] == numbers * 3).all()
    assert (meta["ctl"] == numbers % 7).all() and (meta["ts"] == numbers % 1000).all()
    assert (meta["size"] == QUOTE.itemsize).all()
    quotes = example.payloads(links["quotes"], QUOTE)
    assert (quotes["price"] == numbers / 4).all() and (quotes["size"] == numbers).all()
    assert [event["event"] for event in events] == ["joined", "closed"]
    printed = subprocess.run([sys.executable, EXAMPLE, path], capture_output=True, text=True, check=True, timeout=LONG)
    assert printed.stdout.startswith(f"quotes: {COUNT} fragments in ") and not printed.stderr


def test_the_example_reads_what_a_killed_recorder_left(record, example, capsys):
    link = rust_tango.Link.create("quotes", depth=256, mtu=64, consumers=1)
    recorder, path = record(link, "--flush-every", "1ms")
    publish(link)
    end = time.monotonic() + LONG
    while "quotes" not in example.read(path)[0]:
        assert time.monotonic() < end
    recorder.signal(signal.SIGKILL)
    recorder.wait()
    # The recorder may have finished it.
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1)
    links, _ = example.read(path)
    seq = example.metadata(links["quotes"])["seq"]
    assert (seq == numpy.arange(1, len(seq) + 1)).all()
    assert "was not finished" in capsys.readouterr().err
