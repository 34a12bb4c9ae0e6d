"""The C++ files of a tree and what they include."""
import os
import re

_TOPS = ("clients", "engine", "proto", "server", "tests")
_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


def cpp_files(root):
    """Paths of all .h and .cc files, relative to `root`, in order."""
    found = []
    for top in _TOPS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            found += [os.path.relpath(os.path.join(folder, name), root)
                      for name in names if name.endswith((".h", ".cc"))]
    return sorted(found)


def includes(root, path):
    """The paths that the file includes, with quotes or angle brackets alike."""
    with open(os.path.join(root, path), encoding="utf-8") as source:
        return _INCLUDE.findall(source.read())
