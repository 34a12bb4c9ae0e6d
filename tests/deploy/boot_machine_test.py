"""Copies of this machine: nothing of them is left, whatever happens."""
import os
import re
import signal
import time
import unittest

from tests.deploy import machine
from tests.deploy import scratch
from tools import case_report


def cgroups(name):
    """Those of a name, wherever this machine has them mounted, if at all."""
    return scratch.run("unshare", "--mount", "sh", "-c", "mount -t cgroup2 cgroup2 /mnt && "
                       f"find /mnt -name {name}").stdout.splitlines()


def make_copy_and_wait(out):
    """Never returns. Writes what the copy is known by, or what this machine lacks."""
    try:
        copy = machine.Machine()
        os.write(out, f"{copy.init} {copy.cgroup}".encode())
        signal.pause()
    except machine.Lacking as lacking:
        os.write(out, str(lacking).encode())
    finally:
        os._exit(0)


class OriginalTest(unittest.TestCase):
    """This machine, of which the others are copies."""

    def check_is_gone(self, init, cgroup):
        deadline = time.monotonic() + scratch.SECONDS
        while os.path.exists(f"/proc/{init}") or cgroups(cgroup):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_nothing_of_a_copy_is_left(self):
        try:
            copy = machine.Machine()
        except machine.Lacking as lacking:
            self.skipTest(f"needs what this machine lacks: {lacking}")
        name = os.uname().nodename
        copy.run("touch /etc/viommu-copy /usr/viommu-copy /run/viommu-copy /tmp/viommu-copy && "
                 "useradd viommu-copy && hostname viommu-copy && mount -t tmpfs copy /srv")
        self.assertEqual(1, len(cgroups(copy.cgroup)))
        copy.close()
        self.check_is_gone(copy.init, copy.cgroup)
        self.assertEqual(name, os.uname().nodename)
        for folder in ("etc", "usr", "run", "tmp"):
            self.assertFalse(os.path.exists(f"/{folder}/viommu-copy"), folder)
        for path, mark in (("/etc/passwd", "viommu-copy"), ("/proc/self/mounts", "machine ")):
            with open(path, encoding="utf-8") as file:
                self.assertNotRegex(file.read(), f"(?m)^{mark}")

    def test_a_copy_ends_with_whoever_made_it(self):
        reading, writing = os.pipe()
        maker = os.fork()
        if maker == 0:
            make_copy_and_wait(writing)
        os.close(writing)
        known = os.read(reading, 1000).decode()
        os.close(reading)
        os.kill(maker, signal.SIGKILL)
        os.waitpid(maker, 0)
        if not re.fullmatch(r"\d+ \S+", known):
            self.skipTest(f"needs what this machine lacks: {known}")
        self.check_is_gone(*known.split())

    def test_it_says_what_it_does_not_allow(self):
        no_root = ["setpriv", "--bounding-set=-sys_admin"] if os.geteuid() == 0 else []
        said = scratch.run(*no_root, machine.SCRIPT, "keep", "viommu-no-machine").stdout
        self.assertRegex(said, r"^lacking mounts of its own \(.*not permitted.*\)\n$")


if __name__ == "__main__":
    case_report.main()
