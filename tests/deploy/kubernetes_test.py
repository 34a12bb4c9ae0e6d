"""The manifests: rendered by kubectl, checked against the schemas of Kubernetes, and compared with
what the programs in them do."""
import functools
import json
import os
import re
import shutil
import subprocess
import time
import unittest

import yaml

from tests.deploy import kubernetes_schemas
from tests.deploy import scratch
from tests.e2e import daemon
from tools import case_report

DEVICE_PLUGIN = os.path.join(scratch.ROOT, "clients", "device_plugin", "viommu-device-plugin")
OVERLAYS = ("host-iommu", "soft")
# What an object needs to name if the Kubernetes API is to be used from a pod.
RIGHTS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


# Container, what its ports begin with, its settings.
PROGRAMS = (
    ("viommud", "viommud", "viommud.textproto"),
    ("viommu-device-plugin", "plugin", "device-plugin.textproto"),
)


@functools.lru_cache(maxsize=None)
def render(overlay):
    folder = os.path.join(scratch.DEPLOY, "kubernetes", "overlays", overlay)
    # Files in the runfiles are links out of it, which kubectl does not follow.
    done = scratch.run(scratch.tool("kubectl", "kubectl"), "kustomize",
                       "--load-restrictor=LoadRestrictionsNone", folder)
    return list(yaml.safe_load_all(done.stdout))


def only(overlay, kind):
    (found,) = [each for each in render(overlay) if each["kind"] == kind]
    return found


def pod(overlay):
    return only(overlay, "DaemonSet")["spec"]["template"]["spec"]


def containers(overlay):
    return {container["name"]: container for container in pod(overlay)["containers"]}


def probes(overlay, name):
    """What the kubelet asks a container for its health."""
    return [probe["grpc"] for key, probe in containers(overlay)[name].items() if key.endswith("Probe")]


class SchemaTest(unittest.TestCase):
    def test_every_object_is_valid_in_old_and_new_versions(self):
        for version in kubernetes_schemas.VERSIONS:
            schemas = kubernetes_schemas.Schemas(version)
            self.addCleanup(schemas.close)
            for overlay in OVERLAYS:
                for thing in render(overlay):
                    self.assertEqual([], schemas.complaints(thing), (version, overlay))

    def test_mistakes_are_found(self):
        schemas = kubernetes_schemas.Schemas(kubernetes_schemas.VERSIONS[-1])
        self.addCleanup(schemas.close)
        for mistake in ({"grpcc": {"port": 1}}, {"grpc": {"port": "health"}}, {"grpc": {}}):
            thing = json.loads(json.dumps(only("soft", "DaemonSet")))
            thing["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = mistake
            self.assertNotEqual([], schemas.complaints(thing), mistake)


class ManifestTest(unittest.TestCase):
    def test_nothing_can_use_the_kubernetes_api(self):
        for overlay in OVERLAYS:
            self.assertEqual(set(), RIGHTS & {thing["kind"] for thing in render(overlay)})
            self.assertIs(False, pod(overlay)["automountServiceAccountToken"])
            self.assertIs(False, only(overlay, "ServiceAccount")["automountServiceAccountToken"])

    def test_everything_is_in_one_namespace(self):
        for overlay in OVERLAYS:
            self.assertEqual({"viommu"}, {
                thing["metadata"].get("namespace", thing["metadata"]["name"])
                for thing in render(overlay)})

    def test_it_is_not_evicted_and_runs_on_every_node(self):
        for overlay in OVERLAYS:
            self.assertEqual("system-node-critical", pod(overlay)["priorityClassName"])
            self.assertEqual([{"operator": "Exists"}], pod(overlay)["tolerations"])
            for name, container in containers(overlay).items():
                self.assertEqual({"cpu", "memory"}, set(container["resources"]["requests"]), name)

    def test_an_update_does_not_take_mappings_from_running_pods(self):
        self.assertEqual("OnDelete", only("host-iommu", "DaemonSet")["spec"]["updateStrategy"]["type"])

    def test_directories_are_mounted_and_never_a_socket(self):
        for overlay in OVERLAYS:
            for volume in pod(overlay)["volumes"]:
                host = volume.get("hostPath", {"path": "", "type": "Directory"})
                self.assertNotIn(".sock", host["path"])
                self.assertIn(host["type"], ("Directory", "DirectoryOrCreate", "CharDevice"), volume)
            for container in containers(overlay).values():
                for mount in container["volumeMounts"]:
                    self.assertNotIn("subPath", mount)

    def test_every_mount_has_its_volume_and_every_volume_a_mount(self):
        for overlay in OVERLAYS:
            mounted = {mount["name"] for container in containers(overlay).values()
                       for mount in container["volumeMounts"]}
            self.assertEqual({volume["name"] for volume in pod(overlay)["volumes"]}, mounted)

    def test_only_the_host_s_iommu_needs_privileges(self):
        for overlay in OVERLAYS:
            for name, container in containers(overlay).items():
                context = container["securityContext"]
                self.assertIs(True, context["readOnlyRootFilesystem"], name)
                if overlay == "host-iommu" and name == "viommud":
                    # Kubernetes refuses a privileged container that may not gain privileges.
                    self.assertEqual({"privileged": True, "readOnlyRootFilesystem": True}, context)
                    continue
                self.assertNotIn("privileged", context, name)
                self.assertIs(False, context["allowPrivilegeEscalation"], name)
                self.assertEqual({"drop": ["ALL"]}, context["capabilities"], name)

    def test_the_host_s_iommu_is_asked_for_and_the_soft_one_runs_anywhere(self):
        paths = {mount["mountPath"]: mount for mount in containers("host-iommu")["viommud"][
            "volumeMounts"]}
        self.assertIn("/dev/iommu", paths)
        self.assertIn("/dev/vfio", paths)
        linux = {"kubernetes.io/os": "linux"}
        self.assertEqual({**linux, "viommu.io/host-iommu": "true"}, pod("host-iommu")["nodeSelector"])
        self.assertEqual(linux, pod("soft")["nodeSelector"])
        self.assertFalse(any("/dev" in mount["mountPath"]
                             for mount in containers("soft")["viommud"]["volumeMounts"]))

    def test_pod_security_lets_directories_of_the_host_in_without_a_word(self):
        for overlay in OVERLAYS:
            labels = only(overlay, "Namespace")["metadata"]["labels"]
            self.assertEqual({"audit": "privileged", "enforce": "privileged", "warn": "privileged"}, {
                key.partition("pod-security.kubernetes.io/")[2]: value
                for key, value in labels.items() if key.startswith("pod-security.")})

    def test_images_have_a_tag(self):
        for overlay in OVERLAYS:
            for container in containers(overlay).values():
                self.assertRegex(container["image"], r"^[\w./-]+:[\w.]+$")
                self.assertNotIn(":latest", container["image"])

    def test_released_images_are_those_of_this_version(self):
        version = daemon.run("--version").stdout.split()[1]
        for container in containers("host-iommu").values():
            self.assertTrue(container["image"].endswith(":" + version), container["image"])


class PortsTest(unittest.TestCase):
    """What listens in the pod, and what is said of it."""

    def test_probes_and_ports_are_where_the_programs_listen(self):
        for overlay in OVERLAYS:
            settings = only(overlay, "ConfigMap")["data"]
            for name, prefix, file in PROGRAMS:
                ports = {port["name"]: port["containerPort"]
                         for port in containers(overlay)[name]["ports"]}
                for setting in ("health", "metrics"):
                    listens = re.search(rf'^{setting}_address: "0\.0\.0\.0:(\d+)"$', settings[file],
                                        re.MULTILINE)
                    self.assertEqual(int(listens[1]), ports[f"{prefix}-{setting}"])
                for probe in probes(overlay, name):
                    self.assertEqual(ports[f"{prefix}-health"], probe["port"])

    def test_no_port_is_taken_twice(self):
        for overlay in OVERLAYS:
            ports = [port["containerPort"] for container in containers(overlay).values()
                     for port in container["ports"]]
            self.assertEqual(len(ports), len(set(ports)))

    def test_other_pods_reach_metrics_only(self):
        for overlay in OVERLAYS:
            ((ports,),) = [rule.values() for rule in only(overlay, "NetworkPolicy")["spec"]["ingress"]]
            self.assertEqual({f"{prefix}-metrics" for _, prefix, _ in PROGRAMS},
                             {port["port"] for port in ports})

    def test_each_program_reads_its_settings(self):
        for overlay in OVERLAYS:
            for name, _, file in PROGRAMS:
                self.assertIn(f"--config=/etc/viommu/{file}", containers(overlay)[name]["args"])


class ViommudTest(unittest.TestCase):
    """The daemon starts with the settings that it gets in a pod, and answers the probes."""

    def settings(self, overlay):
        config = only(overlay, "ConfigMap")["data"]["viommud.textproto"]
        folder = daemon.new_folder()
        with open(os.path.join(folder, "viommud.textproto"), "w", encoding="utf-8") as file:
            file.write(config)
        return config, folder

    def flags(self, overlay):
        """As in the pod, but for the file's place and for addresses that are surely free here."""
        container = containers(overlay)["viommud"]
        self.assertEqual(["/usr/sbin/viommud"], container["command"])
        flags = [flag for flag in container["args"] if not flag.startswith("--config=")]
        return [*flags, "--config=viommud.textproto", "--health_address=127.0.0.1:0",
                "--unix_socket=viommud.sock", "--listener_dir="]

    def test_it_serves_and_answers_every_probe(self):
        for overlay in OVERLAYS:
            _, folder = self.settings(overlay)
            with daemon.Daemon(*self.flags(overlay), folder=folder) as served:
                self.assertEqual(3, len(probes(overlay, "viommud")))
                for probe in probes(overlay, "viommud"):
                    self.assertEqual("SERVING", scratch.health(
                        served.endpoints["health_address"], probe.get("service", "")))

    def test_its_directories_are_mounted(self):
        for overlay in OVERLAYS:
            config, _ = self.settings(overlay)
            mounted = [mount["mountPath"] for mount in containers(overlay)["viommud"]["volumeMounts"]]
            for setting in ("unix_socket", "state_dir", "listener_dir"):
                path = re.search(rf'^{setting}: "(.*)"$', config, re.MULTILINE)[1]
                self.assertTrue(path in mounted or os.path.dirname(path) in mounted, path)

    def test_it_has_time_to_finish_what_runs(self):
        with daemon.Daemon() as served:
            served.stop()
            drain = next(event for event in served.events() if event["event"] == "drain")
        for overlay in OVERLAYS:
            self.assertGreater(pod(overlay)["terminationGracePeriodSeconds"],
                               drain["timeout_seconds"] + 2)


class DevicePluginTest(unittest.TestCase):
    """The sidecar starts with the settings that it gets in a pod, and knows what probes ask for."""

    def test_it_answers_every_probe(self):
        for overlay in OVERLAYS:
            folder = scratch.new_folder()
            self.addCleanup(shutil.rmtree, folder)
            with open(os.path.join(folder, "device-plugin.textproto"), "w", encoding="utf-8") as file:
                file.write(only(overlay, "ConfigMap")["data"]["device-plugin.textproto"])
            arguments = [flag for flag in containers(overlay)["viommu-device-plugin"]["args"]
                         if not flag.startswith("--config=")]
            with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
                plugin = subprocess.Popen(
                    [DEVICE_PLUGIN, "--config=device-plugin.textproto", *arguments,
                     "--viommud_socket=/none.sock", f"--device_plugin_dir={folder}",
                     "--pod_resources_dir=",
                     "--metrics_address=", "--health_address=127.0.0.1:0"],
                    cwd=folder, stdout=log, stderr=log)
            try:
                port = self.health_port(os.path.join(folder, "log"), plugin)
                told = {probe["service"]: scratch.health(f"127.0.0.1:{port}", probe["service"])
                        for probe in probes(overlay, "viommu-device-plugin")}
            finally:
                plugin.terminate()
                self.assertEqual(0, plugin.wait(scratch.SECONDS))
            # There is no kubelet here that it could be ready for.
            self.assertEqual({"liveness": "SERVING", "readiness": "NOT_SERVING"}, told)

    def health_port(self, path, plugin):
        deadline = time.monotonic() + scratch.SECONDS
        while time.monotonic() < deadline and plugin.poll() is None:
            with open(path, encoding="utf-8") as file:
                for line in file.read().splitlines():
                    if '"event":"serving"' in line:
                        return json.loads(line)["health_port"]
            time.sleep(0.01)
        with open(path, encoding="utf-8") as file:
            raise AssertionError("the device plugin does not serve\n" + file.read())

    def test_only_devices_of_a_host_are_files(self):
        modes = {overlay: [flag for flag in containers(overlay)["viommu-device-plugin"]["args"]
                           if flag.startswith("--mode")] for overlay in OVERLAYS}
        self.assertEqual({"host-iommu": ["--mode=cdev"], "soft": []}, modes)

    def test_it_shares_the_directory_of_viommud_s_sockets(self):
        for overlay in OVERLAYS:
            ((volume, path),) = {(mount["name"], mount["mountPath"])
                                 for container in containers(overlay).values()
                                 for mount in container["volumeMounts"]
                                 if mount["mountPath"] == "/run/viommu"}
            (host,) = [each["hostPath"]["path"] for each in pod(overlay)["volumes"]
                       if each["name"] == volume]
            self.assertEqual(path, host)  # As the kubelet mounts what the plugin names.


if __name__ == "__main__":
    case_report.main()
