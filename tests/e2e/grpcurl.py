"""Calls viommud with the real grpcurl and takes its answers apart."""
import json
import os
import shutil
import subprocess
import threading

# A call that takes longer is stuck.
_CALL_SECONDS = 60

# grpcurl's exit code for a status is 64 more than the status code.
_STATUS_EXIT = 64

_CODES = [
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
]

# The code of an answer that never came from a server: grpcurl refused the request, or found nobody.
NO_STATUS = "NO_STATUS"


def binary():
    """Path of grpcurl: ./dev says where it is; otherwise it is on PATH."""
    path = os.environ.get("VIOMMU_GRPCURL") or shutil.which("grpcurl")
    if not path:
        raise AssertionError("no grpcurl: set VIOMMU_GRPCURL, or run the tests with ./dev test")
    return path


def _json_values(text):
    """The JSON values that stand one behind the other in `text`."""
    decoder = json.JSONDecoder()
    values, position = [], 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        values.append(value)
    return values


class Failure:
    """A google.rpc.Status in JSON, as grpcurl prints it and mapping streams carry it."""

    def __init__(self, status):
        self.code = _CODES[status["code"]]
        self.text = status.get("message", "")
        self.details = {detail["@type"].rpartition(".")[2]: detail
                        for detail in status.get("details", [])}
        info = self.details.get("ErrorInfo", {})
        self.reason = info.get("reason", "")
        self.domain = info.get("domain", "")
        self.metadata = info.get("metadata", {})

    @property
    def fields(self):
        """The fields that BadRequest names."""
        return [violation["field"]
                for violation in self.details.get("BadRequest", {}).get("field_violations", [])]

    @property
    def subjects(self):
        """What PreconditionFailure names as being in the way."""
        violations = self.details.get("PreconditionFailure", {}).get("violations", [])
        return [violation.get("subject", "") for violation in violations]


class Answer:
    """How one run of grpcurl ended."""

    def __init__(self, exit_code, stdout, stderr):
        self.messages = _json_values(stdout)  # A half message is no JSON, and raises.
        self.failure = None
        self.code = "OK"
        self.text = stderr
        if exit_code >= _STATUS_EXIT:
            self.failure = Failure(json.loads(stderr))
            self.code, self.text = self.failure.code, self.failure.text
        elif exit_code != 0:
            self.code = NO_STATUS

    @property
    def message(self):
        """The answer of a unary call that went well."""
        if self.code != "OK":
            details = self.failure.details if self.failure else {}
            raise AssertionError(f"{self.code}: {self.text}\n{json.dumps(details, indent=1)}")
        (message,) = self.messages
        return message


class Stream:
    """A call that is still open: messages go in with send() and are read with receive()."""

    def __init__(self, command, folder):
        self._process = subprocess.Popen(command, cwd=folder, text=True, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._decoder = json.JSONDecoder()

    def send(self, *messages):
        for message in messages:
            self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def close(self):
        """Sends no more. A call that takes one message only starts with this."""
        self._process.stdin.close()
        self._process.stdin = None  # communicate() must not close it again.

    def receive(self):
        """The next answer; grpcurl ends each with a line that is its closing brace or all of it."""
        watchdog = threading.Timer(_CALL_SECONDS, self._process.kill)
        watchdog.start()
        try:
            text = ""
            for line in self._process.stdout:
                text += line
                if line.rstrip() in ("}", "{}"):
                    return self._decoder.decode(text)
        finally:
            watchdog.cancel()
        raise AssertionError("the stream has ended: " + self._process.stderr.read())

    def finish(self):
        """Sends no more, and returns the rest of the answers and how the call ended."""
        stdout, stderr = self._process.communicate(timeout=_CALL_SECONDS)
        return Answer(self._process.returncode, stdout, stderr)

    def kill(self):
        self._process.kill()
        self._process.communicate()


class Client:
    """Calls one daemon. Thread-safe; every call is a grpcurl of its own."""

    def __init__(self, daemon):
        # Relative to a working directory: the absolute path may be too long for a socket.
        self._folder, self._socket = os.path.split(daemon.socket)
        self._target = ["-unix", self._socket]

    @classmethod
    def over_tcp(cls, daemon):
        client = cls(daemon)
        client._target = [daemon.endpoints["tcp_address"]]
        return client

    @classmethod
    def of_tenant(cls, daemon, owner):
        """Over the tenant's socket, with daemon.LISTENERS."""
        client = cls(daemon)
        client._folder = daemon.folder
        client._target = ["-unix", f"listeners/{owner}/viommu.sock"]
        return client

    def call(self, method, request=None, flags=()):
        """Calls "HostService/GetHost" or the like, with a request that is a dict, ready JSON text,
        or a list of dicts for a stream. The empty list sends nothing."""
        messages = request if isinstance(request, list) else [request or {}]
        text = request if isinstance(request, str) else "\n".join(map(json.dumps, messages))
        return Answer(*self._run(self._command(method, flags), text))

    def get(self, method, request=None):
        """The answer of a unary call that has to go well."""
        return self.call(method, request).message

    def print(self, method, request):
        """What a person sees of a unary call."""
        command = [part for part in self._command(method, ()) if part != "-format-error"]
        _, stdout, stderr = self._run(command, json.dumps(request))
        return stdout + stderr

    def open(self, method, flags=()):
        return Stream(self._command(method, flags), self._folder)

    def listing(self, *symbol):
        """The lines of `grpcurl list`."""
        exit_code, stdout, stderr = self._run(
            [binary(), "-plaintext", *self._target, "list", *symbol], "")
        if exit_code != 0:
            raise AssertionError(stderr)
        return stdout.split()

    def _command(self, method, flags):
        full = method if method.startswith("grpc.") else "viommu.v1." + method
        return [binary(), "-plaintext", "-format-error", *flags, "-d", "@", *self._target, full]

    def _run(self, command, text):
        done = subprocess.run(command, cwd=self._folder, input=text, capture_output=True, text=True,
                              timeout=_CALL_SECONDS, check=False)
        return done.returncode, done.stdout, done.stderr
