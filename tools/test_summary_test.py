import json
import os
import tempfile
import unittest

from tools import case_report
from tools import test_summary

PASSED = '<testcase classname="A" name="Works"/>'
FAILED = '<testcase classname="A" name="Breaks"><failure message="no"/></testcase>'
DISABLED = '<testcase classname="A" name="DISABLED_B" status="notrun"/>'
SKIPPED = '<testcase classname="A" name="Skips"><skipped/></testcase>'


class TestSummaryTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="with space ")
        self.addCleanup(self.folder.cleanup)

    def xml(self, name, body):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(body)
        return "file://" + path.replace(" ", "%20")

    def count(self, *events):
        path = os.path.join(self.folder.name, "events.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(json.dumps(event) for event in events))
        return test_summary.count(*test_summary.read_events(path))

    def result(self, label, status, body, **ident):
        outputs = [{"name": "test.log", "uri": "file:///nowhere"}]
        if body is not None:
            outputs.append({"name": "test.xml", "uri": self.xml(f"{len(os.listdir(self.folder.name))}.xml", body)})
        return {"id": {"testResult": {"label": label, **ident}},
                "testResult": {"status": status, "testActionOutput": outputs}}

    def test_counts_cases_not_targets(self):
        body = f"<testsuites><testsuite>{PASSED}{PASSED}{FAILED}{DISABLED}{SKIPPED}</testsuite></testsuites>"
        counts = self.count(self.result("//a", "FAILED", body))
        self.assertEqual((counts.passed, len(counts.skipped)), (2, 2))
        self.assertEqual(counts.failures, ["//a A.Breaks"])

    def test_says_why_a_case_was_skipped(self):
        place = '<skipped message="a_test.cc:7&#x0A;names no file"/>'
        body = f"<testsuite>{DISABLED}{SKIPPED}{SKIPPED.replace('<skipped/>', place)}</testsuite>"
        self.assertEqual(["//a A.DISABLED_B", "//a A.Skips", "//a A.Skips: names no file"],
                         self.count(self.result("//a", "PASSED", body)).skipped)

    def test_counts_a_target_that_names_no_failed_case_as_one_failure(self):
        for status, body in (("TIMEOUT", None), ("FAILED", "<testsuite><testca"),
                             ("FAILED", f"<testsuite>{PASSED}</testsuite>"), ("NO_STATUS", None)):
            with self.subTest(status=status, body=body):
                counts = self.count(self.result("//a", status, body))
                self.assertEqual(counts.failures, [f"//a ({status.lower()})"])

    def test_counts_what_was_not_built_or_not_run(self):
        counts = self.count(
            {"id": {"targetCompleted": {"label": "//b"}}, "aborted": {"reason": "ANALYSIS_FAILURE"}},
            {"id": {"targetCompleted": {"label": "//c"}}, "completed": {}},
            {"id": {"targetCompleted": {"label": "//d"}}, "completed": {"success": True}},
            {"id": {"testSummary": {"label": "//e"}}, "testSummary": {"overallStatus": "NO_STATUS"}})
        self.assertEqual(counts.failures, ["//b (not built)", "//c (not built)", "//e (not run)"])

    def test_counts_every_shard_but_only_the_last_attempt(self):
        one = f"<testsuite>{PASSED}</testsuite>"
        counts = self.count(
            self.result("//a", "FAILED", f"<testsuite>{FAILED}</testsuite>", shard=1, attempt=1),
            self.result("//a", "PASSED", one, shard=1, attempt=2),
            self.result("//a", "PASSED", one, shard=2, attempt=1))
        self.assertEqual((counts.passed, counts.failures), (2, []))

    def test_counts_what_was_run_outside_of_bazel(self):
        uri = self.xml("also.xml", f"<testsuite>{PASSED}{FAILED}</testsuite>")
        path = uri.removeprefix("file://").replace("%20", " ")
        counts = test_summary.count(test_summary.outside(path), {})
        self.assertEqual((counts.passed, counts.failures), (1, ["documents A.Breaks"]))

    def test_counts_no_report_from_outside_as_one_failure(self):
        for body in (None, "<testsuite><testca", "<testsuite/>"):
            path = os.path.join(self.folder.name, "none.xml")
            if body is not None:
                self.xml("none.xml", body)
            counts = test_summary.count(test_summary.outside(path), {})
            self.assertEqual((counts.passed, counts.failures), (0, ["documents (failed)"]))


if __name__ == "__main__":
    case_report.main()
