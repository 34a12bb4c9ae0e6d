"""The commands of docs/DEPLOYMENT.md for a host, run where a reader would: on a machine with systemd."""
import json
import os
import re
import shlex
import unittest

from tests.deploy import host
from tests.deploy import machine_commands
from tests.deploy import scratch
from tools import case_report

# What ./dev does when everything is built; and its folder, which is not there in a new checkout.
STAND_INS = {
    "./dev install": "deploy/install bazel-bin",
    "./dev package": "mkdir .packages && "
                     "SOURCE_DATE_EPOCH=1700000000 deploy/debian/build bazel-bin .packages",
}
# What the manager of the unit writes into its journal.
OF_SYSTEMD = re.compile(r"(Starting|Started|Stopping|Stopped) viommud\.service|viommud\.service: ")


def document(name):
    with open(os.path.join(scratch.ROOT, "docs", name), encoding="utf-8") as file:
        return file.read()


def shown(*titles):
    """The commands of sections of docs/DEPLOYMENT.md."""
    text = document("DEPLOYMENT.md")
    return [command for title in titles
            for command in machine_commands.commands(machine_commands.section(text, title))]


def shown_first_in_runbook():
    """Before its first section, and so for all of them."""
    return machine_commands.commands(document("RUNBOOK.md").partition("\n## ")[0])


FROM_SOURCES = ("From the sources", "Under systemd")
AS_A_PACKAGE = ("As a Debian package", "Under systemd", "Removing it")


class DocumentTest(unittest.TestCase):
    def test_whatever_a_host_could_run_is_run_on_a_machine(self):
        followed = {*shown(*FROM_SOURCES), *shown(*AS_A_PACKAGE), *shown_first_in_runbook()}
        self.assertLessEqual(set(machine_commands.commands(document("DEPLOYMENT.md"))), followed)
        self.assertEqual(machine_commands.RUN,
                         {command for command in followed if not command.startswith("./dev ")})


class ReaderTest(host.HostTest):
    """Someone who does what a document says, command after command, and looks what comes of it."""

    def follow(self, commands):
        exports = []
        for command in commands:
            dev = " ".join(command.split()[:2])
            line = command.replace(dev, STAND_INS.get(dev, dev))
            with self.subTest(command):
                done = self.run_on("\n".join([*exports, line]))
                look = next(look for words, look in self.LOOKS.items() if command.startswith(words))
                look(self, command, done)
            if command.startswith("export "):
                exports.append(command)

    def after_dev_install(self, command, _):
        variables = {"DESTDIR": "", "PREFIX": "/usr/local",
                     **dict(word.split("=") for word in shlex.split(command)[2:])}
        with open(os.path.join(scratch.DEPLOY, "layout.txt"), encoding="utf-8") as file:
            places = re.findall(r"^[^#\s]\S* +\d+ (\S+)$", file.read(), re.MULTILINE)
        self.assertGreater(len(places), 10)
        for place in places:
            place = variables["DESTDIR"] + re.sub("^/usr/", variables["PREFIX"] + "/", place)
            self.assertTrue(self.machine.exists(place), place)

    def after_dev_package(self, _, done):
        self.assertRegex(done, r"^\S+/\.packages/viommu_\S+\.deb\n$")

    def after_sysusers(self, *_):
        self.check_user()

    def after_tmpfiles(self, *_):
        self.check_directories()

    def after_enable(self, *_):
        self.assertEqual(["enabled"], self.properties("UnitFileState"))
        self.check_serves()

    def after_apt_install(self, *_):
        self.check_user()
        self.after_enable()
        self.upgrade()

    def upgrade(self):
        """To a package of the same content that is newer."""
        self.viommuctl("create ioas vm0")
        daemon = self.daemon()
        self.run_on("""
            dpkg-deb --raw-extract .packages/viommu_*.deb /tmp/newer &&
            sed -i 's/^Version: .*/&.1/' /tmp/newer/DEBIAN/control &&
            dpkg-deb -Znone --build /tmp/newer /tmp/newer.deb && apt install /tmp/newer.deb""")
        self.assertRegex(self.run_on("dpkg-query --show viommu"), r"\.1\n$")
        # With all that it keeps for its guests.
        self.assertEqual(daemon, self.daemon())
        self.assertIn("deleted", self.run_on(f"readlink /proc/{daemon}/exe"))
        self.assertIn("vm0", self.viommuctl("list ioas"))

    def after_restart(self, *_):
        self.check_serves()
        daemon = self.daemon()
        self.assertEqual("/usr/sbin/viommud", self.run_on(f"readlink /proc/{daemon}/exe").strip())
        self.assertNotIn("vm0", self.viommuctl("list ioas"))
        self.assertEqual(["start", "ready", "drain", "stop", "start", "ready"], self.events())

    def after_export(self, *_):
        """What follows is run with it."""

    def after_health(self, _, done):
        self.assertRegex(done, r"(?m)^\(all\) +serving$")

    def after_journal(self, _, done):
        """The log, and nothing but the log, beside what systemd has to say."""
        events = [json.loads(line) for line in done.splitlines() if not OF_SYSTEMD.match(line)]
        self.assertIn(("ready", host.SOCKET),
                      [(event["event"], event.get("unix_socket")) for event in events])

    def files(self):
        """Those of the package, or that it leaves, wherever they could be."""
        return self.run_on("find /etc /run /var/lib -maxdepth 4 -name '*viommu*' && "
                           "find /usr/{bin,sbin,lib,share} -maxdepth 3 -name '*viommu*'").splitlines()

    def after_remove(self, *_):
        self.assertEqual(["inactive", "success"], self.properties("ActiveState", "Result"))
        self.assertEqual("stop", self.events()[-1])
        self.assertFalse(self.machine.exists("/usr/sbin/viommud"))
        self.assertIn("/etc/viommu/viommud.textproto", self.files())
        self.check_directories()
        self.check_user()

    def after_purge(self, *_):
        self.assertEqual([], self.files())
        self.assertEqual(["not-found"], self.properties("LoadState"))
        self.check_user()

    LOOKS = {"./dev install": after_dev_install, "./dev package": after_dev_package,
             "systemd-sysusers": after_sysusers, "systemd-tmpfiles": after_tmpfiles,
             "systemctl enable": after_enable, "systemctl restart": after_restart,
             "apt install": after_apt_install, "apt remove": after_remove,
             "apt purge": after_purge, "export": after_export, "viommuctl health": after_health,
             "journalctl": after_journal}


class FromSourcesTest(ReaderTest):
    def test_its_commands_install_and_start_the_daemon(self):
        self.follow(shown(*FROM_SOURCES) + shown_first_in_runbook())


class PackageTest(ReaderTest):
    def test_its_commands_install_upgrade_and_remove_the_package(self):
        self.follow(shown(*AS_A_PACKAGE))


if __name__ == "__main__":
    case_report.main()
