"""Folders of links for each test, and other processes, which are ended by their id."""

import os
import subprocess
import sys
import tempfile

import pytest

PEER = os.environ.get("TANGO_PEER", "")
# A test that hangs is a failure: what waits in tests waits so long at most, in seconds.
LONG = 60.0


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    """The folder of the links of this test, which all processes that it starts inherit."""
    with tempfile.TemporaryDirectory(prefix="tango-python-", dir="/dev/shm") as path:
        os.chmod(path, 0o700)
        monkeypatch.setenv("TANGO_DIR", path)
        yield path


class Process:
    """A process that talks by lines."""

    def __init__(self, command):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def line(self):
        return self._process.stdout.readline().strip()

    def lines(self):
        return [line.strip() for line in self._process.stdout]

    def signal(self, signal):
        self._process.send_signal(signal)

    def wait(self):
        return self._process.wait(timeout=LONG)

    def kill(self):
        self._process.kill()
        self._process.wait(timeout=LONG)

    def end(self):
        if self._process.poll() is None:
            self.kill()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def start():
    """Starts processes, and ends them with the test."""
    started = []

    def start(*command):
        started.append(Process([str(part) for part in command]))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def peer(start, folder):
    """A program in Rust (``peer/``): ``peer(role, link, count)``. It has said that it is ready."""
    if not PEER:
        if os.environ.get("TANGO_TEST_SKIP_NOTHING"):
            pytest.fail("TANGO_PEER does not name the program")
        pytest.skip("TANGO_PEER does not name the program tango-peer")

    def peer(role, link, *rest):
        process = start(PEER, role, folder, link, *rest)
        assert process.line() == "ready"
        return process

    return peer


@pytest.fixture
def python(start):
    """Another interpreter, with this program. ``tango`` is imported."""

    def python(program):
        return start(sys.executable, "-u", "-c", "import rust_tango as tango\n" + program)

    return python


def message(i):
    """Message ``i`` of the program in Rust."""
    return i.to_bytes(8, "little") + bytes([i & 0xFF]) * (i % 600)
