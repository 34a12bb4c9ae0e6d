"""A throw-away Debian, a copy of this machine, that is really booted; and what runs on it as root."""
import os
import select
import shutil
import subprocess
import tempfile
import time

from tests.deploy import scratch

SCRIPT = os.path.join(scratch.ROOT, "tests", "deploy", "boot_machine")
_FOLDER = "/srv/viommu"  # Where commands are run, as in a checkout of the sources.
# A few milliseconds, unless something fails.
_POLL_SECONDS = 0.01


class Lacking(Exception):
    """This machine does not let a copy of it be made; says what it does not have or allow."""


def _is_debian_12():
    return scratch.run("sh", "-c", '. /etc/os-release && test "$ID $VERSION_ID" = "debian 12"',
                       check=False).returncode == 0


class Machine:
    """Boots at once, with what is installed on this machine, but nothing of it enabled. Until close(),
    or until the process that made it ends, however it ends."""

    def __init__(self):
        if not _is_debian_12():
            raise Lacking("Debian 12")
        self.cgroup = f"viommu-machine-{os.getpid()}-{time.monotonic_ns()}"
        self._console = tempfile.TemporaryFile("w+")
        # In a session of its own, so that a signal for all of the test's processes leaves it the time to
        # clean up.
        self._keeper = subprocess.Popen([SCRIPT, "keep", self.cgroup], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self._console, start_new_session=True)
        try:
            self._boot()
        except BaseException:
            self.close()
            raise

    def close(self):
        """Ends whatever runs on it; nothing of it is left."""
        self._keeper.stdin.close()
        ended = self._keeper.wait(scratch.SECONDS)
        self._keeper.stdout.close()
        console = self._read_console()
        self._console.close()
        if ended != 0:
            raise AssertionError(f"the machine is not removed: {console}")

    def reboot(self):
        self.run("systemctl reboot", check=False)  # It is too late for an answer.
        self._await(lambda: not os.path.exists(f"/proc/{self.init}"), "systemd does not end")
        self._boot()

    def run(self, line, check=True):
        """Runs a line as root's shell, which is in a checkout of the sources, says yes to all."""
        done = subprocess.run([SCRIPT, "enter", self.init, "bash", "-c", line], input="y\n" * 9,
                              capture_output=True, text=True, timeout=scratch.SECONDS, check=False)
        if check and done.returncode != 0:
            raise AssertionError(
                f"`{line}` ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def find(self, path):
        """The path by which this machine sees a file of that one; links in it must be relative."""
        return f"/proc/{self.init}/root{path}"

    def read(self, path):
        with open(self.find(path), encoding="utf-8") as file:
            return file.read()

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.find(path)), exist_ok=True)
        with open(self.find(path), "w", encoding="utf-8") as file:
            file.write(text)

    def check_out(self):
        """Brings what is installed, with bazel-bin/, to where commands are run."""
        for name in ("deploy", "docs"):
            shutil.copytree(os.path.join(scratch.ROOT, name), self.find(f"{_FOLDER}/{name}"))
        shutil.copy(os.path.join(scratch.ROOT, "README.md"), self.find(_FOLDER))
        for program in scratch.programs():
            built = self.find(f"{_FOLDER}/bazel-bin/{program}")
            os.makedirs(os.path.dirname(built), exist_ok=True)
            shutil.copy(os.path.join(scratch.ROOT, program), built)

    def _boot(self):
        try:
            self._keeper.stdin.write("boot\n")
            self._keeper.stdin.flush()
        except BrokenPipeError:
            pass  # It has said why.
        # It is said in one line, or not at all.
        said = select.select([self._keeper.stdout], [], [], scratch.SECONDS)[0]
        line = self._keeper.stdout.readline() if said else ""
        word, _, rest = line.strip().partition(" ")
        if word == "lacking":
            raise Lacking(rest)
        if word != "booting":
            raise AssertionError(f"no machine: {self._read_console()}")
        self.init = rest
        self._await(lambda: os.path.exists(self.find("/run/systemd/private")),
                    "systemd does not start")
        # A unit of somebody else that has failed is nothing to us.
        self.run("systemctl is-system-running --wait", check=False)

    def _await(self, happened, otherwise):
        deadline = time.monotonic() + scratch.SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise AssertionError(f"{otherwise}: {self._read_console()}")
            time.sleep(_POLL_SECONDS)

    def _read_console(self):
        self._console.seek(0)
        return self._console.read()
