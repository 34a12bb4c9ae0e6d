"""The Debian package: built twice, installed into a root file system of packages, run and removed."""
import gzip
import os
import re
import shutil
import time
import unittest

from tests.deploy import scratch
from tools import case_report

EPOCH = "1700000000"


def build(bin_dir, umask=0o022):
    """The package that deploy/debian/build makes, in a folder of its own."""
    folder = scratch.new_folder()
    script = os.path.join(scratch.DEPLOY, "debian", "build")
    before = os.umask(umask)
    try:
        done = scratch.run(script, bin_dir, folder, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    finally:
        os.umask(before)
    return done.stdout.strip()


def content(path):
    with open(path, "rb") as file:
        return file.read()


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deb = build(scratch.ROOT)
        cls.addClassCleanup(shutil.rmtree, os.path.dirname(cls.deb))

    def setUp(self):
        self.root = scratch.Scratch()
        self.addCleanup(self.root.close)

    def field(self, name):
        return scratch.run("dpkg-deb", "--field", self.deb, name).stdout.strip()

    def dpkg(self, *arguments, check=True):
        """dpkg on the scratch root, which knows the packages that it is made of. It runs the
        maintainer's scripts from outside, with $DPKG_ROOT, as there is no shell inside."""
        return scratch.run(
            "dpkg", f"--root={self.root.path}", "--force-script-chrootless", "--force-not-root",
            "--ignore-depends=systemd,systemd-standalone-sysusers", *arguments, check=check,
            env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})

    def learn_packages(self):
        folder = self.root.find("var/lib/dpkg")
        for name in ("info", "updates", "triggers", "alternatives"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, "status"), "w", encoding="utf-8") as status:
            for name in scratch.packages():
                text = self.root.read("var/lib/dpkg/status.d", name)
                status.write(text.rstrip("\n") + "\nStatus: install ok installed\n\n")
        for name in scratch.packages():
            multi_arch = "Multi-Arch: same" in self.root.read("var/lib/dpkg/status.d", name)
            suffix = f":{self.field('Architecture')}" if multi_arch else ""
            with open(os.path.join(folder, "info", f"{name}{suffix}.list"), "w",
                      encoding="utf-8") as listed:
                listed.write("/.\n")

    def test_the_same_programs_make_the_same_bytes(self):
        copy = scratch.new_folder()
        self.addCleanup(shutil.rmtree, copy)
        for program in ("server/viommud", "clients/viommuctl/viommuctl"):
            os.makedirs(os.path.dirname(os.path.join(copy, program)))
            shutil.copy(os.path.join(scratch.ROOT, program), os.path.join(copy, program))
            os.utime(os.path.join(copy, program), (time.time(), time.time() - 86400))
        second = build(copy, umask=0o077)
        self.addCleanup(shutil.rmtree, os.path.dirname(second))
        self.assertEqual(os.path.basename(self.deb), os.path.basename(second))
        self.assertEqual(content(self.deb), content(second))

    def test_it_says_what_it_is(self):
        self.assertEqual("viommu", self.field("Package"))
        done = scratch.run(os.path.join(scratch.ROOT, "server", "viommud"), "--version")
        self.assertEqual("viommud " + self.field("Version"), done.stdout.strip())
        self.assertEqual(f"viommu_{self.field('Version')}_{self.field('Architecture')}.deb",
                         os.path.basename(self.deb))
        self.assertGreater(int(self.field("Installed-Size")), 1000)

    def test_it_depends_on_the_libraries_that_the_images_have(self):
        depends = re.findall(r"(?:^|, )([^ ,|]+)", self.field("Depends"))
        self.assertIn("libgrpc++1.51", depends)
        self.assertEqual({"systemd"}, set(depends) - set(scratch.packages()))

    def test_files_have_the_time_of_the_sources_and_belong_to_root(self):
        listed = scratch.run("dpkg-deb", "--contents", self.deb, env={**os.environ, "TZ": "UTC"})
        for line in listed.stdout.splitlines():
            self.assertRegex(line, r"^\S+ root/root +\d+ 2023-11-14 22:13 ")

    def test_it_has_what_debian_asks_for(self):
        folder = scratch.new_folder()
        self.addCleanup(shutil.rmtree, folder)
        scratch.run("dpkg-deb", "--raw-extract", self.deb, folder)
        for path in ("copyright", "changelog.gz"):
            self.assertTrue(os.path.exists(f"{folder}/usr/share/doc/viommu/{path}"), path)
        for path in ("man8/viommud.8.gz", "man1/viommuctl.1.gz"):
            with gzip.open(f"{folder}/usr/share/man/{path}", "rt") as page:
                self.assertTrue(page.readline().startswith(".TH "), path)
        scratch.run("md5sum", "--check", "--quiet", "DEBIAN/md5sums", cwd=folder)
        with open(f"{folder}/DEBIAN/md5sums", encoding="utf-8") as sums:
            summed = {line.split(None, 1)[1].strip() for line in sums}
        files = {os.path.relpath(os.path.join(path, name), folder)
                 for path, _, names in os.walk(folder) for name in names}
        self.assertEqual({path for path in files if not path.startswith("DEBIAN/")}, summed)

    def test_a_library_that_lacks_keeps_it_from_being_configured(self):
        self.learn_packages()
        status = self.root.find("var/lib/dpkg/status")
        text = content(status).decode()
        with open(status, "w", encoding="utf-8") as file:
            file.write(re.sub(r"(?s)Package: libgrpc\+\+1\.51\n.*?\n\n", "", text))
        refused = self.dpkg("--install", self.deb, check=False)
        self.assertNotEqual(0, refused.returncode)
        self.assertIn("depends on libgrpc++1.51", refused.stderr)

    def test_it_is_installed_run_upgraded_removed_and_purged(self):
        self.learn_packages()
        self.dpkg("--install", self.deb)
        self.assertIn("ok installed", self.dpkg("--status", "viommu").stdout)
        self.assertRegex(self.root.read("etc/passwd"), r"(?m)^viommu:")
        wanted = "etc/systemd/system/multi-user.target.wants/viommud.service"
        self.assertTrue(os.path.islink(self.root.find(wanted)))
        self.run_what_is_installed()

        settings = self.root.find("etc/viommu/viommud.textproto")
        with open(settings, "a", encoding="utf-8") as file:
            file.write("max_calls: 7\n")
        self.dpkg("--install", self.deb)
        self.assertIn("max_calls: 7", self.root.read("etc/viommu/viommud.textproto"))

        self.dpkg("--remove", "viommu")
        self.assertFalse(os.path.exists(self.root.find("usr/sbin/viommud")))
        self.assertTrue(os.path.exists(settings))
        self.dpkg("--purge", "viommu")
        left = [path for path, _, names in os.walk(self.root.path) for name in names
                if "viommu" in path + name]
        self.assertEqual([], left)
        self.assertFalse(os.path.lexists(self.root.find(wanted)))

    def run_what_is_installed(self):
        unit = self.root.read("usr/lib/systemd/system/viommud.service")
        command = re.search("^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
        # The port of metrics may be taken on the machine that tests.
        flags = ["--metrics_address=127.0.0.1:0", "--health_address=127.0.0.1:0"]
        with scratch.Served(self.root, *command, *flags) as served:
            self.assertEqual("SERVING", served.health())
            self.assertEqual("/run/viommu/viommud.sock", served.endpoints["unix_socket"])
            shown = self.root.run("/usr/bin/viommuctl", "--target", "/run/viommu/viommud.sock",
                                  "health")
            self.assertIn("SERVING", shown.stdout)


if __name__ == "__main__":
    case_report.main()
