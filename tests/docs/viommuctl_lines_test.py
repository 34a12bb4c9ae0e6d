"""Lines of viommuctl that stand in running text, run for real as the documents have them."""
import os
import subprocess
import unittest

from tests.docs import checkout
from tests.e2e import daemon
from tools import case_report
from tools import document_table
from tools import documents

_LABEL = "//tests/docs:viommuctl_lines_test"
_PROGRAMS = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "clients",
                         "viommuctl")
_SECONDS = 60

# A host on which each of them has something to do.
_WORLD = """
viommuctl claim 0000:01:00.0
viommuctl create region ram --size 4G
viommuctl create ioas vm0
viommuctl create domain vm0 --ioas vm0 --device 0000:01:00.0
viommuctl attach 0000:01:00.0 vm0
viommuctl create listener vm0
"""
# Command -> what it is followed by here, and a part of what both print.
_SHOWS = {
    "source <(viommuctl completion bash)": ("complete -p viommuctl", " viommuctl\n"),
    "viommuctl health": ("", "(all)                        serving\n"),
    "viommuctl list attachments": ("", "0000:01:00.0  "),
    "viommuctl list listeners": ("", "vm0 "),
    "viommuctl map vm0 --region ram --size 1G --iova 0x40000000": (
        "viommuctl translate vm0 0x40000000", "mapped 1G at [0x40000000, 0x7fffffff]\n"),
    "viommuctl tables export FILE": ("test -s FILE && echo there", "there\n"),
}


class ViommuctlLinesTest(unittest.TestCase):
    def test_each_does_what_it_is_shown_for(self):
        lines = {command for _, command in documents.shown(checkout.ROOT)
                 if document_table.ELSEWHERE.get(command) == _LABEL}
        self.assertEqual(set(_SHOWS), lines)
        folder = daemon.new_folder()
        # Where viommuctl looks by itself.
        os.mkdir(os.path.join(folder, "state"), mode=0o700)
        os.symlink("state", os.path.join(folder, ".state"))
        with daemon.Daemon("--unix_socket=.state/viommud.sock", daemon.LISTENERS, folder=folder):
            self._run(folder, _WORLD)
            for line in sorted(lines):
                with self.subTest(line):
                    then, part = _SHOWS[line]
                    self.assertIn(part, self._run(folder, f"{line}\n{then}"))

    def _run(self, folder, script):
        environment = dict(os.environ, PATH=f"{_PROGRAMS}:{os.environ['PATH']}")
        done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment,
                              capture_output=True, text=True, timeout=_SECONDS, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout


if __name__ == "__main__":
    case_report.main()
