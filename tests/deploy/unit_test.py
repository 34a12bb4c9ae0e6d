"""The unit of viommud, under a systemd that really is a machine's init."""
import json
import os
import time

from tests.deploy import host
from tests.deploy import scratch
from tools import case_report

CONFINED = os.path.join(scratch.ROOT, "tests", "deploy", "confined.py")
DROP_IN = f"/run/systemd/system/{host.UNIT}.d/test.conf"
OCCUPIER = "occupier.service"
# What the unit does not let it do, of confined.py.
REFUSALS = {
    "write where everybody may": "EROFS",
    "read a home": "EACCES",
    "see what others have in /tmp": "ENOENT",
    "see the processes of others": "ENOENT",
    "ask the kernel over netlink": "EAFNOSUPPORT",
    "make a user namespace": "EPERM",
    "write code into memory": "EPERM",
    "make a setuid file": "EPERM",
    "be traced": "EPERM",
    "change its personality": "EPERM",
}


class UnitTest(host.HostTest):
    """The daemon of a unit that is installed as a package has it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine.run("deploy/install bazel-bin PREFIX=/usr && systemd-sysusers viommu.conf && "
                        f"systemctl enable {host.UNIT}")

    def tearDown(self):
        self.run_on(f"rm -f {DROP_IN}")
        # A few starts in a few seconds are not one too many.
        self.run_on("systemctl daemon-reload; systemctl reset-failed")

    def start_with(self, settings):
        """Starts the daemon again, with settings of its service on top."""
        self.machine.write(DROP_IN, f"[Service]\n{settings}\n")
        self.run_on(f"systemctl daemon-reload && systemctl restart {host.UNIT}")

    def test_it_may_do_what_it_has_to_and_nothing_else(self):
        self.run_on("mkdir -m 0777 /srv/open /home/open && touch /tmp/of-others")
        with open(CONFINED, encoding="utf-8") as file:
            self.machine.write("/srv/viommu/confined.py", file.read())
        self.start_with("ExecStartPre=/usr/bin/python3 /srv/viommu/confined.py "
                        "/var/lib/viommu/found.json")
        self.run_on("python3 confined.py /tmp/found.json")
        free = json.loads(self.machine.read("/tmp/found.json"))["attempts"]
        # Some kernels let nobody do so.
        self.assertLessEqual({attempt for attempt, outcome in free.items() if outcome != "done"},
                             {"make a user namespace"})
        confined = json.loads(self.machine.read("/var/lib/viommu/found.json"))
        self.assertEqual({**free, **REFUSALS}, confined["attempts"])
        none = "0" * 16
        self.assertEqual({"CapEff": none, "CapBnd": none, "NoNewPrivs": "1", "Seccomp": "2"},
                         confined["privileges"])

    def test_it_opens_no_other_devices(self):
        if not os.path.exists("/dev/fuse"):
            self.skipTest("needs what this machine lacks: a device to be refused (/dev/fuse)")
        self.run_on("true 3<> /dev/fuse")
        # As root, so that it is not its owner and mode that keep it from it.
        self.start_with("ExecStartPre=+/bin/bash -c '! true 3<> /dev/fuse && true 3<> /dev/null'")
        self.check_serves()

    def eventually(self, holds):
        deadline = time.monotonic() + scratch.SECONDS
        while not holds():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def is_restarted(self):
        state, restarts = self.properties("ActiveState", "NRestarts")
        return state == "active" and restarts != "0"

    def test_a_daemon_that_hangs_is_ended_and_started_again(self):
        # No core on this machine, wherever its kernel would have put it.
        # Long enough for one that does not hang on a busy machine.
        self.start_with("WatchdogSec=6\nLimitCORE=1")
        hanging = self.daemon()
        self.assertNotEqual("0", hanging)
        self.run_on(f"kill -STOP {hanging}")
        self.eventually(self.is_restarted)
        self.assertNotEqual(hanging, self.daemon())
        self.assertIn("Watchdog timeout", "\n".join(self.journal()))
        self.check_serves()

    def test_unusable_settings_are_not_tried_again(self):
        settings = "/etc/viommu/viommud.textproto"
        before = self.machine.read(settings)
        self.addCleanup(self.machine.write, settings, before)
        self.machine.write(settings, before + "max_calls: 0\n")
        self.assertNotEqual(0, self.machine.run(f"systemctl restart {host.UNIT}", check=False).returncode)
        self.assertEqual(["failed", "2", "0"],
                         self.properties("ActiveState", "ExecMainStatus", "NRestarts"))

    def test_what_keeps_it_from_starting_may_take_its_time_to_pass(self):
        self.run_on(f"systemctl stop {host.UNIT}")
        self.run_on(f"systemd-run --unit={OCCUPIER} python3 -m http.server --bind 127.0.0.1 9477")
        self.run_on("for i in {1..600}; do (: </dev/tcp/127.0.0.1/9477) && break; sleep 0.1; done")
        self.run_on(f"systemctl start --no-block {host.UNIT}")
        # More than systemd's own limit lets.
        self.eventually(lambda: int(self.properties("NRestarts")[0]) > 6)
        self.assertIn("start_failed", self.events())
        self.run_on(f"systemctl stop {OCCUPIER}")
        self.eventually(lambda: self.properties("ActiveState") == ["active"])
        self.check_serves()

    def test_it_ends_cleanly_when_it_is_stopped(self):
        self.run_on(f"systemctl start {host.UNIT} && systemctl stop {host.UNIT}")
        self.assertEqual(["inactive", "success", "0"],
                         self.properties("ActiveState", "Result", "ExecMainStatus"))
        self.assertEqual(["drain", "stop"], self.events()[-2:])
        # The directory stays, as pods have mounted it.
        self.assertEqual("", self.run_on("ls -A /run/viommu"))

    def test_it_serves_after_a_reboot(self):
        self.run_on(f"systemctl start {host.UNIT}")
        self.viommuctl("create ioas vm0")
        self.machine.reboot()
        self.check_serves()
        self.assertNotIn("vm0", self.viommuctl("list ioas"))


if __name__ == "__main__":
    case_report.main()
