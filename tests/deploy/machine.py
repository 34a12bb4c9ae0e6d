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


class Machine:
    """Boots at once, with what is installed on this machine, but nothing of it enabled. Until close(),
    or until the process that made it ends, however it ends."""

    def __init__(self):
        if not scratch.on_debian_12():
            raise Lacking("Debian 12")
        self.cgroup = f"viommu-machine-{os.getpid()}-{time.monotonic_ns()}"
        self._console = tempfile.TemporaryFile("w+")
        # In a session of its own, so that a signal for all of the test's processes leaves it the time to
        # clean up.
        self._ended = None
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
        self._forget_init()
        ended = self._keeper.wait(scratch.SECONDS)
        self._keeper.stdout.close()
        console = self._read_console()
        self._console.close()
        if ended != 0:
            raise AssertionError(f"the machine is not removed: {console}")

    def reboot(self):
        self.run("systemctl reboot", check=False)  # It is too late for an answer.
        if not select.select([self._ended], [], [], scratch.SECONDS)[0]:
            raise AssertionError(f"systemd does not end: {self._read_console()}")
        self._boot()

    def run(self, line, check=True):
        """Runs a line as root's shell, which is in a checkout of the sources, says yes to all."""
        return self._enter(line, "y\n" * 9, check)

    def exists(self, path):
        return self.run(f"test -e {path}", check=False).returncode == 0

    def read(self, path):
        return self.run(f"cat {path}").stdout

    def write(self, path, text):
        self._enter(f"mkdir -p {os.path.dirname(path)} && cat >{path}", text)

    def check_out(self):
        """Brings what is installed, with bazel-bin/, to where commands are run."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ("deploy", "docs"):
                shutil.copytree(os.path.join(scratch.ROOT, name), os.path.join(folder, name))
            shutil.copy(os.path.join(scratch.ROOT, "README.md"), folder)
            for program in scratch.programs():
                built = os.path.join(folder, "bazel-bin", program)
                os.makedirs(os.path.dirname(built), exist_ok=True)
                shutil.copy(os.path.join(scratch.ROOT, program), built)
            # Not the folder itself, which is nobody else's to look into.
            archive = subprocess.run(["tar", "--create", "--directory", folder, *os.listdir(folder)],
                                     stdout=subprocess.PIPE, check=True).stdout
        self._enter("tar --extract --no-same-owner", archive)

    def _enter(self, line, given, check=True):
        """By way of what only a copy has, never by a path of this machine's."""
        text = isinstance(given, str)
        done = subprocess.run([SCRIPT, "enter", self.init, "bash", "-c", line], input=given,
                              capture_output=True, text=text, timeout=scratch.SECONDS, check=False)
        if check and done.returncode != 0:
            raise AssertionError(
                f"`{line}` ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _boot(self):
        try:
            # Past any buffer, in which it would wait for close() to fail as well.
            os.write(self._keeper.stdin.fileno(), b"boot\n")
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
        self._forget_init()
        self.init, self._ended = rest, os.pidfd_open(int(rest))
        self._await_systemd()
        # A unit of somebody else that has failed is nothing to us.
        self.run("systemctl is-system-running --wait", check=False)

    def _await_systemd(self):
        deadline = time.monotonic() + scratch.SECONDS
        # At first not even the way in is there.
        while not self.exists("/run/systemd/private"):
            if time.monotonic() > deadline:
                raise AssertionError(f"systemd does not start: {self._read_console()}")
            time.sleep(_POLL_SECONDS)

    def _forget_init(self):
        if self._ended is not None:
            os.close(self._ended)
        self._ended = None

    def _read_console(self):
        self._console.seek(0)
        return self._console.read()
