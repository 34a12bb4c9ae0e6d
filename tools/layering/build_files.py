"""Reads the C++ targets of BUILD files. Starlark parses as Python; nothing is executed.

Understood are literals, lists joined by +, names assigned at top level and select(), whose branches
are all taken together. That is all the project's BUILD files use; anything else raises Unreadable.
"""
import ast
import dataclasses
import os

_CC_RULES = ("cc_binary", "cc_fuzz_target", "cc_library", "cc_test")


class Unreadable(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Target:
    label: str
    files: tuple  # Paths of srcs, hdrs and textual_hdrs from the root; labels of generated ones are left out.
    headers: tuple
    deps: tuple  # Absolute labels.


def absolute(label, package):
    """"//a/b:b" for "//a/b", "//package:x" for ":x", "@r//:r" for "@r"; external labels likewise."""
    if label.startswith(":"):
        return f"//{package}{label}"
    if label.startswith("@") and "//" not in label:
        return f"{label}//:{label[1:]}"
    repository, _, rest = label.rpartition("//")
    return label if ":" in rest else f"{repository}//{rest}:{os.path.basename(rest)}"


def _strings(node, names):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [s for element in node.elts for s in _strings(element, names)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _strings(node.left, names) + _strings(node.right, names)
    if isinstance(node, ast.Name) and node.id in names:
        return _strings(names[node.id], names)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "select":
        return [s for branch in node.args[0].values for s in _strings(branch, names)]
    raise Unreadable(f"line {node.lineno}: write this as a plain list")


def _files(labels, package):
    return tuple(os.path.join(package, label.lstrip(":")) for label in labels
                 if label.endswith((".h", ".cc")) and not label.startswith("//"))


def _target(call, package, names):
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    lists = {key: _strings(given[key], names) if key in given else []
             for key in ("name", "srcs", "hdrs", "textual_hdrs", "deps")}
    headers = _files(lists["hdrs"] + lists["textual_hdrs"], package)
    return Target(label=f"//{package}:{lists['name'][0]}",
                  files=_files(lists["srcs"], package) + headers,
                  headers=headers,
                  deps=tuple(absolute(dep, package) for dep in lists["deps"]))


def read(root, package):
    """The cc targets that package's BUILD.bazel declares."""
    with open(os.path.join(root, package, "BUILD.bazel"), encoding="utf-8") as source:
        tree = ast.parse(source.read())
    names = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return [_target(node, package, names) for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _CC_RULES]


def packages(root, tops=("clients", "engine", "server", "tests")):
    """Every directory below `tops` with a BUILD.bazel."""
    return sorted(os.path.relpath(folder, root) for top in tops
                  for folder, _, names in os.walk(os.path.join(root, top)) if "BUILD.bazel" in names)
