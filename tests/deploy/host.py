"""A machine that is booted for a test case, and what viommud is like on it when it serves."""
import json
import unittest

from tests.deploy import machine

UNIT = "viommud.service"
SOCKET = "/run/viommu/viommud.sock"


class HostTest(unittest.TestCase):
    """One machine for all cases of a class, with a checkout of the sources."""

    @classmethod
    def setUpClass(cls):
        try:
            cls.machine = machine.Machine()
        except machine.Lacking as lacking:
            raise unittest.SkipTest(f"needs what this machine lacks: {lacking}") from None
        cls.addClassCleanup(cls.machine.close)
        cls.machine.check_out()

    def run_on(self, line, check=True):
        return self.machine.run(line, check).stdout

    def properties(self, *names):
        """Of the unit, in this order."""
        lines = self.run_on(f"systemctl show --property={','.join(names)} {UNIT}").splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return [found[name] for name in names]

    def daemon(self):
        """The id of its process."""
        return self.properties("MainPID")[0]

    def check_owner_and_mode(self, expected, *paths):
        found = self.run_on(f"stat --format='%U %G %a' {' '.join(paths)}").splitlines()
        self.assertEqual([expected] * len(paths), found, paths)

    def viommuctl(self, words):
        return self.run_on(f"viommuctl --target {SOCKET} {words}")

    def journal(self):
        """The lines of the unit, all that have been written."""
        return self.run_on("journalctl --sync && journalctl --unit=viommud --output=cat").splitlines()

    def events(self):
        """What the daemons have logged, oldest first."""
        return [json.loads(line)["event"] for line in self.journal() if line.startswith("{")]

    def check_serves(self):
        self.assertEqual(["active", "running", "notify", "Serving"],
                         self.properties("ActiveState", "SubState", "Type", "StatusText"))
        self.check_owner_and_mode("viommu viommu 600", SOCKET, "/var/lib/viommu/endpoints.json")
        self.check_directories()

    def check_directories(self):
        self.check_owner_and_mode("viommu viommu 755", "/run/viommu")
        self.check_owner_and_mode("viommu viommu 700", "/var/lib/viommu")

    def check_user(self):
        self.assertRegex(self.machine.read("/etc/passwd"),
                         r"(?m)^viommu:[^:]*:\d+:\d+:[^:]*:/var/lib/viommu:\S*/nologin$")
