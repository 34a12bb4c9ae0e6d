"""Reads the checkout itself, of which Bazel knows only WORKSPACE: documents may name any file."""
import os

_WORKSPACE = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "WORKSPACE")
ROOT = os.path.dirname(os.path.realpath(_WORKSPACE))


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def files(folder, ending):
    """Paths, from the root, of the files right in a folder."""
    return sorted(os.path.join(folder, name) for name in os.listdir(os.path.join(ROOT, folder))
                  if name.endswith(ending))


def exists(path):
    return os.path.exists(os.path.join(ROOT, path))


def documents():
    """Paths, from the root, of all documents."""
    return sorted(path for path in _own_files() if path.endswith(".md"))


def build_files():
    return sorted(path for path in _own_files() if os.path.basename(path) == "BUILD.bazel")


def _own_files():
    """Not what Bazel, npm and ./dev put there."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders
                      if not name.startswith((".", "bazel-")) and name != "node_modules"]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), ROOT)
