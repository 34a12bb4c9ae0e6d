"""The commands of docs/DEPLOYMENT.md: what they name exists, also where they can not be run.

machine_test runs those for a host."""
import os
import re
import shlex
import unittest

from tests.deploy import scratch
from tools import case_report


def document():
    with open(os.path.join(scratch.ROOT, "docs", "DEPLOYMENT.md"), encoding="utf-8") as file:
        return file.read()


def commands():
    blocks = re.findall(r"^```sh\n(.*?)^```$", document(), re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def layout():
    with open(os.path.join(scratch.DEPLOY, "layout.txt"), encoding="utf-8") as file:
        return [line.split()[2] for line in file if line.strip() and not line.startswith("#")]


def version():
    return scratch.run(os.path.join(scratch.ROOT, "server", "viommud"), "--version").stdout.split()[1]


class DocumentTest(unittest.TestCase):
    def check_dev(self, command, *variables):
        usage = scratch.run(os.path.join(scratch.ROOT, "dev"), "help").stdout
        self.assertRegex(usage, rf"(?m)^  {command} ")
        for variable in variables:
            self.assertIn(variable.split("=")[0] + "=", usage)

    def check_systemd(self, *arguments):
        name = arguments[-1]
        self.assertIn(name, {os.path.basename(path) for path in layout()})

    def check_apt(self, command, package):
        if command == "install":
            self.assertEqual(f"./.packages/viommu_{version()}_amd64.deb", package)
        else:
            self.assertIn(command, ("remove", "purge"))
            self.assertEqual("viommu", package)

    def check_export(self, assignment):
        name, _, value = assignment.partition("=")
        self.assertEqual("VIOMMU_TARGET", name)
        with open(os.path.join(scratch.DEPLOY, "systemd", "viommud.textproto"),
                  encoding="utf-8") as file:
            self.assertIn(f'\nunix_socket: "{value}"\n', file.read())

    def check_viommuctl(self, *arguments):
        done = scratch.run(os.path.join(scratch.ROOT, "clients", "viommuctl", "viommuctl"), "help",
                           *arguments)
        self.assertTrue(done.stdout)

    def check_kubectl(self, *arguments):
        *words, folder = arguments
        self.assertEqual(["apply", "-k"], words)
        path = os.path.join(scratch.ROOT, folder, "kustomization.yaml")
        self.assertTrue(os.path.exists(path), path)

    def test_every_command_names_what_there_is(self):
        checks = {"./dev": self.check_dev, "systemd-sysusers": self.check_systemd,
                  "systemd-tmpfiles": self.check_systemd, "systemctl": self.check_systemd,
                  "apt": self.check_apt, "export": self.check_export,
                  "kubectl": self.check_kubectl, "viommuctl": self.check_viommuctl}
        found = commands()
        self.assertEqual(set(checks), {command[0] for command in found})
        for program, *arguments in found:
            with self.subTest(command=" ".join([program, *arguments])):
                checks[program](*arguments)

    def test_images_are_named_as_recipe_and_manifests_have_them(self):
        with open(os.path.join(scratch.DEPLOY, "container", "Containerfile"),
                  encoding="utf-8") as file:
            stages = re.findall(r"(?m)^FROM \S+ AS (\S+)$", file.read())
        with open(os.path.join(scratch.DEPLOY, "kubernetes", "base", "kustomization.yaml"),
                  encoding="utf-8") as file:
            expected = {f"{name}:{tag}" for name, tag in
                        re.findall(r"- name: (\S+)\n    newTag: (\S+)", file.read())}
        shown = dict(re.findall(r"(?m)^\| `(\S+)` \| `(\S+:\S+)` \|$", document()))
        self.assertLessEqual(set(shown), set(stages))
        self.assertEqual(expected, set(shown.values()))
        self.assertEqual({target: f"{target}:{version()}" for target in shown}, shown)


if __name__ == "__main__":
    case_report.main()
