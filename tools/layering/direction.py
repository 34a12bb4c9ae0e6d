"""Checks that includes go downward: rules.ALLOWED against a source tree."""
import os

from tools.layering import rules
from tools.layering import sources


def row_of(path):
    """The key of rules.ALLOWED that governs the file's directory, or None."""
    folder = os.path.dirname(path)
    if folder in rules.ALLOWED:
        return folder
    while folder:
        if folder + "/**" in rules.ALLOWED:
            return folder + "/**"
        folder = os.path.dirname(folder)
    return None


def is_test(path):
    return os.path.splitext(path)[0].endswith(("_test", "_benchmark", "_fuzz"))


def is_fuzz_target(path):
    return os.path.splitext(path)[0].endswith("_fuzz")


def _covers(entry, path):
    if entry.endswith("/**"):
        return path.startswith(entry[:-2])
    return path == entry or os.path.dirname(path) == entry


def _inside(include):
    """The include as a path of the tree; None for a header from elsewhere."""
    for prefix, package in rules.GENERATED.items():
        if include.startswith(prefix):
            return f"{package}/{include[len(prefix):]}"
    tops = {row.split("/")[0] for row in rules.ALLOWED} | {"proto"}
    return include if include.split("/")[0] in tops else None


def problems_in(root, path):
    """One line for each include of the file that its row does not allow."""
    row = row_of(path)
    if row is None:
        return [f"{path}: no row for its directory in tools/layering/rules.py"]
    allowed = [row if row.endswith("/**") else os.path.dirname(path)]
    allowed += rules.ALLOWED[row] + rules.ALLOWED.get(path, [])
    if is_test(path):
        allowed += rules.ALLOWED_IN_TESTS.get(row, [])
    if is_fuzz_target(path):
        allowed += rules.ALLOWED_IN_FUZZ_TARGETS
    problems = []
    for include in sources.includes(root, path):
        target = _inside(include)
        if path.startswith("engine/") and include.startswith(rules.FOREIGN_TO_ENGINE):
            problems.append(f"{path}: engine/ must not include {include}")
        elif target is not None and not any(_covers(entry, target) for entry in allowed):
            problems.append(f"{path}: must not include {include}")
    return problems
