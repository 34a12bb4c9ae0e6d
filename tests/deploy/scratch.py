"""A root file system of a test's own, made of Debian packages, and what runs in it."""
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from tests.e2e import grpcurl

ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
DEPLOY = os.path.join(ROOT, "deploy")
# Also enough on a machine that compiles meanwhile.
SECONDS = 120

# Bazel gives tests a PATH without the tools of an administrator.
os.environ["PATH"] = "/usr/sbin:/sbin:" + os.environ["PATH"]

# Who is not root is it within a user namespace of its own.
AS_ROOT = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]


def tool(*path):
    """Path of what ./dev setup has put into .tools. Where it can not, the test is skipped."""
    tools = os.environ.get("VIOMMU_TOOLS")
    if tools and os.path.exists(os.path.join(tools, *path)):
        return os.path.join(tools, *path)
    if not on_debian_12():
        raise unittest.SkipTest(f"no {'/'.join(path)}, which ./dev sets up on Debian 12 only")
    raise AssertionError(f"no {'/'.join(path)}: run the tests with ./dev test")


def on_debian_12():
    """As ./dev finds it out."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return False
    return (system["ID"], system.get("VERSION_ID")) == ("debian", "12")


def run(*command, check=True, **options):
    """Runs a command that ends soon; its result, with text."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False,
                          **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def new_folder():
    """A folder of the test's own with a short path, so that a socket's fits."""
    return tempfile.mkdtemp(prefix="v")


def install(*variables, check=True):
    """deploy/install of the programs under test."""
    return run(os.path.join(DEPLOY, "install"), ROOT, *variables, check=check)


def programs():
    """What the installation has of Bazel's: where it is built -> where it is installed."""
    with open(os.path.join(DEPLOY, "layout.txt"), encoding="utf-8") as file:
        return dict(re.findall(r"^bin:(\S+) +0755 (\S+)$", file.read(), re.MULTILINE))


def packages():
    """The packages of the images, as the recipe names them."""
    with open(os.path.join(DEPLOY, "container", "packages.txt"), encoding="utf-8") as file:
        return [line.strip() for line in file if not line.startswith("#")]


def health(address, service=""):
    """What a probe of Kubernetes is told at a health endpoint, which has no reflection."""
    done = run(grpcurl.binary(), "-plaintext", "-import-path", "proto",
               "-proto", "grpc/health/v1/health.proto", "-d", json.dumps({"service": service}),
               address, "grpc.health.v1.Health/Check", cwd=ROOT)
    return json.loads(done.stdout)["status"]


def await_endpoints(state_dir, process):
    """What a viommud that was just started says of itself, once it serves."""
    path = os.path.join(state_dir, "endpoints.json")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise AssertionError("viommud does not serve")


class Scratch:
    """A root file system as deploy/container/rootfs makes it. Removed by close()."""

    def __init__(self):
        self.path = new_folder()
        run(os.path.join(DEPLOY, "container", "rootfs"), tool("debs"), self.path)
        # Container engines bring a /dev; of it this is what a program here opens.
        os.mkdir(self.find("dev"))
        with open(self.find("dev", "null"), "w", encoding="utf-8"):
            pass

    def close(self):
        shutil.rmtree(self.path)

    def find(self, *path):
        return os.path.join(self.path, *path)

    def read(self, *path):
        with open(self.find(*path), encoding="utf-8") as file:
            return file.read()

    def command(self, *command, user=None):
        """The words that run a command inside; as `user`, "ID:ID", where that is possible."""
        as_user = [f"--userspec={user}"] if user and not AS_ROOT else []
        return [*AS_ROOT, "chroot", *as_user, self.path, *command]

    def run(self, *command, check=True, user=None):
        return run(*self.command(*command, user=user), check=check)


class Served:
    """A viommud that serves inside a Scratch. Use it in a `with` statement."""

    def __init__(self, scratch, *command, user=None, state_dir="/var/lib/viommu"):
        self._log = open(scratch.find("tmp", "log"), "w+", encoding="utf-8")
        environment = {"PATH": os.environ["PATH"], "STATE_DIRECTORY": state_dir}
        self._process = subprocess.Popen(scratch.command(*command, user=user), env=environment,
                                         stdout=self._log, stderr=self._log)
        try:
            self.endpoints = await_endpoints(scratch.find(state_dir.lstrip("/")), self._process)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._text()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(SECONDS)
        text = self._text()
        self._log.close()
        if code != 0:
            raise AssertionError(f"viommud ended with {code}\n{text}")

    def owner(self):
        """The user that it runs as."""
        return os.stat(f"/proc/{self._process.pid}").st_uid

    def health(self, service=""):
        return health(self.endpoints["health_address"], service)

    def _text(self):
        self._log.seek(0)
        return self._log.read()
