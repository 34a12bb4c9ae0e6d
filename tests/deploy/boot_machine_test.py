"""Copies of this machine: nothing of them is left, whatever happens."""
import os
import signal
import stat
import time
import unittest

from tests.deploy import machine
from tests.deploy import scratch
from tools import case_report


def cgroup_mount():
    """[(where, how)] of this machine's cgroups of version 2, without a line when it has none."""
    return [line.split() for line in scratch.run(
        "findmnt", "--noheadings", "--raw", "--types", "cgroup2", "--output", "TARGET,OPTIONS",
        check=False).stdout.splitlines()]


def cgroups(name):
    """Those of a name, if this machine has them mounted."""
    return [found for place, _ in cgroup_mount() for found in
            scratch.run("find", place, "-name", name, check=False).stdout.splitlines()]


def make_copy_and_wait(out):
    """Never returns. Writes what the copy is known by, or why there is none."""
    try:
        copy = machine.Machine()
        os.write(out, f"{copy.init} {copy.cgroup}".encode())
        signal.pause()
    except machine.Lacking as lacking:
        os.write(out, f"lacking {lacking}".encode())
    except BaseException as error:  # Whoever waits is told, and nobody else is there to.
        os.write(out, repr(error).encode())
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
        cgroup_mounts = cgroup_mount()
        try:
            copy = machine.Machine()
        except machine.Lacking as lacking:
            self.skipTest(f"needs what this machine lacks: {lacking}")
        name = os.uname().nodename
        # As it is: should it be allowed to after all, nothing has changed.
        mode = oct(stat.S_IMODE(os.stat("/dev/null").st_mode))[2:]
        self.assertIn("Read-only", copy.run(f"chmod {mode} /dev/null", check=False).stderr)
        copy.run("touch /etc/viommu-copy /usr/viommu-copy /run/viommu-copy /tmp/viommu-copy && "
                 "useradd viommu-copy && hostname viommu-copy && mount -t tmpfs copy /srv")
        self.assertEqual(len(cgroup_mounts), len(cgroups(copy.cgroup)))
        copy.close()
        self.check_is_gone(copy.init, copy.cgroup)
        self.assertEqual(cgroup_mounts, cgroup_mount())
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
        if known.startswith("lacking "):
            self.skipTest(f"needs what this machine lacks: {known.partition(' ')[2]}")
        self.assertRegex(known, r"^\d+ \S+$")
        self.check_is_gone(*known.split())

    def test_it_mounts_nothing_where_this_machine_would_see_it(self):
        with open("/proc/self/mounts", encoding="utf-8") as file:
            before = file.read()
        for command in (["keep_here", "viommu-no-machine"], ["boot"]):
            # In a namespace all the same, should it do so; with what it would need there.
            done = scratch.run("unshare", "--mount", "sh", "-c", "mount -t tmpfs test /mnt && "
                               "mkdir /mnt/root && cp /proc/self/mounts /mnt/before && "
                               '{ "$@"; echo $?; } && diff /mnt/before /proc/self/mounts',
                               "sh", machine.SCRIPT, *command, check=False)
            if "not permitted" in done.stderr:
                self.skipTest(f"needs what this machine lacks: {done.stderr}")
            self.assertEqual("failed\n1\n", done.stdout, command)
        with open("/proc/self/mounts", encoding="utf-8") as file:
            self.assertEqual(before, file.read())

    def test_it_says_what_it_does_not_allow(self):
        no_root = ["setpriv", "--bounding-set=-sys_admin"] if os.geteuid() == 0 else []
        said = scratch.run(*no_root, machine.SCRIPT, "keep", "viommu-no-machine").stdout
        self.assertRegex(said, r"^lacking mounts of its own \(.*not permitted.*\)\n$")


if __name__ == "__main__":
    case_report.main()
