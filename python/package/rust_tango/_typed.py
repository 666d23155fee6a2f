"""Links of values of one numpy dtype. They are the typed links of Rust (``docs/layout.md``)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._errors import Closed, Incompatible, WrongSize
from ._native import Consumer, Fragment, Link, Producer
from ._status import PayloadType

if TYPE_CHECKING:
    import numpy


def payload_type(dtype: Any, name: str) -> PayloadType:
    """The payload type of a dtype, for the option ``payload_type`` of a new link.

    ``name`` is what programs recognise the type by: a Rust program states it in ``TypeName``. It has 1 to 256 bytes of
    UTF-8, without characters that a terminal does not show. The fields are not compared, so a changed type needs
    another name. The size and the alignment are compared: use ``align=True`` for a dtype that is to be a
    ``#[repr(C)]`` struct.

    >>> import numpy, rust_tango as tango
    >>> quote = numpy.dtype([("instrument", "u8"), ("bid", "f8"), ("ask", "f8")], align=True)
    >>> tango.payload_type(quote, "Quote")
    PayloadType(name='Quote', size=24, align=8)
    """
    import numpy

    dtype = numpy.dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"{dtype} has references to objects, which mean nothing in another process")
    return PayloadType(name, dtype.itemsize, dtype.alignment)


class TypedLink:
    """A link whose payloads are values of one dtype.

    >>> import numpy, rust_tango as tango
    >>> quote = numpy.dtype([("instrument", "u8"), ("bid", "f8"), ("ask", "f8")], align=True)
    >>> link = tango.Link(payload_type=tango.payload_type(quote, "Quote"))
    >>> typed = tango.TypedLink(link, quote, "Quote")
    >>> tx, rx = typed.producer(), typed.consumer()
    >>> _ = tx.publish((7, 101.25, 101.5))
    >>> value = rx.recv()
    >>> int(value["instrument"]), float(value["bid"])
    (7, 101.25)
    """

    def __init__(self, link: Link, dtype: Any, name: str) -> None:
        """Raises :class:`Incompatible` if the link remembers another type, or none."""
        import numpy

        wanted = payload_type(dtype, name)
        found = link.payload_type
        if found != wanted:
            raise Incompatible(f"the link has payload type {found}, and not {wanted}")
        self.link = link
        self.dtype: numpy.dtype[Any] = numpy.dtype(dtype)

    def producer(self, **options: Any) -> "TypedProducer":
        """See ``Link.producer``."""
        return TypedProducer(self.link.producer(**options), self.dtype)

    def consumer(self, *args: Any, **options: Any) -> "TypedConsumer":
        """See ``Link.consumer``."""
        return TypedConsumer(self.link.consumer(*args, **options), self.dtype)

    def evictable_consumer(self, *args: Any, **options: Any) -> "TypedConsumer":
        """See ``Link.evictable_consumer``."""
        return TypedConsumer(self.link.evictable_consumer(*args, **options), self.dtype)

    def observer(self, *args: Any, **options: Any) -> "TypedConsumer":
        """See ``Link.observer``."""
        return TypedConsumer(self.link.observer(*args, **options), self.dtype)


class TypedProducer:
    """Publishes values. ``untyped`` is the producer for everything else."""

    def __init__(self, untyped: Producer, dtype: Any) -> None:
        self.untyped = untyped
        self.dtype = dtype

    def _bytes(self, value: Any) -> Any:
        import numpy

        array = numpy.asarray(value, dtype=self.dtype)
        if array.shape not in ((), (1,)):
            raise ValueError(f"one value is published at a time, and not an array of shape {array.shape}")
        return array.tobytes()

    def publish(self, value: Any, sig: int = 0, ctl: int = 0, ts: int = 0, timeout: float | None = None) -> int:
        """Publishes a value: what ``numpy.asarray(value, dtype)`` takes. Otherwise as ``Producer.publish``."""
        return self.untyped.publish(self._bytes(value), sig, ctl, ts, timeout)

    def try_publish(self, value: Any, sig: int = 0, ctl: int = 0, ts: int = 0) -> int:
        """As :meth:`publish`, without waiting."""
        return self.untyped.try_publish(self._bytes(value), sig, ctl, ts)

    def close(self) -> None:
        """Closes ``untyped``."""
        self.untyped.close()

    def __enter__(self) -> "TypedProducer":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.untyped.__exit__(*exception)


class TypedConsumer:
    """Reads values. Each is a copy: to read in place, use :meth:`in_place`, or ``untyped``, the consumer.

    A fragment of another size raises :class:`WrongSize`. It was skipped; the next call reads on.
    """

    def __init__(self, untyped: Consumer, dtype: Any) -> None:
        self.untyped = untyped
        self.dtype = dtype

    def in_place(self, fragment: Fragment) -> "numpy.ndarray[Any, Any]":
        """The value of a fragment of this link, without a copy: an array of one, which exports a buffer."""
        import numpy

        if len(fragment) != self.dtype.itemsize:
            size, expected = len(fragment), self.dtype.itemsize
            text = f"fragment {fragment.seq} has {size} bytes, and a value has {expected}: it was skipped"
            raise WrongSize(text, fragment.seq, size, expected)
        return numpy.frombuffer(memoryview(fragment), dtype=self.dtype, count=1)

    def _value(self, fragment: Fragment) -> Any:
        with fragment:
            return self.in_place(fragment).copy()[0]

    def recv(self, timeout: float | None = None) -> Any:
        """The next value. See ``Consumer.recv``."""
        return self._value(self.untyped.recv(timeout))

    def try_recv(self) -> Any:
        """The next value, if it is there. See ``Consumer.try_recv``."""
        return self._value(self.untyped.try_recv())

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.recv()
        except Closed:
            raise StopIteration from None

    def close(self) -> None:
        """Closes ``untyped``."""
        self.untyped.close()

    def __enter__(self) -> "TypedConsumer":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.untyped.__exit__(*exception)
