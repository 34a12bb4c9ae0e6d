"""Runs a module's unittest cases and reports each to Bazel (XML_OUTPUT_FILE).

Bazel's own report of a Python test is a single case. A py_test ends with

    if __name__ == "__main__":
        case_report.main()
"""
import os
import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree


class _Result(unittest.TextTestResult):
    """Notes for each case how long it took and, unless it passed, what happened."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []  # (case, seconds, None | "failure" | "skipped", text)
        self._fault = None

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()
        self._fault = None

    def stopTest(self, test):
        super().stopTest(test)
        kind, text = self._fault or (None, "")
        self.cases.append((test.id(), time.monotonic() - self._started, kind, text))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fault = ("failure", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        text = self._exc_info_to_string(err, test)
        if isinstance(test, unittest.TestCase):
            self._fault = ("failure", text)
        else:  # setUpClass or the like: no case was started.
            self.cases.append((test.id(), 0.0, "failure", text))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            text = f"{subtest}\n{self._exc_info_to_string(err, test)}"
            self._fault = ("failure", (self._fault[1] + "\n" if self._fault else "") + text)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._fault = ("skipped", reason)
        if not isinstance(test, unittest.TestCase):  # A whole class.
            self.cases.append((test.id(), 0.0, *self._fault))


def write_xml(cases, path):
    suite = ElementTree.Element("testsuite", tests=str(len(cases)))
    for name, seconds, kind, text in cases:
        classname, _, method = name.rpartition(".")
        case = ElementTree.SubElement(suite, "testcase", classname=classname, name=method,
                                      time=f"{seconds:.3f}")
        if kind is not None:
            ElementTree.SubElement(case, kind, message=text.strip().rpartition("\n")[2]).text = text
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main():
    """Runs the cases of __main__, those that the command line names or all, and exits."""
    loader = unittest.defaultTestLoader
    names, module = sys.argv[1:], sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(resultclass=_Result, verbosity=2).run(suite)
    if "XML_OUTPUT_FILE" in os.environ:
        write_xml(result.cases, os.environ["XML_OUTPUT_FILE"])
    sys.exit(0 if result.wasSuccessful() and result.cases else 1)
