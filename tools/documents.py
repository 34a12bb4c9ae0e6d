"""Reads the documents of a checkout: which there are, their sessions, the commands that they show.

A session is fenced as ```console. A line that begins with "$ " is a command; what follows until the
next one is its output. Other commands stand in running text, in fences and in indented lines.
"""
import dataclasses
import os
import re

# Every example of it is run by //tests/e2e:viommuctl_test.
REFERENCE = "docs/VIOMMUCTL.md"

_SESSION = re.compile(r"^```console\n(.*?)^```$", re.S | re.M)
# A fence with its language, or code within a line, or an indented line.
_CODE = re.compile(r"^ *```(\w*)\n((?s:.*?))^ *```$|`([^`]+)`|^ {4,}(\S.*)$", re.M)
_SHELLS = ("sh", "bash", "shell")
_PROGRAM = re.compile(r"(\./dev|bazel|bazel-bin/\S+|viommuctl|viommud|viommu-[a-z-]+|\w+_benchmark|"
                      r"grpcurl|promtool|python3|journalctl|systemctl|systemd-[a-z]+|kubectl|"
                      r"kustomize|docker|podman|dpkg|apt|apt-get|sudo|sed|curl|git|make|export|"
                      r"source)\s")


@dataclasses.dataclass(frozen=True)
class Command:
    text: str
    output: tuple  # Expected lines.


def paths(root, ending):
    """The files that end so, from the root; not those that Bazel, npm and ./dev put there."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders
                      if not name.startswith((".", "bazel-")) and name != "node_modules"]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names
                  if name.endswith(ending)]
    return sorted(found)


def text(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def commands(document):
    """All commands of a document's sessions, in order."""
    found = []
    for block in _SESSION.findall(document):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return [Command(text, tuple(output)) for text, output in found]


def without_sessions(document):
    """What is left of a document without its sessions."""
    return _SESSION.sub("", document)


def shown(root):
    """[(path, command)] of what no replay of a session runs, each once for a document."""
    found = []
    for path in paths(root, ".md"):
        if path != REFERENCE:
            found += [(path, command) for command in _shown_by(text(root, path))]
    return list(dict.fromkeys(found))


def _shown_by(document):
    # A replay takes the place of these, as it brings what they build and start.
    yield from (command.text for command in commands(document) if command.text.startswith("./dev "))
    for line in _code_lines(without_sessions(document)):
        command = " ".join(line.split("  #")[0].removeprefix("$ ").split())
        if _PROGRAM.match(command):
            yield command


def _code_lines(document):
    for language, block, inline, indented in _CODE.findall(document):
        if language in _SHELLS:
            yield from block.splitlines()
        elif block:
            yield from (line.strip() for line in block.splitlines() if line.strip()[:2] == "$ ")
        else:
            yield inline or indented
