"""The unit, the user and the directories, as systemd's own tools see them."""
import configparser
import os
import re
import shutil
import signal
import stat
import subprocess
import unittest

from tests.deploy import scratch
from tests.e2e import daemon
from tests.e2e import grpcurl
from tools import case_report

# Of 100; systemd calls up to 20 "OK". What is left is what it needs: its sockets.
MOST_EXPOSURE = 20
UNIT = "/usr/lib/systemd/system/viommud.service"


def calls_of(name):
    """The system calls that a set such as @chown, or a call's own name, stands for."""
    if not name.startswith("@"):
        return {name}
    listed = scratch.run("systemd-analyze", "syscall-filter", name).stdout.splitlines()[1:]
    members = {line.strip() for line in listed if line.strip() and not line.strip().startswith("#")}
    return set().union(*map(calls_of, members))


def traced(folder):
    """The lines of strace about a viommud that serves over all its sockets, is asked, and stops."""
    command = ["strace", "-f", "-qq", "-o", "trace", daemon.BINARY, "--state_dir=state",
               "--tcp_address=localhost:0", "--metrics_address=127.0.0.1:0",
               "--health_address=127.0.0.1:0"]
    traced_process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
    endpoints = scratch.await_endpoints(os.path.join(folder, "state"), traced_process)
    scratch.health(endpoints["health_address"])
    scratch.run(grpcurl.binary(), "-plaintext", endpoints["tcp_address"], "list")
    os.kill(endpoints["pid"], signal.SIGTERM)
    assert traced_process.wait(scratch.SECONDS) == 0
    with open(os.path.join(folder, "trace"), encoding="utf-8") as file:
        return file.read().splitlines()


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", text)[1])


class SystemdTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = scratch.new_folder()
        cls.addClassCleanup(shutil.rmtree, cls.root)
        scratch.install(f"DESTDIR={cls.root}", "PREFIX=/usr")
        # Settings that stand more than once add up; the last one is enough here.
        parser = configparser.RawConfigParser(strict=False)
        parser.optionxform = str
        parser.read(cls.root + UNIT)
        cls.unit = {**parser["Unit"], **parser["Service"], **parser["Install"]}

    def test_systemd_understands_the_unit(self):
        # What it is ordered by lies in systemd's own units.
        shutil.copytree("/usr/lib/systemd/system", self.root + "/usr/lib/systemd/system",
                        symlinks=True, dirs_exist_ok=True)
        done = scratch.run("systemd-analyze", "verify", f"--root={self.root}", "--man=no",
                           "viommud.service")
        complaints = [line for line in (done.stdout + done.stderr).splitlines() if "viommu" in line]
        self.assertEqual([], complaints)

    def test_a_unit_with_a_mistake_is_found(self):
        broken = os.path.join(self.root, "broken.service")
        with open(self.root + UNIT, encoding="utf-8") as file:
            text = file.read()
        with open(broken, "w", encoding="utf-8") as file:
            file.write(text.replace("ProtectHome=yes", "ProtectHome=perhaps"))
        done = scratch.run("systemd-analyze", "verify", "--man=no", broken, check=False)
        self.assertRegex(done.stderr, r"broken\.service:\d+: Failed to parse .*perhaps")

    def test_it_is_exposed_no_more_than_it_has_to_be(self):
        scratch.run("systemd-analyze", "security", "--offline=true",
                    f"--threshold={MOST_EXPOSURE}", self.root + UNIT)

    def test_it_has_no_privileges_and_only_the_devices_of_an_iommu(self):
        self.assertEqual("viommu", self.unit["User"])
        self.assertEqual("", self.unit["CapabilityBoundingSet"])
        self.assertEqual("yes", self.unit["NoNewPrivileges"])
        self.assertEqual("strict", self.unit["ProtectSystem"])
        self.assertEqual("closed", self.unit["DevicePolicy"])
        with open(self.root + UNIT, encoding="utf-8") as file:
            self.assertEqual(["/dev/iommu rw", "char-vfio-dev rw"],
                             re.findall("^DeviceAllow=(.*)$", file.read(), re.MULTILINE))

    def test_whatever_it_does_is_let_through(self):
        folder = scratch.new_folder()
        self.addCleanup(shutil.rmtree, folder)
        with open(self.root + UNIT, encoding="utf-8") as file:
            filters = re.findall("^SystemCallFilter=(.*)$", file.read(), re.MULTILINE)
        allowed = calls_of("@default")
        for each in filters:
            calls = set().union(*map(calls_of, each.lstrip("~").split()))
            allowed = allowed - calls if each.startswith("~") else allowed | calls
        families = set(self.unit["RestrictAddressFamilies"].split())
        lines = traced(folder)
        self.assertGreater(len(lines), 100)
        for line in lines:
            call = re.match(r"\d+ +(\w+)\(", line)
            self.assertIn(call[1] if call else "read", allowed, line)
            family = re.search(r" socket\((\w+),", line)
            self.assertIn(family[1] if family else "AF_UNIX", families, line)
            self.assertNotIn("PROT_WRITE|PROT_EXEC", line)  # MemoryDenyWriteExecute

    def test_it_comes_before_the_kubelet(self):
        self.assertIn("kubelet.service", self.unit["Before"].split())

    def test_it_has_time_to_finish_what_runs(self):
        with daemon.Daemon() as served:
            served.stop()
            drain = next(event for event in served.events() if event["event"] == "drain")
        farewell = 2
        self.assertGreater(seconds(self.unit["TimeoutStopSec"]), drain["timeout_seconds"] + farewell)

    def test_unusable_settings_are_not_tried_again(self):
        ended = daemon.run("--no_such_flag=1")
        self.assertIn(str(ended.returncode), self.unit["RestartPreventExitStatus"].split())

    def test_the_user_and_the_directories_are_made(self):
        scratch.run("systemd-sysusers", f"--root={self.root}", "viommu.conf")
        with open(self.root + "/etc/passwd", encoding="utf-8") as file:
            users = {line.split(":")[0]: line.strip().split(":") for line in file}
        self.assertEqual("/var/lib/viommu", users["viommu"][5])
        self.assertTrue(users["viommu"][6].endswith("nologin"), users)
        # Who is not root can not give directories away.
        if os.geteuid() != 0:
            return
        scratch.run("systemd-tmpfiles", "--create", f"--root={self.root}", "viommu.conf")
        for path, mode in {"/run/viommu": 0o755, "/var/lib/viommu": 0o700}.items():
            made = os.stat(self.root + path)
            self.assertEqual((int(users["viommu"][2]), mode),
                             (made.st_uid, stat.S_IMODE(made.st_mode)), path)

    def test_unit_and_tmpfiles_agree(self):
        with open(self.root + "/usr/lib/tmpfiles.d/viommu.conf", encoding="utf-8") as file:
            lines = [line.split() for line in file if not line.startswith("#")]
        modes = {path: mode for _, path, mode, *_ in lines}
        self.assertEqual({"/run/" + self.unit["RuntimeDirectory"]: self.unit["RuntimeDirectoryMode"],
                          "/var/lib/" + self.unit["StateDirectory"]: self.unit["StateDirectoryMode"]},
                         modes)


if __name__ == "__main__":
    case_report.main()
