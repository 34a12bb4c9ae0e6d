"""What an attack on viommud must leave behind: nothing."""
import collections
import contextlib
import os
import time

from tests.e2e import grpcurl
from tests.e2e import metrics

# For the daemon to tidy up; it takes milliseconds, but for a machine that compiles meanwhile.
_TIDY_SECONDS = 60
_LOOKS = 5

# Under a sanitizer freed memory stays with the process, for a while or as shadow.
MEMORY_TELLS = "ASAN_OPTIONS" not in os.environ and "TSAN_OPTIONS" not in os.environ
# Pipes to TSan's symbolizer, which it starts when it has first something to look up.
_SANITIZER_FILES = 2 if "TSAN_OPTIONS" in os.environ else 0


def open_files(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def memory_kib(daemon, what="VmRSS"):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        for line in file:
            name, value = line.split(":")
            if name == what:
                return int(value.split()[0])
    raise AssertionError(f"no {what}")


def forget_peak(daemon):
    """Lets VmHWM begin anew, at the memory that is used now, which is returned."""
    with open(f"/proc/{daemon.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return memory_kib(daemon, "VmHWM")


def cpu_seconds(daemon):
    with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connections(daemon, transport="tcp"):
    return metrics.Metrics(daemon).total("viommu_connections", transport=transport)


def refused(daemon, reason, transport="tcp"):
    return metrics.Metrics(daemon).total("viommu_connections_refused_total", reason=reason,
                                         transport=transport)


def eventually(test, what, true):
    """Waits until `true()`."""
    deadline = time.monotonic() + _TIDY_SECONDS
    while not true():
        test.assertLess(time.monotonic(), deadline, what)
        time.sleep(0.02)


def _settled_files(daemon):
    """How many files are open when none has been opened or closed for a few looks."""
    looks = collections.deque(maxlen=_LOOKS)
    deadline = time.monotonic() + _TIDY_SECONDS
    while len(looks) < _LOOKS or len(set(looks)) > 1:
        if time.monotonic() > deadline:
            raise AssertionError(f"files are opened and closed all the time: {list(looks)}")
        looks.append(open_files(daemon))
        time.sleep(0.02)
    return looks[-1]


@contextlib.contextmanager
def survived(test, daemon, may_grow_kib):
    """What is done inside leaves `daemon` serving on both sockets, without a file or a connection
    more, and its memory, at its peak as well, at most `may_grow_kib` larger."""
    def call():
        for client in (grpcurl.Client(daemon), grpcurl.Client.over_tcp(daemon)):
            test.assertEqual("soft", client.get("HostService/GetHost")["backend"])

    def idle():
        return connections(daemon) == connections(daemon, "unix") == 0

    eventually(test, "no connections before", idle)  # They might take the place of its own.
    call()
    eventually(test, "no connections at the beginning", idle)
    files, memory = _settled_files(daemon), forget_peak(daemon)
    yield
    eventually(test, "the connections are gone", idle)
    call()
    eventually(test, "its own connections are gone", idle)
    eventually(test, "the files are closed",
               lambda: open_files(daemon) <= files + _SANITIZER_FILES)
    if MEMORY_TELLS:
        test.assertLess(memory_kib(daemon, "VmHWM") - memory, may_grow_kib)
