"""The message of the link ``quotes``: ``Quote`` of src/lib.rs, as a numpy dtype."""

import numpy

QUOTE = numpy.dtype(
    [("time", "u8"), ("symbol", "S8"), ("bid", "f8"), ("ask", "f8"), ("bid_size", "u4"), ("ask_size", "u4")],
    align=True,
)
