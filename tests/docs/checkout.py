"""Reads the checkout itself, of which Bazel knows only WORKSPACE: documents may name any file."""
import os

from tools import documents as reader

_WORKSPACE = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "WORKSPACE")
ROOT = os.path.dirname(os.path.realpath(_WORKSPACE))


def text(path):
    return reader.text(ROOT, path)


def files(folder, ending):
    """Paths, from the root, of the files right in a folder."""
    return sorted(os.path.join(folder, name) for name in os.listdir(os.path.join(ROOT, folder))
                  if name.endswith(ending))


def exists(path):
    return os.path.exists(os.path.join(ROOT, path))


def documents():
    """Paths, from the root, of all documents."""
    return reader.paths(ROOT, ".md")


def build_files():
    return reader.paths(ROOT, "BUILD.bazel")
