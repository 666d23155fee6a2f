"""Reports on a link."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class ConsumerStatus:
    """A reliable or evictable consumer of a link."""

    slot: int
    evictable: bool
    asleep: bool
    alive: bool
    next: int
    """The first fragment that it has not finished with."""
    lag: int
    """How many fragments, with the numbers that were left out, it has not finished with."""
    consumed: int
    overruns: int
    """How many times it lost fragments, or came to numbers that were left out."""
    lost: int
    """How many fragments it lost, with the numbers that were left out."""


@dataclass(frozen=True)
class Status:
    """What :meth:`Link.status` returns. The values are read one after the other, and may not fit together.

    >>> import rust_tango as tango
    >>> link = tango.Link()
    >>> tx, rx = link.producer(), link.consumer()
    >>> _ = tx.publish(b"one")
    >>> status = link.status()
    >>> status.producer, status.next, status.consumers[0].lag
    (True, 2, 1)
    """

    producer: bool
    """Whether a producer is attached and lives."""
    closed: bool
    """Whether the last producer has ended in good order, and no other has attached since."""
    stopped: bool
    """Whether the link has ended for good."""
    name_lost: bool
    """Whether it was stopped because its name was removed, or given to another link."""
    heartbeat: int
    """The value of the producer's last ``beat``, in its unit; 0 if there was none."""
    start: int
    """The first sequence number."""
    next: int
    """The number of the next fragment."""
    oldest: int
    """The oldest fragment that observers can still read."""
    backpressure: int
    """How many fragments had to wait for credits."""
    held_by: int | None
    """The slot of the consumer that the producer waits for, or waited for last."""
    reaped: int
    """How many consumers died without detaching, and no longer hold the producer back."""
    evicted: int
    """How many consumers have been evicted."""
    producers: int
    """How many producers have attached so far."""
    takeovers: int
    """How many producers took over from one that died."""
    consumers: list[ConsumerStatus] = field(default_factory=list)


@dataclass(frozen=True)
class ConsumerMetrics:
    """Counts of a reliable or evictable consumer, since it took its slot."""

    slot: int
    consumed: int
    """How many fragments it has finished with. A batch counts when it is released."""
    lag: int
    """How many fragments, with the numbers that were left out, it has not finished with."""
    overruns: int
    """How many times it lost fragments, or came to numbers that were left out."""
    lost: int
    """How many fragments it lost, with the numbers that were left out."""


@dataclass(frozen=True)
class Metrics:
    """What :meth:`Link.metrics` returns: counts of both ends, which the link keeps itself.

    The values are read one after the other, while the ends change them. Observers are not counted.

    >>> import rust_tango as tango
    >>> link = tango.Link()
    >>> tx, rx = link.producer(), link.consumer()
    >>> _ = tx.publish(b"one"), tx.publish(b"two")
    >>> rx.recv().release()
    >>> metrics = link.metrics()
    >>> metrics.published, metrics.consumed, metrics.lag, metrics.lost
    (2, 1, 1, 0)
    """

    published: int
    """How many fragments were published, by all producers of the link, with the numbers that they left out."""
    backpressure_events: int
    """How many fragments had to wait for credits. One that waits counts once."""
    evicted: int
    """How many consumers have been evicted."""
    reaped: int
    """How many consumers died without detaching, and no longer hold the producer back."""
    producers: int
    """How many producers have attached so far."""
    takeovers: int
    """How many producers took over from one that died."""
    consumers: list[ConsumerMetrics] = field(default_factory=list)
    """Those that have a slot now, in the order of their slots. A consumer that leaves takes its counts with it."""

    @property
    def consumed(self) -> int:
        """Fragments consumed, summed over :attr:`consumers`."""
        return sum(consumer.consumed for consumer in self.consumers)

    @property
    def lost(self) -> int:
        """Fragments lost, summed over :attr:`consumers`."""
        return sum(consumer.lost for consumer in self.consumers)

    @property
    def lag(self) -> int:
        """How many fragments the slowest consumer is behind; 0 without consumers."""
        return max((consumer.lag for consumer in self.consumers), default=0)


@dataclass(frozen=True)
class Geometry:
    """The sizes of a link, which never change: :attr:`Link.geometry`. Sizes are in bytes."""

    depth: int
    mtu: int
    slot: int
    region: int
    consumers: int
    observers: bool
    credits: int
    start: int


class PayloadType(NamedTuple):
    """What the payloads of a link are, as the link remembers it."""

    name: str
    size: int
    """In bytes."""
    align: int
    """In bytes."""
