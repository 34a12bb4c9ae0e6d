"""What docs/OPERATIONS.md says of flags, metrics and the log is what viommud has.

Flags and metrics are written by viommud itself: bazel run //tests/docs:operations_test -- write
"""
import os
import re
import sys
import unittest

from tests.docs import checkout
from tests.e2e import daemon
from tests.monitoring import families
from tools import case_report

_DOCUMENT = "docs/OPERATIONS.md"
_GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->\n)", re.S)
_FEW_VALUES = 6
_OF_THE_HOST = {"boot_id", "iommu", "version"}
_EVENT_WRITTEN = re.compile(r'\bWrite\(\s*LogLevel::k\w+,\s*"(\w+)"')
_EVENT_TOLD = re.compile(r"^\| `(\w+)` \|", re.M)
_CAUSE_DEFINED = re.compile(r"^  DEVICE_HEALTH_CAUSE_(\w+) = [1-9]", re.M)
_CAUSE_TOLD = re.compile(r"^\| ([A-Z_]+) \|", re.M)


def flags():
    return f"```text\n{daemon.run('--help').stdout}```\n"


def metrics():
    with daemon.Daemon(metrics=True) as server:
        exported = families.scrape(server)
    rows = [f"| `{name}` | {family.type} | {labels(family)} | {family.help} |\n"
            for name, family in sorted(exported.items())]
    return "| metric | type | labels | |\n|---|---|---|---|\n" + "".join(rows)


def labels(family):
    """Of a family, each with its values unless they are many or those of this host."""
    told = []
    for label, values in sorted(family.labels.items()):
        few = len(values) <= _FEW_VALUES and label not in _OF_THE_HOST
        told.append(f"{label} ({', '.join(sorted(values))})" if few else label)
    return ", ".join(told)


def as_it_should_be(document):
    """The document with what is generated written anew."""
    parts = {"flags": flags(), "metrics": metrics()}
    return _GENERATED.sub(lambda m: m.group(1) + parts[m.group(2)] + m.group(4), document)


def section(title):
    return checkout.text(_DOCUMENT).partition(f"## {title}\n")[2].partition("\n## ")[0]


class OperationsTest(unittest.TestCase):
    maxDiff = None

    def test_flags_and_metrics_are_up_to_date(self):
        document = checkout.text(_DOCUMENT)
        self.assertEqual(["flags", "metrics"], [m.group(2) for m in _GENERATED.finditer(document)])
        self.assertEqual(
            as_it_should_be(document), document,
            "out of date: bazel run //tests/docs:operations_test -- write")

    def test_every_metric_says_what_it_counts(self):
        table = metrics()
        self.assertGreater(len(table.splitlines()), 40)
        for line in table.splitlines()[2:]:
            self.assertRegex(line, r"\| (counter|gauge|histogram|summary) \| [^|]*\| [^|]{10,} \|$")

    def test_every_event_of_the_log_is_told(self):
        written = {event for path in checkout.files("server", ".cc")
                   if not path.endswith("_test.cc")
                   for event in _EVENT_WRITTEN.findall(checkout.text(path))}
        self.assertEqual(written, set(_EVENT_TOLD.findall(section("The log"))))

    def test_every_cause_of_a_device_s_health_is_told(self):
        defined = _CAUSE_DEFINED.findall(checkout.text("proto/viommu/v1/device.proto"))
        self.assertEqual(defined, _CAUSE_TOLD.findall(section("Health")))
        for cause in defined:
            self.assertIn(f"`{cause.lower()}`", checkout.text("docs/RUNBOOK.md"))


def write():
    path = os.path.join(os.environ["BUILD_WORKSPACE_DIRECTORY"], _DOCUMENT)
    with open(path, encoding="utf-8") as file:
        document = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(as_it_should_be(document))


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    else:
        case_report.main()
