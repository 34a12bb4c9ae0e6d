"""What docs/OPERATIONS.md says of flags, metrics and the log is what viommud has; and
docs/KUBERNETES.md of the device plugin.

Flags and metrics are written by the programs themselves: bazel run //tests/docs:operations_test -- write
"""
import os
import re
import sys
import unittest

from tests.docs import checkout
from tests.e2e import daemon
from tests.monitoring import device_plugin
from tests.monitoring import families
from tools import case_report

_DOCUMENT = "docs/OPERATIONS.md"
_OF_THE_PLUGIN = "docs/KUBERNETES.md"
_GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->\n)", re.S)
_FEW_VALUES = 6
_OF_THE_HOST = {"boot_id", "iommu", "resource", "version"}
# A line of the log: what is written between a level, which may depend, and the fields. A name that
# depends is one of two.
_LINE_WRITTEN = re.compile(r"\bWrite\([^;{]*LogLevel::k[^;{]*")
# Those of listeners have a way of their own.
_LINE_NOTED = re.compile(r'\bNote\(\s*"\w+"')
_NAME_WRITTEN = re.compile(r'"(\w+)"')
_EVENT_TOLD = re.compile(r"^\| `(\w+)` \|", re.M)
_CAUSE_DEFINED = re.compile(r"^  DEVICE_HEALTH_CAUSE_(\w+) = [1-9]", re.M)
_CAUSE_TOLD = re.compile(r"^\| ([A-Z_]+) \|", re.M)


def block(text):
    return f"```text\n{text}```\n"


def table(exported):
    rows = [f"| `{name}` | {family.type} | {labels(family)} | {family.help} |\n"
            for name, family in sorted(exported.items())]
    return "| metric | type | labels | |\n|---|---|---|---|\n" + "".join(rows)


def flags():
    return block(daemon.run("--help").stdout)


def metrics():
    with daemon.Daemon(metrics=True) as server:
        return table(families.scrape(server))


def plugin_flags():
    return block(device_plugin.run("--help"))


def plugin_metrics():
    """Those that viommud has as well are told there."""
    with daemon.Daemon(daemon.LISTENERS) as server, device_plugin.DevicePlugin(server) as plugin:
        exported = families.scrape(plugin)
    return table({name: family for name, family in exported.items()
                  if name.startswith("viommu_device_plugin_")})


# What is generated of each document, in its order.
_PARTS = {_DOCUMENT: {"flags": flags, "metrics": metrics},
          _OF_THE_PLUGIN: {"plugin_flags": plugin_flags, "plugin_metrics": plugin_metrics}}


def labels(family):
    """Of a family, each with its values unless they are many or those of this host."""
    told = []
    for label, values in sorted(family.labels.items()):
        few = len(values) <= _FEW_VALUES and label not in _OF_THE_HOST
        told.append(f"{label} ({', '.join(sorted(values))})" if few else label)
    return ", ".join(told)


def as_it_should_be(path, document):
    """The document with what is generated written anew."""
    parts = {name: part() for name, part in _PARTS[path].items()}
    return _GENERATED.sub(lambda m: m.group(1) + parts[m.group(2)] + m.group(4), document)


def events_written(folder):
    """What the programs of a folder write to their logs."""
    return {event for path in checkout.files(folder, ".cc") if not path.endswith("_test.cc")
            for line in (*_LINE_WRITTEN.findall(checkout.text(path)),
                         *_LINE_NOTED.findall(checkout.text(path)))
            for event in _NAME_WRITTEN.findall(line)}


def section(title, document=_DOCUMENT):
    return checkout.text(document).partition(f"## {title}\n")[2].partition("\n## ")[0]


class OperationsTest(unittest.TestCase):
    maxDiff = None

    def test_flags_and_metrics_are_up_to_date(self):
        for path, parts in _PARTS.items():
            document = checkout.text(path)
            self.assertEqual(list(parts), [m.group(2) for m in _GENERATED.finditer(document)])
            self.assertEqual(
                as_it_should_be(path, document), document,
                f"{path} is out of date: bazel run //tests/docs:operations_test -- write")

    def test_every_metric_says_what_it_counts(self):
        rows = metrics().splitlines()[2:] + plugin_metrics().splitlines()[2:]
        self.assertGreater(len(rows), 60)
        for row in rows:
            self.assertRegex(row, r"\| (counter|gauge|histogram|summary) \| [^|]*\| [^|]{10,} \|$")

    def test_every_event_of_the_logs_is_told(self):
        told = set(_EVENT_TOLD.findall(section("The log")))
        self.assertEqual(events_written("server"), told)
        told = set(_EVENT_TOLD.findall(section("The log", _OF_THE_PLUGIN)))
        self.assertEqual(events_written("clients/device_plugin"), told)

    def test_every_cause_of_a_device_s_health_is_told(self):
        defined = _CAUSE_DEFINED.findall(checkout.text("proto/viommu/v1/device.proto"))
        self.assertEqual(defined, _CAUSE_TOLD.findall(section("Health")))
        for cause in defined:
            self.assertIn(f"`{cause.lower()}`", checkout.text("docs/RUNBOOK.md"))


def write():
    for name in _PARTS:
        path = os.path.join(os.environ["BUILD_WORKSPACE_DIRECTORY"], name)
        with open(path, encoding="utf-8") as file:
            document = as_it_should_be(name, file.read())
        # Not before all of it is known: the file is empty from here on.
        with open(path, "w", encoding="utf-8") as file:
            file.write(document)


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    else:
        case_report.main()
