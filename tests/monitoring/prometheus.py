"""Runs the real Prometheus and promtool. ./dev test says where they are."""
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

_START_SECONDS = 60
_STOP_SECONDS = 60
_QUERY_SECONDS = 30
# It evaluates hours of rules: half a minute of a core that it may have to share.
_PROMTOOL_SECONDS = 300
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


def program(name):
    """Path of prometheus or promtool."""
    tools = os.environ.get("VIOMMU_TOOLS")
    path = shutil.which(name, path=tools and os.path.join(tools, "prometheus"))
    if not path:
        raise AssertionError(f"no {name}: set VIOMMU_TOOLS to the folder whose prometheus/ has it, "
                             "or run the tests with ./dev test")
    return path


def promtool(*arguments, folder):
    """What promtool prints; that it finds fault is an error."""
    done = subprocess.run([program("promtool"), *arguments], cwd=folder, capture_output=True,
                          text=True, timeout=_PROMTOOL_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"promtool {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


class Prometheus:
    """A server that serves from construction until the end of a `with` statement.

    Its working directory is `folder`, which holds its configuration, prometheus.yaml.
    """

    def __init__(self, folder):
        self._log_path = os.path.join(folder, "prometheus.log")
        self._log = open(self._log_path, "w", encoding="utf-8")
        self._process = subprocess.Popen(
            [program("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data",
             "--web.listen-address=127.0.0.1:0"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            self._address = self._await_address()
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._log.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._log.close()

    def query(self, expression):
        """[(labels, value)] of an expression now."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def rules(self):
        """Every rule of every group, as the API tells it."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def firing(self):
        """Labels of the alerts that fire."""
        return [alert["labels"] for alert in self._get("alerts")["alerts"]
                if alert["state"] == "firing"]

    def _get(self, what, **parameters):
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=_QUERY_SECONDS) as answer:
            return json.load(answer)["data"]

    def _await_address(self):
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with open(self._log_path, encoding="utf-8") as file:
                log = file.read()
            if "Server is ready" in log:
                return _LISTENING.search(log).group(1)
            time.sleep(0.05)
        raise AssertionError(f"Prometheus did not start\n{log}")
