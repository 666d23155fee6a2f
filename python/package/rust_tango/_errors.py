"""The exceptions. All are a :class:`TangoError`."""

import errno


class TangoError(Exception):
    """An error of a link. The classes below it say which.

    >>> import rust_tango as tango
    >>> try:
    ...     tango.Link.open("no-such-link", dir="/tmp/no-such-folder")
    ... except tango.TangoError as error:
    ...     print(type(error).__name__, isinstance(error, FileNotFoundError))
    LinkNotFound True
    """


# Reading.


class Empty(TangoError):
    """There is no fragment now. One may come at any moment."""


class Timeout(TangoError, TimeoutError):
    """No fragment came until the time was up."""


class Closed(TangoError):
    """Reading: the link is closed, and everything was read. Publishing: the link was stopped for good."""

    published: int
    """Of ``publish_batch``: how many payloads were published."""


class ProducerGone(TangoError, ConnectionError):
    """The producer has died, and everything that it had published was read.

    Each further call raises this at once, until another producer takes the link over (``wait_for_producer``).
    """


class ProducerReplaced(TangoError):
    """A new producer has taken the link over from one that died. Raised once. No published fragment is lost."""

    def __init__(self, message: str = "", first: int = 0) -> None:
        super().__init__(message)
        self.first = first
        """The number of the new producer's first fragment."""


class Lost(TangoError):
    """The producer has overwritten fragments that this reader had not read, which does not happen to a reliable
    consumer, or has left their numbers out, which any reader learns. The next call continues after them."""

    def __init__(self, message: str = "", lost: int = 0, next: int = 0) -> None:
        super().__init__(message)
        self.lost = lost
        """How many fragments were lost, at least 1."""
        self.next = next
        """The number of the fragment at which reading continues."""


class Evicted(Lost):
    """This evictable consumer was slower than the producer's patience. It has joined again already."""


class Corrupt(TangoError):
    """The metadata of a fragment is wrong. It was skipped. Something other than the library has written it."""

    def __init__(self, message: str = "", seq: int = 0) -> None:
        super().__init__(message)
        self.seq = seq
        """The number of the fragment."""


class WrongSize(TangoError):
    """A fragment of a typed link has another size than the type. It was skipped."""

    def __init__(self, message: str = "", seq: int = 0, size: int = 0, expected: int = 0) -> None:
        super().__init__(message)
        self.seq, self.size, self.expected = seq, size, expected


# Publishing.


class NoCredits(TangoError, TimeoutError):
    """A reliable consumer still needs what the payload would overwrite. Nothing was published."""

    published: int
    """Of ``publish_batch``: how many payloads were published before."""

    def __init__(self, message: str = "", held_by: int | None = None) -> None:
        super().__init__(message)
        self.held_by = held_by
        """The slot of the consumer that the producer waits for."""


class TooLarge(TangoError, ValueError):
    """The payload is longer than the MTU of the link. Nothing was published."""

    published: int
    """Of ``publish_batch``: how many payloads were published before."""

    def __init__(self, message: str = "", size: int = 0, max: int = 0) -> None:
        super().__init__(message)
        self.size = size
        """Length of the payload, in bytes."""
        self.max = max
        """The MTU, in bytes."""


# Objects.


class Busy(TangoError, RuntimeError):
    """Another thread is using this object, or the producer has an open loan."""


class Released(TangoError, ValueError):
    """The object was released or closed."""


# Making, opening and joining a link.


class InvalidArgument(TangoError, ValueError):
    """An option is out of its range, or the call is not possible on this link."""


class LinkError(TangoError, OSError):
    """A link could not be made, opened, joined or removed. ``errno`` is set if the system, or a subclass, has one."""

    _errno: int | None = None

    def __init__(self, message: str = "", number: int | None = None) -> None:
        super().__init__(number or self._errno, message)

    def __str__(self) -> str:
        return self.strerror or ""

    def __reduce__(self) -> tuple[type["LinkError"], tuple[str, int | None]]:
        return type(self), (str(self), self.errno)


class LinkNotFound(LinkError, FileNotFoundError):
    """There is no link of that name (yet), or it was removed."""

    _errno = errno.ENOENT


class LinkInUse(LinkError, FileExistsError):
    """A link of that name exists and is in use."""

    _errno = errno.EEXIST


class Taken(LinkError):
    """The link already has a producer, or all slots for consumers are taken."""

    _errno = errno.EBUSY


class Incompatible(LinkError):
    """The files have another format, or the link has other sizes or another payload type than asked for."""


class Damaged(LinkError):
    """One of the link's files is missing. Remove the link and create it again."""


class Untrusted(LinkError, PermissionError):
    """Another user could write to the link's files. An observer may still be able to join."""

    _errno = errno.EACCES


class AccessDenied(LinkError, PermissionError):
    """This user may not do that with the link's files."""

    _errno = errno.EACCES
