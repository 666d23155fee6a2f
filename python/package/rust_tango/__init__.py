"""A lock-free, zero-copy message channel: one producer, many consumers, between threads and between processes.

>>> import rust_tango as tango
>>> with tango.Link(depth=64) as link, link.producer() as tx, link.consumer() as rx:
...     seq = tx.publish(b"bid 101.25", sig=7)
...     with rx.recv(timeout=1) as fragment:
...         print(fragment.sig, bytes(fragment))
7 b'bid 101.25'

``Link(...)`` makes a link for the threads of this process. ``Link.create(name)`` makes one in shared memory, and
``Link.open(name)`` opens it in another process, in Python, Rust or C. See docs/python.md of the project.
"""

from ._errors import (
    AccessDenied,
    Busy,
    Closed,
    Corrupt,
    Damaged,
    Empty,
    Evicted,
    Incompatible,
    InvalidArgument,
    LinkError,
    LinkInUse,
    LinkNotFound,
    Lost,
    NoCredits,
    ProducerGone,
    ProducerReplaced,
    Released,
    Taken,
    TangoError,
    Timeout,
    TooLarge,
    Untrusted,
    WrongSize,
)
from ._native import Batch, Consumer, Fragment, Link, Loan, Producer
from ._status import ConsumerMetrics, ConsumerStatus, Geometry, Metrics, PayloadType, Status
from ._typed import TypedConsumer, TypedLink, TypedProducer, payload_type

__all__ = [
    "AccessDenied",
    "Batch",
    "Busy",
    "Closed",
    "Consumer",
    "ConsumerMetrics",
    "ConsumerStatus",
    "Corrupt",
    "Damaged",
    "Empty",
    "Evicted",
    "Fragment",
    "Geometry",
    "Incompatible",
    "InvalidArgument",
    "Link",
    "LinkError",
    "LinkInUse",
    "LinkNotFound",
    "Loan",
    "Lost",
    "Metrics",
    "NoCredits",
    "PayloadType",
    "Producer",
    "ProducerGone",
    "ProducerReplaced",
    "Released",
    "Status",
    "Taken",
    "TangoError",
    "Timeout",
    "TooLarge",
    "TypedConsumer",
    "TypedLink",
    "TypedProducer",
    "Untrusted",
    "WrongSize",
    "payload_type",
]

# How exceptions and help() name them.
for _name in __all__:
    if globals()[_name].__module__ != __name__:
        globals()[_name].__module__ = __name__
del _name
