"""Runs the real viommud for a test: in a folder of its own, on ports that the kernel chooses."""
import json
import os
import resource
import signal
import subprocess
import tempfile
import time

BINARY = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "server", "viommud")

# With this flag there are tenants. Absolute, and short enough for sockets wherever the folder is.
LISTENERS = "--listener_dir=/proc/self/cwd/listeners"

# Also enough under a sanitizer, on a machine that compiles meanwhile.
_START_SECONDS = 60
_STOP_SECONDS = 60


def new_folder():
    """A folder of the test's own, which Bazel removes."""
    return tempfile.mkdtemp(dir=os.environ["TEST_TMPDIR"])


def run(*flags, folder=None):
    """Runs a viommud that is expected to end by itself: its exit code and what it printed."""
    return subprocess.run([BINARY, *flags], cwd=folder or new_folder(), capture_output=True,
                          text=True, timeout=_START_SECONDS, check=False)


def _limit_files(limit):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


class Daemon:
    """A viommud that serves from construction until stop(). Use it in a `with` statement.

    Its working directory is `folder`, and its state is in state/ there, so that the relative path
    of its socket stays within what a socket's path may have, wherever the folder is. It can have
    at most `open_files` files open, if that is given, and has `environment` on top of the test's.
    `metrics` may be an address to serve them on.
    """

    def __init__(self, *flags, folder=None, metrics=False, open_files=None, environment=None):
        self.folder = folder or new_folder()
        self.state_dir = os.path.join(self.folder, "state")
        # Without, it stops at once: the metrics' web server takes up to two seconds to notice.
        metrics_address = metrics if isinstance(metrics, str) else "127.0.0.1:0" if metrics else ""
        self._stdout = self._open("stdout")
        self._stderr = self._open("stderr")
        self._process = subprocess.Popen(
            [BINARY, "--state_dir=state", f"--metrics_address={metrics_address}", *flags],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._stdout, stderr=self._stderr,
            env={**os.environ, **(environment or {})},
            preexec_fn=open_files and (lambda: _limit_files(open_files)))
        try:
            self.endpoints = self._await_endpoints()
        except BaseException:
            self._process.kill()
            self._close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        if self._process.returncode is not None:
            return
        code = self.stop()
        # What went wrong first is what the reader wants to see.
        if error is None and code != 0:
            raise AssertionError(f"viommud ended with {code}\n{self.log()}")

    @property
    def pid(self):
        return self._process.pid

    @property
    def socket(self):
        """Path of the API's socket, absolute; it may be too long to connect to as it is."""
        return self.endpoints["unix_socket"]

    @property
    def metrics_address(self):
        return self.endpoints["metrics_address"]

    def greeting(self):
        """What it tells people on its standard output, a moment after it has told programs."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            text = self._text("stdout")
            if text.endswith("\n"):
                return text  # Written and flushed as one.
            time.sleep(0.01)
        raise AssertionError(f"viommud did not greet\n{self.log()}")

    def log(self):
        """What it wrote to its standard error so far."""
        return self._text("stderr")

    def events(self):
        """Its log, line by line; a line that is no JSON object fails."""
        return [json.loads(line) for line in self.log().splitlines()]

    def signal(self, number):
        self._process.send_signal(number)

    def running(self):
        return self._process.poll() is None

    def wait(self):
        """Its exit code, when it has ended."""
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"viommud did not end\n{self.log()}") from None
        finally:
            self._close()
        return code

    def stop(self):
        """Asks it to end, and returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """Ends it without a chance to tidy up."""
        self.signal(signal.SIGKILL)
        self.wait()

    def _await_endpoints(self):
        path = os.path.join(self.state_dir, "endpoints.json")
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(
                    f"viommud ended with {self._process.returncode}\n{self.log()}")
            try:
                with open(path, encoding="utf-8") as file:
                    endpoints = json.load(file)
                # Not that of a daemon which was killed in the same folder.
                if endpoints["pid"] == self._process.pid:
                    return endpoints
            except FileNotFoundError:
                pass
            time.sleep(0.01)
        raise AssertionError(f"viommud was not ready in time\n{self.log()}")

    def _open(self, name):
        return open(os.path.join(self.folder, name), "w", encoding="utf-8")

    def _close(self):
        self._stdout.close()
        self._stderr.close()

    def _text(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()
