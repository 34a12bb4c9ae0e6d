import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

from tools import case_report
from tools import document_table
from tools import run_documents

Row = document_table.Row

# Far longer than anything here takes, also on a machine that compiles meanwhile.
_SECONDS = 60
# What is not ended goes on for longer than that is waited for.
_SLEEP = 2 * _SECONDS
# Serves as a viommud does, as far as is looked at; $CODE and $INVITED are how.
_PRETENDER = """
mkdir -p .state
touch .state/lock
trap 'exit $CODE' TERM
printf '  %s -plaintext x\\n' $INVITED
echo "{\\"pid\\": $$}" >.state/endpoints.new && mv .state/endpoints.new .state/endpoints.json
while :; do sleep 0.05; done
"""
# Runs argv[2] in argv[1], as a command that rewrites a file.
_ENDED = """
import sys
from tools import document_table, run_documents
run_documents.undo_when_ended()
row = document_table.Row(rewrites=("kept",))
run_documents.Runner(sys.argv[1], 60).run(sys.argv[2], row)
"""
# Is told to end when what it runs has started, before it can know that process; we know it.
_ENDED_EARLY = """
import os, signal, subprocess
class Popen(subprocess.Popen):
    def __init__(self, words, **options):
        super().__init__(words, **options)
        if options.get("start_new_session"):
            with open(os.path.join(sys.argv[1], "ignored/pid"), "w") as file:
                file.write(str(self.pid))
            os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Popen
""" + _ENDED


class RunnerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.write(".gitignore", "/ignored/\n/.state/\n/bazel-bin/\n")
        self.write("kept", "as it was\n")
        self.write("ignored/log", "")
        self.git("init", "-q")
        self.git("add", ".")
        self.git("-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "-m", "x")

    def git(self, *arguments):
        subprocess.run(["git", *arguments], cwd=self.root, check=True)

    def write(self, path, text, mode=0o644):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def run_row(self, command, row=Row(), seconds=_SECONDS):
        run_documents.Runner(self.root, seconds).run(command, row)

    def fails(self, part, command, row=Row(), seconds=_SECONDS):
        with self.assertRaisesRegex(run_documents.Failed, part):
            self.run_row(command, row, seconds)

    def await_end(self, pid):
        """Of what has been killed: whoever inherits it may take its time to notice."""
        deadline = time.monotonic() + _SECONDS
        while self.runs(pid):
            self.assertLess(time.monotonic(), deadline, f"{pid} goes on")
            time.sleep(0.02)

    def runs(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                return file.read().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def skips(self, part, command, row):
        with self.assertRaisesRegex(run_documents.Skipped, part):
            self.run_row(command, row)

    def test_runs_in_the_root_what_is_before_it_and_what_is_after(self):
        self.run_row("echo WORD >>ignored/log", Row(
            fill=(("WORD", "two"),), before="echo one >ignored/log",
            after="echo three >>ignored/log"))
        self.assertEqual("one\ntwo\nthree\n", self.read("ignored/log"))

    def test_each_part_may_fail_and_says_what_it_printed(self):
        self.fails("(?s)ended with 3.*why", "echo why; exit 3")
        self.fails("ended with 4", "true", Row(before="exit 4"))
        self.fails("ended with 5", "true", Row(after="exit 5"))
        self.fails("(?s)'more' is not.*less", "echo less", Row(prints="more"))
        self.fails("WORD is not in it", "true", Row(fill=(("WORD", "x"),)))

    def test_what_it_printed_can_be_reported(self):
        with self.assertRaises(run_documents.Failed) as failed:
            self.run_row(r"printf 'a\033[31m\000\377\tb\n'; exit 1")
        path = os.path.join(self.root, "ignored/cases.xml")
        case_report.write_xml([("x", 0.0, "failure", str(failed.exception))], path)
        self.assertIn("a[31m\ufffd\tb", ElementTree.parse(path).find("testcase/failure").text)

    def test_what_does_not_end_is_ended_with_all_that_it_started(self):
        self.write("ignored/pid", "")
        # Until the time is enough for it to start anything.
        seconds = 1
        while not (pid := self.read("ignored/pid").strip()):
            self.assertLess(seconds, _SECONDS)
            self.fails(f"nothing after {seconds} s",
                       f"sleep {_SLEEP} & echo $! >ignored/pid; sleep {_SLEEP}", seconds=seconds)
            seconds *= 2
        self.await_end(pid)

    def test_the_checkout_stays_as_it_was(self):
        self.run_row("echo x >ignored/new")
        self.fails("(?s)not as it was.*kept", "echo changed >kept")
        self.git("checkout", "-q", ".")
        self.fails("(?s)not as it was.*new", "echo x >new")
        self.fails("not as it was", "echo other >new")  # Still there, and as unknown to git.

    def test_sources_without_git_are_not_compared(self):
        os.rename(os.path.join(self.root, ".git"), os.path.join(self.root, "no.git"))
        self.run_row("echo x >new")
        self.fails("ended with 3", "exit 3")

    def test_what_it_rewrites_is_put_back_however_it_ends(self):
        row = Row(rewrites=("kept",))
        self.run_row("echo changed >kept", row)
        self.assertEqual("as it was\n", self.read("kept"))
        self.fails("ended with 1", "rm kept; false", row)
        self.assertEqual("as it was\n", self.read("kept"))

    def test_what_it_makes_outside_is_taken_away_unless_it_was_there(self):
        made = os.path.join(self.root, "ignored/stage")
        self.run_row(f"mkdir {made}", Row(makes=made, after=f"test -d {made}"))
        self.assertFalse(os.path.exists(made))
        os.mkdir(made)
        self.skips("is there already", "false", Row(makes=made))
        self.assertTrue(os.path.exists(made))

    def test_what_installs_is_seen_by_nobody(self):
        path = f"/usr/local/viommu-{os.getpid()}"
        row = Row(installs=True, after=f"echo $(cat {path}) >ignored/log")
        try:
            self.run_row(f"echo installed >{path}", row)
        except run_documents.Skipped as reason:
            self.skipTest(str(reason))
        finally:
            self.assertFalse(os.path.exists(path))
        self.assertEqual("installed\n", self.read("ignored/log"))
        self.fails("ended with 6", "exit 6", row)

    def test_where_the_developer_s_own_viommud_is_does_not_matter(self):
        for name in ("VIOMMU_TARGET", "STATE_DIRECTORY"):
            os.environ[name] = "/somewhere"
            self.addCleanup(os.environ.pop, name)
        self.run_row("echo at $VIOMMU_TARGET $STATE_DIRECTORY", Row(prints="at\n"))

    def serve(self, code=0, invited="echo echo echo", health="exit 0"):
        self.write("ignored/pretender", _PRETENDER)
        self.write("bazel-bin/clients/viommuctl/viommuctl",
                   f"#!/bin/sh\necho $@ >>ignored/log\n{health}\n", mode=0o755)
        self.run_row("bash ignored/pretender",
                     Row(before=f"echo 'CODE={code} INVITED=\"{invited}\"' >ignored/how; "
                         "cat ignored/how ignored/pretender >ignored/all; "
                         "mv ignored/all ignored/pretender", serves=True))

    def test_what_serves_is_asked_and_ended(self):
        self.serve()
        self.assertEqual("health\n", self.read("ignored/log"))

    def test_what_serves_has_to_invite_answer_and_end_well(self):
        for part, how in (("ended with 7", {"code": 7}),
                          ("ended with 8", {"health": "exit 8"}),
                          ("ended with 1", {"invited": "echo echo false"})):
            with self.assertRaisesRegex(run_documents.Failed, part):
                self.serve(**how)
        self.fails("(?s)does not serve.*why", "echo why; exit 0", Row(serves=True))

    def test_what_it_says_to_rewrite_has_to_be_written(self):
        self.fails("has not written kept", "true", Row(rewrites=("kept",)))

    def test_all_is_undone_when_the_runner_is_ended(self):
        self.write("ignored/pid", "")
        for number in (signal.SIGTERM, signal.SIGHUP):
            command = f"echo new >kept; echo $$ >ignored/pid; exec sleep {_SLEEP}"
            runner = subprocess.Popen([sys.executable, "-c", _ENDED, self.root, command])
            deadline = time.monotonic() + _SECONDS
            while not (pid := self.read("ignored/pid").strip()):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            runner.send_signal(number)
            self.assertEqual(128 + number, runner.wait(_SECONDS))
            self.assertEqual("as it was\n", self.read("kept"))
            self.await_end(pid)
            self.write("ignored/pid", "")

    def test_what_has_just_started_is_ended_too(self):
        command = f"echo new >kept; exec sleep {_SLEEP}"
        runner = subprocess.run([sys.executable, "-c", _ENDED_EARLY, self.root, command],
                                timeout=_SECONDS, check=False)
        self.assertEqual(128 + signal.SIGTERM, runner.returncode)
        self.assertEqual("as it was\n", self.read("kept"))
        self.await_end(self.read("ignored/pid"))

    def test_goes_on_after_whatever_has_failed(self):
        commands = [("A.md", "true", Row(rewrites=("none",))), ("A.md", "echo two", Row())]
        cases = run_documents.run_all(commands, self.root, _SECONDS)
        self.assertEqual(["failure", None], [kind for _, _, kind, _ in cases])

    def test_what_others_hold_is_left_to_them(self):
        self.write(".state/lock", "")
        with open(os.path.join(self.root, ".state/lock"), encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.skips("serves already", "false", Row(serves=True))


class RunDocumentsTest(unittest.TestCase):
    SHOWN = [("B.md", "./dev package"), ("A.md", "./dev help"), ("B.md", "./dev help"),
             ("B.md", "./dev demo"), ("B.md", "apt install none")]

    def names(self, slow, wanted=""):
        return [(path, command)
                for path, command, _ in run_documents.chosen(self.SHOWN, slow, wanted)]

    def test_each_is_run_once_and_the_quick_ones_first(self):
        quick = [("A.md", "./dev help"), ("B.md", "./dev demo")]
        self.assertEqual(quick, self.names(slow=False))
        self.assertEqual([*quick, ("B.md", "./dev package")], self.names(slow=True))

    def test_a_filter_is_a_part_of_the_command(self):
        self.assertEqual([("B.md", "./dev demo")], self.names(True, "v dem"))
        self.assertEqual([], self.names(True, "apt"))

    def test_neither_run_starts_itself(self):
        for command in document_table.UNDER_WAY:
            self.assertEqual([], run_documents.chosen([("A.md", command)], True, ""))

    def test_goes_on_after_a_failure(self):
        root = tempfile.TemporaryDirectory()
        self.addCleanup(root.cleanup)
        subprocess.run(["git", "init", "-q"], cwd=root.name, check=True)
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", "commit", "-q",
                        "--allow-empty", "-m", "x"], cwd=root.name, check=True)
        cases = run_documents.run_all(
            [("A.md", "false", Row()), ("A.md", "true", Row()), ("B.md", "no", Row(makes="/"))],
            root.name, _SECONDS)
        self.assertEqual(
            [("A.md: false", "failure"), ("A.md: true", None), ("B.md: no", "skipped")],
            [(name, kind) for name, _, kind, _ in cases])


if __name__ == "__main__":
    case_report.main()
