"""The container recipe without a container engine: the root file system that it makes, and in it the
programs that it starts."""
import glob
import json
import os
import re
import stat
import unittest

from tests.deploy import scratch
from tools import case_report

NOBODY_S_BUSINESS = 65532
MOST_MEBIBYTES = 40  # Beside our programs.


def instructions():
    """The Containerfile's, as (word, rest), without comments and line ends that are escaped."""
    with open(os.path.join(scratch.DEPLOY, "container", "Containerfile"), encoding="utf-8") as file:
        text = re.sub(r"^#.*\n", "", file.read(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages():
    """Name -> (what it begins with, its instructions)."""
    found = {}
    for word, rest in instructions():
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = (base, [])
        else:
            found[name][1].append((word, rest))
    return found


def final_stages():
    """Those that nothing else is made of."""
    all_stages = stages()
    used = {base for base, _ in all_stages.values()}
    used |= set(re.findall(r"--from=(\S+)", " ".join(rest for _, rest in instructions())))
    return {name: stage for name, stage in all_stages.items() if name not in used}


def last(stage, word):
    """The last such instruction of a stage or of those that it is made of."""
    base, own = stage
    found = [rest for each, rest in own if each == word]
    return found[-1] if found else last(stages()[base], word)


def needed_libraries(path):
    done = scratch.run("readelf", "--dynamic", "--wide", path, check=False)
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", done.stdout))


class RecipeTest(unittest.TestCase):
    def test_each_final_stage_is_a_program_of_the_installation(self):
        self.assertTrue(final_stages())
        for name, stage in final_stages().items():
            program = json.loads(last(stage, "ENTRYPOINT"))[0]
            self.assertEqual(name, os.path.basename(program))
            self.assertIn(program, scratch.programs().values())

    def test_programs_do_not_run_as_root_unless_told_to(self):
        for name, stage in final_stages().items():
            self.assertEqual(f"{NOBODY_S_BUSINESS}:{NOBODY_S_BUSINESS}", last(stage, "USER"), name)

    def test_only_debian_is_built_upon(self):
        outside = {base for base, _ in stages().values()} - set(stages())
        self.assertEqual({"debian:12-slim", "scratch"}, outside)

    def test_what_it_runs_and_copies_is_there(self):
        runs = " ".join(rest for word, rest in instructions() if word == "RUN")
        for script in ("deploy/container/fetch", "deploy/container/rootfs", "deploy/install"):
            self.assertIn(script + " ", runs)
            self.assertTrue(os.access(os.path.join(scratch.ROOT, script), os.X_OK), script)

    def test_it_builds_whatever_is_installed_from_there(self):
        runs = " ".join(rest for word, rest in instructions() if word == "RUN")
        built = set(re.findall(r"(//\S+)", re.search(r"bazel build ([^&]*)", runs)[1]))
        labels = {f"//{package}" if package.endswith("/" + name) else f"//{package}:{name}"
                  for package, _, name in (path.rpartition("/") for path in scratch.programs())}
        self.assertEqual(labels, built)


def install_stage(image, name):
    """What the recipe copies into a final stage."""
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")
    only = re.search(rf"DESTDIR=/out/{re.escape(name)} ONLY='([^']*)'", runs)[1]
    scratch.install(f"DESTDIR={image.path}", "PREFIX=/usr", f"ONLY={only}")


class ImageTest(unittest.TestCase):
    """All final stages in one: they have everything but their program in common."""

    @classmethod
    def setUpClass(cls):
        cls.image = scratch.Scratch()
        cls.addClassCleanup(cls.image.close)
        for name in final_stages():
            install_stage(cls.image, name)

    def files(self):
        for folder, _, names in os.walk(self.image.path):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    yield path

    def programs(self):
        return [os.path.join(folder, name) for folder in ("usr/bin", "usr/sbin")
                for name in os.listdir(self.image.find(folder))]

    def libraries(self):
        """Names by which each package's libraries are found -> that package."""
        found = {}
        for deb in sorted(glob.glob(scratch.tool("debs") + "/*.deb")):
            listed = scratch.run("dpkg-deb", "--contents", deb).stdout
            for name in re.findall(r"/([^/ ]+\.so[^/ ]*)(?: -> .*)?$", listed, re.MULTILINE):
                found[name] = os.path.basename(deb).split("_")[0]
        return found

    def test_the_packages_are_those_that_the_programs_need(self):
        libraries = self.libraries()
        waiting = [self.image.find(program) for program in self.programs()]
        used, seen = set(), set()
        while waiting:
            for name in needed_libraries(waiting.pop()) - seen:
                seen.add(name)
                self.assertIn(name, libraries)
                used.add(libraries[name])
                waiting += glob.glob(self.image.find("usr/lib", "*", name))
        documents = {name: os.path.realpath(self.image.find("usr/share/doc", name)) for name in used}
        used |= {os.path.basename(path) for path in documents.values()}
        self.assertEqual(set(scratch.packages()), used)

    def test_scanners_find_what_it_consists_of(self):
        status = self.image.find("var/lib/dpkg/status.d")
        self.assertEqual(set(scratch.packages()), set(os.listdir(status)))
        for name in os.listdir(status):
            self.assertRegex(self.image.read("var/lib/dpkg/status.d", name),
                             f"(?m)^Package: {re.escape(name)}$")
            self.assertTrue(self.image.read("usr/share/doc", name, "copyright"), name)

    def test_it_is_small_and_has_nothing_to_run_but_ours(self):
        # The programs here are not optimised, as those of an image are.
        ours = [self.image.find(path) for path in self.programs()]
        size = sum(os.path.getsize(path) for path in self.files() if path not in ours)
        self.assertLess(size, MOST_MEBIBYTES << 20)
        self.assertLessEqual({"/" + program for program in self.programs()},
                             set(scratch.programs().values()))
        privileged = [path for path in self.files()
                      if os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)]
        self.assertEqual([], privileged)

    def test_every_program_says_its_version(self):
        for name, stage in final_stages().items():
            program = json.loads(last(stage, "ENTRYPOINT"))[0]
            self.assertRegex(self.image.run(program, "--version").stdout, rf"^{name} \d+\.\d+\.\d+$")

    def test_viommud_serves_as_the_recipe_starts_it(self):
        stage = stages()["viommud"]
        entry_point = json.loads(last(stage, "ENTRYPOINT"))
        # The same addresses, but for ports that are surely free here.
        flags = [re.sub(r"0\.0\.0\.0:\d+$", "127.0.0.1:0", flag)
                 for flag in json.loads(last(stage, "CMD"))]
        target = re.search(r"VIOMMU_TARGET=(\S+)", last(stage, "ENV"))[1]
        user = last(stage, "USER")
        with scratch.Served(self.image, *entry_point, *flags, user=user) as served:
            if os.geteuid() == 0:
                self.assertEqual(NOBODY_S_BUSINESS, served.owner())
            self.assertEqual("SERVING", served.health())
            self.assertEqual("SERVING", served.health("viommu.v1.IoasService"))
            self.assertEqual(target, served.endpoints["unix_socket"])
            shown = self.image.run("/usr/bin/viommuctl", "--target", target, "health", user=user)
            self.assertRegex(shown.stdout, r"(?m)^\(all\) +serving$")


if __name__ == "__main__":
    case_report.main()
