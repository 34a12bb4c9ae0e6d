"""Replays the sessions of documents, which tools/documents.py reads.

In expected output a line "..." stands for any number of lines, and "..." inside a line for any
text.
"""
import re
import subprocess

# By documents_test.
REPLAYED = ("README.md", "docs/API.md", "docs/OPERATIONS.md", "docs/RUNBOOK.md", "docs/TOUR.md",
            "docs/VMM_LAYOUT.md")

_END = "__end_of_command__"


def matches(expected, actual):
    """Whether output lines are as expected, with "..." as a wildcard."""
    parts = []
    for line in expected:
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*")
        else:
            parts.append("".join(".*" if piece == "..." else re.escape(piece)
                                 for piece in re.split(r"(\.\.\.)", line)) + r"\n")
    return re.fullmatch("".join(parts), "".join(line + "\n" for line in actual)) is not None


class Shell:
    """One bash that runs command after command, as a reader's terminal would."""

    def __init__(self, cwd, env):
        self._bash = subprocess.Popen(["bash", "--norc"], cwd=cwd, env=env, text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)

    def run(self, command):
        """The lines that the command prints."""
        self._bash.stdin.write(f"{command}\necho {_END}\n")
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            if line.strip() == _END:
                return lines
            lines.append(line.rstrip("\n").replace("\t", "  "))
        raise RuntimeError(f"the shell ended in: {command}")

    def close(self):
        self._bash.stdin.close()
        self._bash.wait(timeout=60)
        self._bash.stdout.close()
