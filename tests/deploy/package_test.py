"""The Debian package: built twice, installed into a root file system of packages, run and removed."""
import glob
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


def field(deb, name):
    return scratch.run("dpkg-deb", "--field", deb, name).stdout.strip()


def content(path):
    with open(path, "rb") as file:
        return file.read()


DEB = None  # Built once, by setUpModule.


def setUpModule():
    global DEB
    DEB = build(scratch.ROOT)
    unittest.addModuleCleanup(shutil.rmtree, os.path.dirname(DEB))


class PackageTest(unittest.TestCase):
    def test_the_same_programs_make_the_same_bytes(self):
        copy = scratch.new_folder()
        self.addCleanup(shutil.rmtree, copy)
        for program in scratch.programs():
            os.makedirs(os.path.dirname(os.path.join(copy, program)))
            shutil.copy(os.path.join(scratch.ROOT, program), os.path.join(copy, program))
            os.utime(os.path.join(copy, program), (time.time(), time.time() - 86400))
        second = build(copy, umask=0o077)
        self.addCleanup(shutil.rmtree, os.path.dirname(second))
        self.assertEqual(os.path.basename(DEB), os.path.basename(second))
        self.assertEqual(content(DEB), content(second))

    def test_it_says_what_it_is(self):
        self.assertEqual("viommu", field(DEB, "Package"))
        done = scratch.run(os.path.join(scratch.ROOT, "server", "viommud"), "--version")
        self.assertEqual("viommud " + field(DEB, "Version"), done.stdout.strip())
        self.assertEqual(f"viommu_{field(DEB, 'Version')}_{field(DEB, 'Architecture')}.deb",
                         os.path.basename(DEB))
        self.assertGreater(int(field(DEB, "Installed-Size")), 1000)

    def test_it_depends_on_the_libraries_that_the_images_have(self):
        depends = re.findall(r"(?:^|, )([^ ,|]+)", field(DEB, "Depends"))
        self.assertIn("libgrpc++1.51", depends)
        self.assertEqual({"systemd"}, set(depends) - set(scratch.packages()))

    def test_files_have_the_time_of_the_sources_and_belong_to_root(self):
        listed = scratch.run("dpkg-deb", "--contents", DEB, env={**os.environ, "TZ": "UTC"})
        for line in listed.stdout.splitlines():
            self.assertRegex(line, r"^\S+ root/root +\d+ 2023-11-14 22:13 ")

    def test_it_has_what_debian_asks_for(self):
        folder = scratch.new_folder()
        self.addCleanup(shutil.rmtree, folder)
        scratch.run("dpkg-deb", "--raw-extract", DEB, folder)
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


def learn_packages(root, without=()):
    """Makes dpkg's database below `root`: the packages of the images are installed."""
    folder = os.path.join(root, "var", "lib", "dpkg")
    for name in ("info", "updates", "triggers"):
        os.makedirs(os.path.join(folder, name))
    with open(os.path.join(folder, "status"), "w", encoding="utf-8") as status:
        for deb in sorted(glob.glob(scratch.tool("debs") + "/*.deb")):
            text = scratch.run("dpkg-deb", "--field", deb).stdout
            fields = dict(re.findall(r"(?m)^([\w-]+): (.*)$", text))
            name, suffix = fields["Package"], ""
            if fields.get("Multi-Arch") == "same":
                suffix = ":" + fields["Architecture"]
            if name in without:
                continue
            status.write(text.rstrip("\n") + "\nStatus: install ok installed\n\n")
            with open(os.path.join(folder, "info", name + suffix + ".list"), "w",
                      encoding="utf-8") as listed:
                listed.write("/.\n")


def dpkg(root, *arguments, check=True):
    """dpkg on another root. It runs the maintainer's scripts from outside, with $DPKG_ROOT, as there
    is no shell inside."""
    return scratch.run(
        *scratch.AS_ROOT, "dpkg", f"--root={root}", "--force-script-chrootless", "--force-not-root",
        "--ignore-depends=systemd,systemd-standalone-sysusers", *arguments, check=check,
        env={**os.environ, "LC_ALL": "C"})


class InstallationTest(unittest.TestCase):
    def test_a_library_that_lacks_keeps_it_from_being_configured(self):
        root = scratch.new_folder()
        self.addCleanup(shutil.rmtree, root)
        learn_packages(root, without=["libgrpc++1.51"])
        refused = dpkg(root, "--install", DEB, check=False)
        self.assertNotEqual(0, refused.returncode)
        self.assertIn("depends on libgrpc++1.51", refused.stderr)

    def test_it_is_installed_run_upgraded_removed_and_purged(self):
        root = scratch.Scratch()
        self.addCleanup(root.close)
        learn_packages(root.path)
        dpkg(root.path, "--install", DEB)
        self.assertIn("ok installed", dpkg(root.path, "--status", "viommu").stdout)
        self.assertRegex(root.read("etc/passwd"), r"(?m)^viommu:")
        wanted = root.find("etc/systemd/system/multi-user.target.wants/viommud.service")
        self.assertTrue(os.path.islink(wanted))
        self.run_what_is_installed(root)

        settings = root.find("etc/viommu/viommud.textproto")
        with open(settings, "a", encoding="utf-8") as file:
            file.write("max_calls: 7\n")
        dpkg(root.path, "--install", DEB)
        self.assertIn("max_calls: 7", root.read("etc/viommu/viommud.textproto"))

        dpkg(root.path, "--remove", "viommu")
        self.assertFalse(os.path.exists(root.find("usr/sbin/viommud")))
        self.assertTrue(os.path.exists(settings))
        dpkg(root.path, "--purge", "viommu")
        self.assertEqual([], [os.path.join(path, name) for path, _, names in os.walk(root.path)
                              for name in names if "viommu" in path + name])
        self.assertFalse(os.path.lexists(wanted))

    def run_what_is_installed(self, root):
        """As the unit does, with ports that are surely free on the machine that tests."""
        unit = root.read("usr/lib/systemd/system/viommud.service")
        command = re.search("^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
        ports = ["--metrics_address=127.0.0.1:0", "--health_address=127.0.0.1:0"]
        with scratch.Served(root, *command, *ports) as served:
            self.assertEqual("SERVING", served.health())
            self.assertEqual("/run/viommu/viommud.sock", served.endpoints["unix_socket"])
            shown = root.run("/usr/bin/viommuctl", "--target", "/run/viommu/viommud.sock", "health")
            self.assertRegex(shown.stdout, r"(?m)^\(all\) +serving$")


if __name__ == "__main__":
    case_report.main()
