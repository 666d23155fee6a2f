"""Values of numpy dtypes, which are the typed messages of Rust."""

import numpy
import pytest
import rust_tango as tango
from conftest import LONG

QUOTE = numpy.dtype([("instrument", "u8"), ("bid", "f8"), ("ask", "f8")], align=True)


def test_rust_to_python(peer):
    peer("produce-quotes", "quotes", 100)
    rx = tango.TypedLink(tango.Link.open("quotes"), QUOTE, "Quote").consumer()
    for i, quote in enumerate(rx):
        assert (quote["instrument"], quote["bid"], quote["ask"]) == (i, i + 0.25, i + 0.5)
    assert i == 99


def test_python_to_rust(peer):
    link = tango.Link.create("quotes", payload_type=tango.payload_type(QUOTE, "Quote"))
    assert link.geometry.mtu == 24 and link.payload_type == ("Quote", 24, 8)
    with tango.TypedLink(link, QUOTE, "Quote").producer() as tx:
        reader = peer("consume-quotes", "quotes")
        tx.publish((7, 101.25, 101.5), timeout=LONG)
        tx.try_publish(numpy.array([(8, 1.5, 2.5)], dtype=QUOTE))
        with pytest.raises(ValueError, match="one value"):
            tx.publish(numpy.zeros(2, dtype=QUOTE))
        assert tx.untyped.wait_until_drained(LONG)
    assert reader.lines() == ["7 101.25 101.5", "8 1.5 2.5"]


def test_another_type_is_refused_by_both(peer, start, folder):
    link = tango.Link.create("numbers", payload_type=tango.payload_type("f8", "f64"))
    for dtype, name in ((QUOTE, "f64"), ("f8", "Quote"), ("f4", "f64")):
        with pytest.raises(tango.Incompatible, match="f64"):
            tango.TypedLink(link, dtype, name)
    with pytest.raises(tango.Incompatible):
        tango.TypedLink(tango.Link(), QUOTE, "Quote")
    from conftest import PEER

    assert start(PEER, "consume-quotes", folder, "numbers").wait() == 1
    with pytest.raises(TypeError, match="objects"):
        tango.payload_type(object, "object")


def test_in_place_and_of_the_wrong_size():
    link = tango.Link(payload_type=tango.payload_type(QUOTE, "Quote"), mtu=100)
    typed = tango.TypedLink(link, QUOTE, "Quote")
    tx, rx = typed.producer(), typed.consumer()
    tx.publish((7, 1.0, 2.0))
    with rx.untyped.recv() as fragment:
        array = rx.in_place(fragment)
        assert array["instrument"] == 7 and not array.flags.owndata
        del array
    tx.untyped.publish(b"other bytes")
    tx.publish((8, 1.0, 2.0))
    with pytest.raises(tango.WrongSize) as error:
        rx.recv()
    assert (error.value.seq, error.value.size, error.value.expected) == (2, 11, 24)
    assert rx.try_recv()["instrument"] == 8
    kept = rx, tx
    tx.close()
    assert list(rx) == [] and kept
