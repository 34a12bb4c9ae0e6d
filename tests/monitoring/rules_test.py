"""The alerts' rules: promtool's word on them, and that none lacks a test or a page of the runbook."""
import os
import re
import shutil
import unittest

from tests.e2e import daemon
from tests.monitoring import device_plugin
from tests.monitoring import prometheus
from tests.monitoring import watched
from tools import case_report

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
_ALERT = re.compile(r"^ +- alert: (\w+)$", re.M)
_RUNBOOK_URL = re.compile(r"^ +runbook_url: (\S+)$", re.M)
_SEVERITY = re.compile(r"^ +severity: (critical|warning)$", re.M)
_SUMMARY = re.compile(r"^ +summary: '.+'$", re.M)
# Of alerts_test.yaml, an alert and whether it fires.
_EXPECTATION = re.compile(r"^ +- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:( \[\])?$", re.M)
_JOB = re.compile(r"job_name: (\S+)\n +static_configs:\n +- targets: \['(\S+)'\]$", re.M)
_METRICS_ADDRESS = re.compile(r"--metrics_address HOST:PORT [^[]*\[(\S+)\]")
_DESCRIPTION = re.compile(r"^ +description: >-\n((?: {12}\S.*\n)+)", re.M)
_USERS = re.compile(r"\*\*Users\.\*\* (.*?)\n\n", re.S)
_CASE = re.compile(r"^(?=  - name: )", re.M)
_SECTION = re.compile(r"^## (Viommu\w+)\n(.*?)(?=^## |\Z)", re.M | re.S)
_PARTS = ("**Meaning.**", "**Users.**", "**Look.**", "**Do.**")


def alerts():
    """{name: its text}, in the order of the file."""
    parts = _ALERT.split(watched.text("alerts.yaml"))
    return dict(zip(parts[1::2], parts[2::2]))


def runbook():
    """{name of an alert: its section}."""
    with open(os.path.join(_ROOT, "docs", "RUNBOOK.md"), encoding="utf-8") as file:
        return dict(_SECTION.findall(file.read()))


class RulesTest(unittest.TestCase):
    def setUp(self):
        self.folder = daemon.new_folder()
        for name in ("alerts.yaml", "alerts_test.yaml", "prometheus.yaml"):
            shutil.copy(os.path.join(watched.FILES, name), self.folder)

    def test_promtool_accepts_them(self):
        self.assertIn("SUCCESS",
                      prometheus.promtool("check", "rules", "alerts.yaml", folder=self.folder))

    def test_promtool_accepts_the_configuration(self):
        self.assertIn("SUCCESS", prometheus.promtool("check", "config", "prometheus.yaml",
                                                     folder=self.folder))

    def test_the_targets_are_where_the_programs_serve_by_default(self):
        helps = {"viommud": daemon.run("--help").stdout,
                 "viommu-device-plugin": device_plugin.run("--help")}
        jobs = dict(_JOB.findall(watched.text("prometheus.yaml")))
        self.assertEqual(set(helps), set(jobs))
        for job, address in jobs.items():
            self.assertEqual([address], _METRICS_ADDRESS.findall(helps[job]), job)

    def test_they_fire_and_are_silent_as_their_tests_say(self):
        self.assertIn("SUCCESS", prometheus.promtool("test", "rules", "alerts_test.yaml",
                                                     folder=self.folder))

    def test_a_wrong_threshold_does_not_pass(self):
        rules = watched.text("alerts.yaml")
        for right, wrong in (("> 14.4 * 0.001", "> 5 * 0.001"), ("_limit > 0.8", "_limit > 0.95"),
                             ("expr: up{", "expr: 1 - up{")):
            self.assertIn(right, rules)
            rules = rules.replace(right, wrong)
        concerned = {"ViommuErrorBudgetBurnsFast", "ViommudDown", "ViommuCallsNearLimit",
                     "ViommuConnectionsNearLimit", "ViommuListenersNearLimit",
                     "ViommuTableMemoryNearLimit"}
        head, *cases = _CASE.split(watched.text("alerts_test.yaml"))
        cases = [case for case in cases if _EXPECTATION.search(case).group(1) in concerned]
        self._write("alerts.yaml", rules)
        self._write("alerts_test.yaml", "".join([head, *cases]))
        with self.assertRaisesRegex(AssertionError, "FAILED") as raised:
            prometheus.promtool("test", "rules", "alerts_test.yaml", folder=self.folder)
        self.assertEqual(concerned, set(re.findall(r"alertname: (\w+)", str(raised.exception))))

    def _write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def test_each_is_tested_firing_and_silent(self):
        expected = _EXPECTATION.findall(watched.text("alerts_test.yaml"))
        self.assertEqual(set(alerts()), {name for name, silent in expected if not silent})
        self.assertEqual(set(alerts()), {name for name, silent in expected if silent})

    def test_each_has_a_severity_a_summary_and_its_page(self):
        self.assertGreater(len(alerts()), 20)
        for name, text in alerts().items():
            with self.subTest(name):
                self.assertRegex(text, _SEVERITY)
                self.assertRegex(text, _SUMMARY)
                self.assertEqual([f"docs/RUNBOOK.md#{name.lower()}"], _RUNBOOK_URL.findall(text))

    def test_each_says_what_its_page_says_that_users_notice(self):
        for name, text in alerts().items():
            with self.subTest(name):
                (description,) = _DESCRIPTION.findall(text)
                self.assertEqual(_USERS.search(runbook()[name])[1].split(), description.split())


class RunbookTest(unittest.TestCase):
    def test_has_one_section_for_each_alert_in_their_order(self):
        self.assertEqual(list(alerts()), list(runbook()))

    def test_says_of_each_what_it_means_and_what_to_do(self):
        for name, text in runbook().items():
            with self.subTest(name):
                places = [text.find(part) for part in _PARTS]
                self.assertNotIn(-1, places, _PARTS)
                self.assertEqual(sorted(places), places)
                self.assertRegex(text, r"(?m)^\$ (viommuctl|grpcurl) ")


if __name__ == "__main__":
    case_report.main()
