#!/usr/bin/env python3
"""Runs the commands that the documents show, as tools/document_table.py says of them.

Each runs in the checkout's root, as its reader stands there, and has to end with 0; one that serves
is asked what it invites to ask, and ended. The checkout has to be afterwards as it was before.
"""
import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tools import case_report
from tools import document_table
from tools import documents

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_QUICK_SECONDS = 300
_SLOW_SECONDS = 3 * 3600
_START_SECONDS = 120
_STOP_SECONDS = 60
_ASK_SECONDS = 30
# Where a viommud has its state unless it is told otherwise.
_STATE = ".state"
# What one that serves is told beside what its reader tells it: a port that is free.
_FREE_PORT = "--metrics_address=127.0.0.1:0"
_BASH = ("bash", "-c")
# A reader has these, one way or the other.
_PROGRAMS = (".tools/bin", ".tools/prometheus", "bazel-bin/server", "bazel-bin/clients/viommuctl",
             "bazel-bin/clients/device_plugin", "bazel-bin/engine/pagetable")
# What builds is left with the PATH that it has been building with: Bazel looks for compilers anew
# when that changes.
_BUILDS = re.compile(r"(\./dev|bazel) ")
# Would have programs look for viommud, or it for its files, where no document says so.
_ELSEWHERE = ("STATE_DIRECTORY", "VIOMMU_TARGET")
# What viommud invites people to paste.
_INVITED = re.compile(r"^  (\S.* -plaintext .*)$", re.M)
_INVITATIONS = 3
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# $1: a folder; $2: what to run. Nothing of it is seen outside of the namespace that unshare makes;
# without one nothing is mounted.
_ON_COPIES = """
[[ $(readlink /proc/self/ns/mnt) != "$(readlink "/proc/$PPID/ns/mnt")" ]] || exit
mount -t tmpfs tmpfs "$1" || exit
for path in etc usr/local; do
  mkdir -p "$1/$path/upper" "$1/$path/work" &&
    mount -t overlay -o "lowerdir=/$path,upperdir=$1/$path/upper,workdir=$1/$path/work" \\
      overlay "/$path" || exit
done
eval "$2"
"""


class Failed(Exception):
    """What was expected of a command has not happened."""


class Skipped(Exception):
    """A command can not be run on this machine, at this time."""


class Ending:
    """Heeds a wish to end this process only where it waits: elsewhere it may just have started
    what nobody would end, or be putting files back."""

    def __init__(self):
        self._number = None
        self._waits = False

    def ask(self, number, _):
        """Handles a signal."""
        self._number = number
        if self._waits:
            sys.exit(128 + number)

    @contextlib.contextmanager
    def heeded(self):
        self._waits = True
        try:
            if self._number is not None:
                sys.exit(128 + self._number)
            yield
        finally:
            self._waits = False


_ENDING = Ending()


class Runner:
    """Runs commands in a checkout's root, each for some seconds at most."""

    def __init__(self, root, seconds):
        self._root = root
        self._seconds = seconds

    def run(self, command, row):
        """Failed or Skipped, with the reason, unless all is as its row says."""
        for placeholder, stands_for in row.fill:
            if placeholder not in command:
                raise Failed(f"{placeholder} is not in it")
            command = command.replace(placeholder, stands_for)
        if row.makes and os.path.exists(row.makes):
            raise Skipped(f"{row.makes} is there already")
        before = self.checkout()
        contents = {path: self._read(path) for path in row.rewrites}
        try:
            self._run_filled(command, row)
            for path, content in contents.items():
                if self._read(path) == content:
                    raise Failed(f"it has not written {path}")
        finally:
            for path, content in contents.items():
                self._write(path, content)
            if row.makes:
                shutil.rmtree(row.makes, ignore_errors=True)
        if self.checkout() != before:
            raise Failed("it, or somebody meanwhile, has left the checkout not as it was:\n"
                         + self._git("status", "--short"))

    def checkout(self):
        """Changes when a file does that is, or would be, under version control."""
        if not self._under_git():
            return ""  # Nobody knows what belongs to it.
        stamps = []
        for path in filter(None, self._git("ls-files", "--others", "--exclude-standard", "-z")
                           .split("\0")):
            try:
                found = os.lstat(os.path.join(self._root, path))
            except FileNotFoundError:
                continue  # An editor's, say: gone since it was listed.
            stamps.append(f"{path} {found.st_size} {found.st_mtime_ns}\n")
        return "".join(stamps) + self._git("diff", "HEAD")

    def _run_filled(self, command, row):
        if row.before:
            self._shell(row.before)
        if row.serves:
            self._serve(command)
        elif row.installs:
            self._on_copies(f"{command} && {row.after or 'true'}")
            return
        else:
            printed = self._shell(command)
            if row.prints not in printed:
                raise Failed(f"'{row.prints}' is not in what it prints:\n{printed}")
        if row.after:
            self._shell(row.after)

    def _shell(self, command):
        """What it prints until it ends."""
        return self._wait([*_BASH, command], _environment(command, self._root), self._seconds)

    def _wait(self, words, environment, seconds):
        with tempfile.TemporaryFile() as output:
            process = self._start(words, environment, output)
            try:
                with _ENDING.heeded():
                    code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = f"nothing after {seconds} s"
            finally:
                _end(process)
            if code != 0:
                raise Failed(f"{words[-1]}\nended with {code}:\n{_text(output)}")
            return _text(output)

    def _start(self, words, environment, output):
        return subprocess.Popen(words, cwd=self._root, env=environment, stdin=subprocess.DEVNULL,
                                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    def _on_copies(self, command):
        if os.geteuid() != 0:
            raise Skipped("only root can install where nobody sees it")
        with tempfile.TemporaryDirectory() as folder:
            words = ["unshare", "--mount", *_BASH, _ON_COPIES, "bash", folder]
            try:
                self._wait([*words, "true"], dict(os.environ), self._seconds)
            except (Failed, FileNotFoundError) as error:
                raise Skipped(f"nothing can be mounted here: {error}") from None
            self._wait([*words, command], dict(os.environ), self._seconds)

    def _serve(self, command):
        self._nobody_serves()
        with tempfile.TemporaryFile() as output:
            # What ./dev run has become in the end is what is signalled.
            process = self._start([*_BASH, f"exec {command} {_FREE_PORT}"],
                                  _environment(command, self._root), output)
            try:
                self._await_endpoints(process, output)
                self._ask(output)
                process.send_signal(signal.SIGTERM)
                with _ENDING.heeded():
                    code = process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise Failed(f"it did not end when told to\n{_text(output)}") from None
            finally:
                _end(process)
            if code != 0:
                raise Failed(f"it ended with {code}:\n{_text(output)}")

    def _nobody_serves(self):
        """Or what is run here could not."""
        path = os.path.join(self._root, _STATE, "lock")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Skipped(f"a viommud serves already, from {_STATE}") from None

    def _await_endpoints(self, process, output):
        path = os.path.join(self._root, _STATE, "endpoints.json")
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with open(path, encoding="utf-8") as file:
                    # Not one that a viommud left which was killed.
                    if json.load(file)["pid"] == process.pid:
                        return
            except FileNotFoundError:
                pass
            _pause()
        raise Failed(f"it does not serve:\n{_text(output)}")

    def _ask(self, output):
        deadline = time.monotonic() + _ASK_SECONDS
        invited = []
        while len(invited) < _INVITATIONS and time.monotonic() < deadline:
            invited = _INVITED.findall(_text(output))
            _pause()
        if len(invited) != _INVITATIONS:
            raise Failed(f"it does not say what to paste:\n{_text(output)}")
        for line in [*invited, "viommuctl health"]:
            self._wait([*_BASH, line], _environment(line, self._root), _ASK_SECONDS)

    def _under_git(self):
        """Not so with a copy of the sources, or with a checkout that git sees somebody else own."""
        return shutil.which("git") and subprocess.run(
            ["git", "rev-parse", "--quiet", "--verify", "HEAD"], cwd=self._root,
            capture_output=True, check=False).returncode == 0

    def _git(self, *arguments):
        return subprocess.run(["git", *arguments], cwd=self._root, capture_output=True, text=True,
                              errors="replace", check=True).stdout

    def _read(self, path):
        with open(os.path.join(self._root, path), "rb") as file:
            return file.read()

    def _write(self, path, content):
        with open(os.path.join(self._root, path), "wb") as file:
            file.write(content)


def _environment(command, root):
    environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    if not _BUILDS.match(command):
        folders = [os.path.join(root, folder) for folder in _PROGRAMS]
        environment["PATH"] = os.pathsep.join([*folders, environment["PATH"]])
    return environment


def _pause():
    with _ENDING.heeded():
        time.sleep(0.02)


def _end(process):
    """If it goes on: with all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _text(output):
    """Of a file that another process writes to; without what XML can not hold."""
    content = os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0)
    return _UNPRINTABLE.sub("", content.decode(errors="replace"))


def chosen(shown, slow, wanted):
    """[(document, command, row)], each command once; the quick ones first."""
    first = {}
    for path, command in shown:
        first.setdefault(command, path)
    tables = [document_table.QUICK] + ([document_table.SLOW] if slow else [])
    return [(first[command], command, table[command]) for table in tables for command in first
            if command in table and wanted in command]


def run_all(commands, root, seconds):
    """Each, however those before it ended; as cases that case_report writes."""
    cases = []
    for path, command, row in commands:
        print(command, end="", flush=True)
        started, kind, text = time.monotonic(), None, ""
        try:
            Runner(root, seconds).run(command, row)
        except Skipped as reason:
            kind, text = "skipped", str(reason)
        except (Failed, OSError, subprocess.SubprocessError) as reason:
            kind, text = "failure", str(reason) or repr(reason)
        took = time.monotonic() - started
        print(f"  # {took:.1f} s{f', {kind}: {text}' if kind else ''}", flush=True)
        cases.append((f"{path}: {command}", took, kind, text))
    return cases


def undo_when_ended():
    """Lets what is run be ended, and files be put back, also when somebody ends this process."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _ENDING.ask)


def main():
    undo_when_ended()
    parser = argparse.ArgumentParser(prog="python3 -m tools.run_documents", description=__doc__)
    parser.add_argument("--slow", action="store_true", help="not only those of ./dev test")
    parser.add_argument("--xml", help="where to report to, instead of counting")
    parser.add_argument("filter", nargs="?", default="", help="part of each command")
    args = parser.parse_args()
    commands = chosen(documents.shown(_ROOT), args.slow, args.filter)
    if not commands:
        sys.exit(f"no command that is run here has '{args.filter}' in it")
    # By itself a quick one, too, may have much to build.
    cases = run_all(commands, _ROOT, _SLOW_SECONDS if args.slow else _QUICK_SECONDS)
    passed, failed, skipped = (sum(kind == wanted for _, _, kind, _ in cases)
                               for wanted in (None, "failure", "skipped"))
    if args.xml:
        case_report.write_xml(cases, args.xml)
    else:
        print(f"{skipped} skipped\n" * bool(skipped) + f"{passed} passed, {failed} failed")
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main()
