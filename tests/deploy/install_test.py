"""deploy/install: where everything goes, and what it leaves alone."""
import os
import re
import shutil
import stat
import unittest

from tests.deploy import scratch
from tools import case_report


def installed(folder):
    """Paths of all files below `folder`, each as it would be on a machine, with its mode."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(path, name)
            found[full[len(folder):]] = stat.S_IMODE(os.stat(full).st_mode)
    return found


class InstallTest(unittest.TestCase):
    def setUp(self):
        self.folder = scratch.new_folder()
        self.addCleanup(shutil.rmtree, self.folder)

    def install(self, *variables):
        scratch.install(f"DESTDIR={self.folder}", *variables)
        return installed(self.folder)

    def read(self, path):
        with open(self.folder + path, encoding="utf-8") as file:
            return file.read()

    def test_programs_units_and_settings_go_where_the_fhs_has_them(self):
        found = self.install("PREFIX=/usr")
        for path, mode in {
                "/usr/sbin/viommud": 0o755,
                "/usr/bin/viommuctl": 0o755,
                "/usr/lib/systemd/system/viommud.service": 0o644,
                "/usr/lib/sysusers.d/viommu.conf": 0o644,
                "/usr/lib/tmpfiles.d/viommu.conf": 0o644,
                "/etc/viommu/viommud.textproto": 0o644,
                "/usr/share/viommu/monitoring/alerts.yaml": 0o644,
                "/usr/share/viommu/monitoring/dashboard.json": 0o644,
                "/usr/share/viommu/monitoring/prometheus-kubernetes.yaml": 0o644,
                "/usr/share/viommu/monitoring/prometheus.yaml": 0o644,
                "/usr/share/viommu/topologies/default.textproto": 0o644,
                "/usr/share/man/man8/viommud.8": 0o644,
                "/usr/share/doc/viommu/README.md": 0o644,
        }.items():
            self.assertEqual(mode, found.get(path), path)
        self.assertEqual(set(), {path for path in found if not re.match("/usr/|/etc/viommu/", path)})

    def test_without_a_prefix_everything_but_settings_is_local(self):
        found = self.install()
        self.assertIn("/usr/local/sbin/viommud", found)
        self.assertEqual(["/etc/viommu/viommud.textproto"],
                         [path for path in found if not path.startswith("/usr/local/")])

    def test_units_and_settings_name_the_prefix(self):
        for prefix in ("/usr", "/usr/local", "/opt/viommu"):
            self.install(f"PREFIX={prefix}")
            unit = self.read(f"{prefix}/lib/systemd/system/viommud.service")
            self.assertIn(f"\nExecStart={prefix}/sbin/viommud --config=/etc/viommu/", unit)
            self.assertNotRegex(unit.replace(prefix + "/", "/"), "/usr/")

    def test_settings_that_are_there_are_kept(self):
        self.install()
        with open(self.folder + "/etc/viommu/viommud.textproto", "w", encoding="utf-8") as file:
            file.write("max_calls: 7\n")
        self.install()
        self.assertEqual("max_calls: 7\n", self.read("/etc/viommu/viommud.textproto"))

    def test_only_what_is_asked_for_is_installed(self):
        self.assertEqual({"/usr/bin/viommuctl": 0o755}, self.install("PREFIX=/usr", "ONLY=ctl$"))

    def test_programs_run_from_where_they_are_installed(self):
        self.install("PREFIX=/usr")
        done = scratch.run(self.folder + "/usr/sbin/viommud", "--version")
        self.assertRegex(done.stdout, r"^viommud \d+\.\d+\.\d+\n$")

    def test_every_topology_is_installed(self):
        source = os.path.join(scratch.DEPLOY, "topologies")
        self.assertEqual({name for name in os.listdir(source) if name.endswith(".textproto")},
                         {os.path.basename(path) for path in self.install() if "/topologies/" in path})

    def test_what_is_not_understood_is_refused(self):
        for variable in ("DESTDIR=relative", "PREFIX=relative", "PREFIX=", "BINDIR=/bin", "now"):
            refused = scratch.install(f"DESTDIR={self.folder}", variable, check=False)
            self.assertEqual((2, ""), (refused.returncode, refused.stdout), variable)
            self.assertIn("deploy/install: ", refused.stderr)
        self.assertEqual({}, installed(self.folder))

    def test_a_program_that_is_not_built_is_named(self):
        empty = scratch.new_folder()
        self.addCleanup(os.rmdir, empty)
        refused = scratch.run(os.path.join(scratch.DEPLOY, "install"), empty,
                              f"DESTDIR={self.folder}", check=False)
        self.assertEqual(2, refused.returncode)
        self.assertIn("server/viommud is not there", refused.stderr)


if __name__ == "__main__":
    case_report.main()
