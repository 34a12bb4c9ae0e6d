"""The configuration for a cluster finds the containers of the manifests, and calls them right.

Debian's Prometheus can not ask Kubernetes. So it is given what that would say of pods; which of
them it keeps, and what it calls them, is its own doing.
"""
import json
import os
import re
import unittest

from tests.monitoring import watched
from tools import case_report

_BASE = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "deploy", "kubernetes",
                     "base")
_ASKED = """kubernetes_sd_configs: &pods
      - role: pod
        namespaces:
          names: [viommu]
"""
_ASKED_AGAIN = "kubernetes_sd_configs: *pods"
_CONTAINER_PORT = re.compile(r"- name: (\S+)\n +containerPort: \d+$", re.M)
_JOB = re.compile(r"^  - job_name: (\S+)$", re.M)


def manifest(name):
    with open(os.path.join(_BASE, name), encoding="utf-8") as file:
        return file.read()


def pod(number, node, phase="Running"):
    """What Kubernetes would say of the ports of a pod; nothing listens there."""
    return [{"targets": [f"127.0.0.{number}:{1 + i}"],
             "labels": {"__meta_kubernetes_pod_container_port_name": port,
                        "__meta_kubernetes_pod_node_name": node,
                        "__meta_kubernetes_pod_phase": phase}}
            for i, port in enumerate(_CONTAINER_PORT.findall(manifest("daemonset.yaml")))]


class KubernetesTest(unittest.TestCase):
    def test_both_programs_of_a_pod_that_runs_are_called_after_its_node(self):
        pods = [*pod(1, "node-a"), *pod(2, "node-b", phase="Failed"), *pod(3, "node-c", "Pending")]
        self.assertEqual(12, len(pods))
        found = self.enterContext(watched.watch_as("prometheus-kubernetes.yaml", {
            _ASKED: f"static_configs: &pods {json.dumps(pods)}\n",
            _ASKED_AGAIN: "static_configs: *pods"}))
        wanted = {("viommud", "node-a"), ("viommu-device-plugin", "node-a"),
                  ("viommud", "node-c"), ("viommu-device-plugin", "node-c")}
        seen = watched.eventually(lambda: len(found.query("up")) == len(wanted) and found.query("up"))
        self.assertEqual(sorted(wanted), sorted(
            (labels["job"], labels["instance"]) for labels, _ in seen or found.query("up")))

    def test_pods_are_looked_for_where_the_manifests_put_them(self):
        self.assertIn("\nnamespace: viommu\n", manifest("kustomization.yaml"))
        self.assertIn("names: [viommu]\n", watched.text("prometheus-kubernetes.yaml"))

    def test_jobs_are_called_as_the_alerts_know_them(self):
        self.assertEqual(_JOB.findall(watched.text("prometheus.yaml")),
                         _JOB.findall(watched.text("prometheus-kubernetes.yaml")))


if __name__ == "__main__":
    case_report.main()
