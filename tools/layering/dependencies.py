"""Checks that a target names what it includes among its own deps.

Bazel cannot: the system's headers are found by the compiler's search path, and a header of ours
through any dep of a dep.
"""
import os

from tools.layering import build_files
from tools.layering import rules
from tools.layering import sources


def _provided_by_label(include):
    """Prefixes of labels one of which must be a dep; None when the language provides the header."""
    parts = include.split("/")
    if parts[0] == "absl" and len(parts) > 2:
        return ["@com_google_absl//" + "/".join(parts[:-1]) + ":"]
    for prefix, package in rules.GENERATED.items():
        if include.startswith(prefix):
            return [f"//{package}:"]
    for prefix, labels in rules.PROVIDERS:
        if include.startswith(prefix):
            return labels
    return None


def _missing(include, target, providers):
    """What `target` lacks to include it: a label or label prefix, or None."""
    owners = providers.get(include)
    if owners is not None:
        named = target.label in owners or owners.intersection(target.deps)
        return None if named else min(owners)
    if include in target.files:  # A private header, in srcs.
        return None
    labels = _provided_by_label(include)
    if labels is None or any(dep.startswith(label) for label in labels for dep in target.deps):
        return None
    return labels[0] + "..."


def problems(root, packages=None):
    """{package: [problem, ...]} for every package with C++ targets."""
    packages = packages or build_files.packages(root)
    found, targets, providers, owned = {}, {}, {}, set()
    for package in packages:
        found[package] = []
        try:
            targets[package] = build_files.read(root, package)
        except (build_files.Unreadable, SyntaxError) as error:
            found[package].append(f"{package}/BUILD.bazel: {error}")
            targets[package] = []
    for target in (t for of_package in targets.values() for t in of_package):
        owned.update(target.files)
        for header in target.headers:
            providers.setdefault(header, set()).add(target.label)
    for package, of_package in targets.items():
        for target in of_package:
            found[package] += _problems_of(root, target, providers)
    for path in sources.cpp_files(root):
        if path not in owned:
            found.setdefault(os.path.dirname(path), []).append(f"{path}: in no cc target")
    return found


def _problems_of(root, target, providers):
    lines = []
    for path in target.files:
        if not os.path.exists(os.path.join(root, path)):
            lines.append(f"{target.label}: {path} does not exist")
            continue
        for include in sources.includes(root, path):
            missing = _missing(include, target, providers)
            if missing is not None:
                lines.append(f"{target.label}: {path} includes {include}, deps lack {missing}")
    return lines
