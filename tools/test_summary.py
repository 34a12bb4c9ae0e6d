#!/usr/bin/env python3
"""Counts test cases from Bazel's build event file; the last line is "N passed, N failed".

Bazel itself counts targets. A case is a <testcase> of a target's test.xml. A target that failed
without saying which case (crash, time-out, no XML, not built) counts as one failed case, and so
does a build that failed without naming a target: whatever went wrong, the count shows it.
A case that was skipped is named with its reason, so that nobody takes it for one that has passed.

Exits 0 only if something passed, nothing failed and Bazel agrees.
"""
import argparse
import collections
import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

GOOD = ("PASSED", "FLAKY")


class Counts:
    def __init__(self):
        self.passed = 0
        self.skipped = []  # What to print of each skipped case.
        self.failures = []  # What to print of each failed case.


def read_events(path):
    """The last attempt of each (label, run, shard), and labels that were not built or not run."""
    results, broken = {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            kind, ident = next(iter(event["id"].items()))
            if kind == "testResult":
                result = event["testResult"]
                xml = [o["uri"] for o in result.get("testActionOutput", []) if o["name"] == "test.xml"]
                key = (ident["label"], ident.get("run", 1), ident.get("shard", 1))
                results[key] = (result["status"], xml)
            elif kind == "targetCompleted" and not event.get("completed", {}).get("success"):
                broken[ident["label"]] = "not built"
            elif kind == "testSummary" and event["testSummary"]["overallStatus"] == "NO_STATUS":
                broken.setdefault(ident["label"], "not run")
    for label, _, _ in results:
        broken.pop(label, None)
    return results, broken


def _reason(skipped):
    """What was said about it: GoogleTest puts a line with the place before."""
    said = "" if skipped is None else skipped.get("message", "").strip().rpartition("\n")[2]
    return said and f": {said}"


def cases_of(xml_uris):
    """Yields ("passed" | "skipped" | "failed", name) for each case of a target's XML files."""
    for uri in xml_uris:
        path = urllib.parse.unquote(urllib.parse.urlparse(uri).path)
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError):
            continue  # Cut short by a crash: the target's status tells.
        for case in root.iter("testcase"):
            name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
            if case.find("failure") is not None or case.find("error") is not None:
                yield "failed", name
            elif case.get("status") == "notrun" or case.find("skipped") is not None:
                yield "skipped", name + _reason(case.find("skipped"))
            else:
                yield "passed", name


def count(results, broken):
    counts = Counts()
    for (label, _, _), (status, xml) in sorted(results.items()):
        by_outcome = collections.defaultdict(list)
        for outcome, name in cases_of(xml):
            by_outcome[outcome].append(name)
        if status not in GOOD and not by_outcome["failed"]:
            by_outcome["failed"].append(f"({status.lower()})")
        counts.passed += len(by_outcome["passed"])
        counts.skipped += [f"{label} {name}" for name in by_outcome["skipped"]]
        counts.failures += [f"{label} {name}" for name in by_outcome["failed"]]
    counts.failures += [f"{label} ({why})" for label, why in sorted(broken.items())]
    return counts


def outside(path):
    """As read_events has it: cases that were run outside of Bazel. None at all are a failure."""
    uri = "file://" + urllib.parse.quote(os.path.abspath(path))
    status = "PASSED" if any(cases_of([uri])) else "FAILED"
    return {("documents", 1, 1): (status, [uri])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bazel_exit_code", type=int, required=True)
    parser.add_argument("--also", help="cases that no target of Bazel's has run, as XML")
    parser.add_argument("events")
    args = parser.parse_args()

    try:
        results, broken = read_events(args.events)
        if args.also:
            results.update(outside(args.also))
        counts = count(results, broken)
    except (OSError, ValueError, KeyError) as error:
        counts = Counts()
        counts.failures.append(f"unreadable build event file: {error}")
    if args.bazel_exit_code != 0 and not counts.failures:
        counts.failures.append(f"(bazel exited with {args.bazel_exit_code})")
    if counts.passed == 0 and not counts.failures:
        counts.failures.append("(no test ran)")

    for failure in counts.failures:
        print(f"FAILED {failure}")
    for skipped in counts.skipped:
        print(f"SKIPPED {skipped}")
    if counts.skipped:
        print(f"{len(counts.skipped)} skipped")
    print(f"{counts.passed} passed, {len(counts.failures)} failed", flush=True)
    sys.exit(1 if counts.failures else 0)


if __name__ == "__main__":
    main()
