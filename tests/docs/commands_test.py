"""Commands that documents show outside of sessions: each is run somewhere, and none is wrong.

Sessions (```console) are replayed by documents_test, and the examples of docs/VIOMMUCTL.md by
//tests/e2e:viommuctl_test. What is left stands in running text or in indented lines: mostly builds
and tests, which can not run inside of one. tools/document_table.py says where they are run; some
of that takes hours, so of all of them is checked here that what they name is there.
"""
import os
import re
import shlex
import subprocess
import unittest

from tests.deploy import kubectl_commands
from tests.deploy import machine_commands
from tests.docs import checkout
from tests.docs import console
from tests.e2e import daemon
from tests.monitoring import prometheus
from tools import case_report
from tools import document_table
from tools import documents

_PLUGIN = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "clients",
                       "device_plugin", "viommu-device-plugin")
_VIOMMUCTL = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "clients",
                          "viommuctl", "viommuctl")
_SECONDS = 60
_WRONG_USAGE = 2

# Command -> why nothing of it is checked here.
_EXCEPTIONS = {
    "journalctl -u viommud -o cat": "it names no file of ours",
    "kubectl apply -f vmm.yaml": "the document says what is in that file",
    "kubectl get node -o jsonpath='{.items[*].status.allocatable}'": "it names nothing of ours",
}

# What has to be noticed.
_WRONG = [
    "./dev nonsense", "./dev test //none/...", "./dev bench nothing_like_it",
    "./dev fuzz 10 nothing_like_it", "./dev sanitize msan", "bazel test //tests/e2e:none_test",
    "bazel build --config=none //server:viommud", "bazel-bin/server/none --help",
    "viommuctl nonsense vm0", "viommuctl map --nonsense", "viommuctl --nonsense",
    "viommud --nonsense", "none_benchmark --x", "promtool check nonsense", "python3 none.py",
    "sed s/a/b/ none", "kubectl get nodes", "kubectl apply -k none", "systemctl start none.service",
    "apt install ./none_0.1.0_amd64.deb",
    "systemd-tmpfiles --create none.conf", "viommu-device-plugin --nonsense",
    "export NONSENSE=1", "source <(viommuctl nonsense bash)",
]
# A line that stands alone and shows what a command prints.
_INDENTED_SESSION = re.compile(r"(?:^    .*\n)*^    \$ .*\n(?:^    .*\n)*", re.M)
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+|\.\.\.")
_LABEL = re.compile(r"//([\w/]*?)(?::(\w+)|(/?\.\.\.))?$")


def shown():
    return documents.shown(checkout.ROOT)


def label_exists(label):
    folder, name, everything = _LABEL.match(label).groups()
    path = os.path.join(folder, "BUILD.bazel")
    if everything:
        return os.path.isdir(os.path.join(checkout.ROOT, folder))
    if not checkout.exists(path):
        return False
    name = name or os.path.basename(folder)
    text = checkout.text(path)
    made = re.findall(r'cc_fuzz_target\(\n    name = "(\w+)"', text)  # And its replay.
    return f'name = "{name}"' in text or name in [target + "_test" for target in made]


def targets(ending):
    """Names of all targets that end so."""
    return [name for path in checkout.build_files()
            for name in re.findall(rf'name = "(\w+{ending})"', checkout.text(path))]


class CommandsTest(unittest.TestCase):
    def test_what_each_names_is_there(self):
        commands = shown()
        self.assertGreater(len(commands), 25)
        for path, command in commands:
            if command not in _EXCEPTIONS:
                with self.subTest(document=path, command=command):
                    self._check(command)

    def test_each_is_run_in_one_place(self):
        rows = document_table.rows()
        for path, command in shown():
            with self.subTest(document=path, command=command):
                self.assertEqual(1, rows.count(command), "where is it run (document_table)?")

    def test_no_row_is_left_over(self):
        self.assertEqual(set(), set(document_table.rows()) - {command for _, command in shown()})

    def test_what_is_run_elsewhere_is_run_by_a_test_that_is_there(self):
        for label in set(document_table.ELSEWHERE.values()):
            self.assertTrue(label_exists(label), label)

    def test_tests_with_a_host_or_a_cluster_run_what_the_table_says(self):
        for label, run in (("//tests/deploy:machine_test", machine_commands.RUN),
                           ("//tests/deploy:kubectl_test", kubectl_commands.RUN)):
            rows = {command for command, where in document_table.ELSEWHERE.items() if where == label}
            self.assertLess(set(), rows)
            self.assertLessEqual(rows, set(run))
            self.assertLessEqual(set(run), set(document_table.ELSEWHERE))

    def test_names_are_those_that_can_not_be_run_alone(self):
        for name in document_table.NAMES:
            program, _, words = name.partition(" ")
            start = {"viommuctl": [_VIOMMUCTL], "./dev": ["bash", "dev"]}[program]
            with self.subTest(name):
                self.assertEqual(_WRONG_USAGE, self._run([*start, *words.split()]).returncode)

    def test_every_document_with_a_session_is_replayed(self):
        with_sessions = [path for path in checkout.documents()
                         if documents.commands(checkout.text(path))]
        self.assertEqual(sorted(console.REPLAYED), with_sessions)

    def test_no_exception_is_left_over(self):
        self.assertLessEqual(set(_EXCEPTIONS), {command for _, command in shown()})

    def test_lines_with_output_are_those_of_a_session(self):
        """Outside of its fences a document shows no output that nobody has compared."""
        replayed = checkout.text("docs/TOUR.md")
        for path in checkout.documents():
            for block in _INDENTED_SESSION.findall(documents.without_sessions(checkout.text(path))):
                lines = "".join(line[4:] + "\n" for line in block.splitlines())
                self.assertIn(lines, replayed, path)

    def test_help_of_dev_names_what_it_can(self):
        named = re.findall(r"^  (\w+) ", self._run(["bash", "dev", "help"]).stdout, re.M)
        self.assertGreater(len(named), 10)
        text = checkout.text("dev")
        for command in set(named) - {"help"}:
            self.assertIn(f"\ncmd_{command}() {{", text)
        self.assertEqual(2, self._run(["bash", "dev", "nonsense"]).returncode)

    def test_what_is_not_there_is_found_out(self):
        for wrong in _WRONG:
            with self.subTest(wrong), self.assertRaises(AssertionError):
                self._check(wrong)

    def _check(self, command):
        words = shlex.split(command)
        program = re.sub(r"^\w+_benchmark$", "benchmark", words[0].partition("/")[0])
        self.assertIn(program, self._CHECKS, "how is it checked, or why not (_EXCEPTIONS)?")
        self._CHECKS[program](self, words)

    def _dev(self, words):
        usage = self._run(["bash", "dev", "help"]).stdout
        self.assertIn(words[1], re.findall(r"^  (\w+) ", usage, re.M))
        arguments = [word for word in words[2:] if not _PLACEHOLDER.fullmatch(word)]
        if words[1] == "sanitize":
            self.assertIn(arguments.pop(0), checkout.text("dev").partition("cmd_sanitize")[2]
                          .partition(") shift")[0].rpartition("in\n")[2].split())
        if words[1] in ("bench", "fuzz"):
            ending = "_benchmark" if words[1] == "bench" else "_fuzz"
            for filter_ in (word for word in arguments if not word.isdigit()):
                self.assertTrue([name for name in targets(ending) if filter_ in name], filter_)
        self._labels(arguments)

    def _bazel(self, words):
        self.assertIn(words[1], ("build", "run", "test"))
        self._labels(words)
        for config in (word.partition("=")[2] for word in words if word.startswith("--config=")):
            self.assertRegex(checkout.text(".bazelrc"), rf"(?m)^build:{config} ")

    def _labels(self, words):
        for label in (word for word in words if word.startswith("//")):
            self.assertTrue(label_exists(label), label)

    def _built(self, words):
        folder, name = os.path.split(words[0].partition("/")[2])
        self._labels([f"//{folder}:{name}"])

    def _viommuctl(self, words):
        named = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
        self.assertTrue(named)
        for length in range(len(named), 0, -1):
            helped = self._run([_VIOMMUCTL, "help", *named[:length]])
            if helped.returncode == 0:
                break
        self.assertEqual(0, helped.returncode, helped.stderr)
        self.assertIn(named[0], helped.stdout)
        for flag in (word for word in words if word.startswith("--")):
            self.assertIn(flag, helped.stdout)

    def _source(self, words):
        self._viommuctl([word.strip("<()") for word in words[1:]])

    def _export(self, words):
        self.assertIn(f"${words[1].partition('=')[0]},", self._run([_VIOMMUCTL, "help"]).stdout)

    def _viommud(self, words):
        known = daemon.run("--help").stdout
        for flag in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
            self.assertIn(flag + " ", known)

    def _device_plugin(self, words):
        known = self._run([_PLUGIN, "--help"]).stdout
        for flag in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
            self.assertIn(flag + " ", known + "--help ")

    def _unit(self, words):
        """Of systemd; what it says is checked by //tests/deploy:systemd_test."""
        for unit in (word for word in words if word.endswith(".service")):
            self._there([f"deploy/systemd/{unit}"])

    def _installed_as(self, words):
        """A file of deploy/layout.txt: systemd-sysusers, systemd-tmpfiles."""
        folder = words[0].partition("-")[2] + ".d"
        for name in (word for word in words if word.endswith(".conf")):
            self.assertRegex(checkout.text("deploy/layout.txt"), rf"(?m)/{folder}/{name}\b")

    def _apt(self, words):
        package = words[2].rpartition("/")[2].partition("_")[0]
        self.assertIn(f"\nPackage: {package}\n", "\n" + checkout.text("deploy/debian/control"))

    def _kubectl(self, words):
        self.assertEqual(["apply", "-k"], words[1:3])
        self._there([os.path.join(words[3], "kustomization.yaml")])

    def _promtool(self, words):
        """Unit tests of rules are run elsewhere, and would take their time here."""
        self._there(words[3:])
        words = words if words[1] == "check" else [*words[:3], "--help"]
        done = self._run([prometheus.program("promtool"), *words[1:]])
        self.assertEqual(0, done.returncode, done.stderr)

    def _there(self, paths):
        for path in paths:
            self.assertTrue(checkout.exists(path), path)

    def _benchmark(self, words):
        self.assertIn(words[0], targets("_benchmark"))

    def _python(self, words):
        self._there(words[1:])

    def _harmless(self, words):
        self.assertEqual(0, self._run(words).returncode)

    _CHECKS = {".": _dev, "bazel": _bazel, "bazel-bin": _built, "benchmark": _benchmark,
               "viommuctl": _viommuctl, "viommud": _viommud, "promtool": _promtool,
               "python3": _python, "sed": _harmless, "viommu-device-plugin": _device_plugin,
               "systemctl": _unit, "systemd-sysusers": _installed_as,
               "systemd-tmpfiles": _installed_as, "apt": _apt,
               "kubectl": _kubectl, "source": _source, "export": _export}

    def _run(self, words):
        return subprocess.run(words, cwd=checkout.ROOT, capture_output=True, text=True,
                              timeout=_SECONDS, check=False)


if __name__ == "__main__":
    case_report.main()
