import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

from tools import case_report

_CASES = """
import unittest
from tools import case_report

class Whole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("no machine")
    def test_one(self):
        pass

class Part(unittest.TestCase):
    def test_works(self):
        pass
    def test_breaks(self):
        self.assertEqual(1, 2)
    def test_skips(self):
        self.skipTest("no device")

case_report.main()
"""


def report(*names):
    """The exit code of a run of these cases, and [(name, kind, message)]."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "test.xml")
        done = subprocess.run([sys.executable, "-c", _CASES, *names], check=False, text=True,
                              capture_output=True, env={**os.environ, "XML_OUTPUT_FILE": path})
        cases = ElementTree.parse(path).getroot().iter("testcase")
        return done.returncode, [
            (case.get("name"), *[(each.tag, each.get("message")) for each in case]) for case in cases]


class CaseReportTest(unittest.TestCase):
    def test_reports_what_became_of_each_case(self):
        code, cases = report("Part")
        self.assertEqual(1, code)
        self.assertEqual([("test_breaks", ("failure", "AssertionError: 1 != 2")),
                          ("test_skips", ("skipped", "no device")), ("test_works",)], cases)

    def test_reports_a_class_that_is_skipped_as_a_whole(self):
        code, cases = report("Whole")
        self.assertEqual(0, code)
        self.assertEqual([("Whole)", ("skipped", "no machine"))], cases)


if __name__ == "__main__":
    case_report.main()
