"""The manifests: rendered by kustomize, checked against the schemas of Kubernetes, and compared with
what the programs in them do."""
import functools
import glob
import json
import os
import re
import unittest
import zipfile

import jsonschema
import yaml

from tests.deploy import scratch
from tests.e2e import daemon
from tools import case_report

OVERLAYS = ("host-iommu", "soft")
# The oldest that has probes of gRPC for good, and the newest that there are schemas of.
VERSIONS = ("v1.27.0", "v1.37.0")
# What an object needs to name if the Kubernetes API is to be used from a pod.
RIGHTS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


@functools.lru_cache(maxsize=None)
def render(overlay):
    folder = os.path.join(scratch.DEPLOY, "kubernetes", "overlays", overlay)
    # Files in the runfiles are links out of it, which kustomize does not follow.
    done = scratch.run(scratch.tool("kustomize", "kustomize"), "build",
                       "--load-restrictor=LoadRestrictionsNone", folder)
    return list(yaml.safe_load_all(done.stdout))


def only(overlay, kind):
    (found,) = [each for each in render(overlay) if each["kind"] == kind]
    return found


def pod(overlay):
    return only(overlay, "DaemonSet")["spec"]["template"]["spec"]


def containers(overlay):
    return {container["name"]: container for container in pod(overlay)["containers"]}


class Schemas:
    """Those of one version of Kubernetes, strict: an unknown field is a mistake."""

    def __init__(self, version):
        (wheel,) = glob.glob(scratch.tool("kubernetes") + "/kubernetes_validate-*.whl")
        self._zip = zipfile.ZipFile(wheel)
        self._folder = f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict/"
        # They call each other by their names, some of them below an address that is not asked.
        def by_name(uri):
            return self._read(uri.rpartition("/")[2])

        self._resolver = jsonschema.RefResolver("file:///", {},
                                                handlers={"file": by_name, "https": by_name})

    def complaints(self, thing):
        group, _, version = thing["apiVersion"].rpartition("/")
        parts = [thing["kind"].lower(), group.split(".")[0], version]
        schema = self._read("-".join(part for part in parts if part) + ".json")
        validator = jsonschema.Draft7Validator(schema, resolver=self._resolver)
        return [f"{thing['kind']}/{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
                for error in validator.iter_errors(thing)]

    def close(self):
        self._zip.close()

    def _read(self, name):
        return json.loads(self._zip.read(self._folder + name))


class SchemaTest(unittest.TestCase):
    def test_every_object_is_valid_in_old_and_new_versions(self):
        for version in VERSIONS:
            schemas = Schemas(version)
            self.addCleanup(schemas.close)
            for overlay in OVERLAYS:
                for thing in render(overlay):
                    self.assertEqual([], schemas.complaints(thing), (version, overlay))

    def test_mistakes_are_found(self):
        schemas = Schemas(VERSIONS[-1])
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
        self.assertTrue(pod("host-iommu")["nodeSelector"])
        self.assertNotIn("nodeSelector", pod("soft"))
        self.assertFalse(any("/dev" in mount["mountPath"]
                             for mount in containers("soft")["viommud"]["volumeMounts"]))

    def test_images_have_a_tag(self):
        for overlay in OVERLAYS:
            for container in containers(overlay).values():
                self.assertRegex(container["image"], r"^[\w./-]+:[\w.]+$")
                self.assertNotIn(":latest", container["image"])

    def test_released_images_are_those_of_this_version(self):
        version = daemon.run("--version").stdout.split()[1]
        for container in containers("host-iommu").values():
            self.assertTrue(container["image"].endswith(":" + version), container["image"])


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
                "--unix_socket=viommud.sock"]

    def test_it_serves_and_answers_every_probe(self):
        for overlay in OVERLAYS:
            _, folder = self.settings(overlay)
            with daemon.Daemon(*self.flags(overlay), folder=folder) as served:
                probes = [probe for key, probe in containers(overlay)["viommud"].items()
                          if key.endswith("Probe")]
                self.assertEqual(3, len(probes))
                for probe in probes:
                    self.assertEqual("SERVING", scratch.health(
                        served.endpoints["health_address"], probe["grpc"].get("service", "")))

    def test_probes_and_ports_are_where_it_listens(self):
        for overlay in OVERLAYS:
            config, _ = self.settings(overlay)
            ports = {port["name"]: port["containerPort"]
                     for port in containers(overlay)["viommud"]["ports"]}
            for setting in ("health", "metrics"):
                listens = re.search(rf'^{setting}_address: "0\.0\.0\.0:(\d+)"$', config, re.MULTILINE)
                self.assertEqual(int(listens[1]), ports[f"viommud-{setting}"])
            for key, probe in containers(overlay)["viommud"].items():
                if key.endswith("Probe"):
                    self.assertEqual(ports["viommud-health"], probe["grpc"]["port"])
            annotations = only(overlay, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
            self.assertEqual(str(ports["viommud-metrics"]), annotations["prometheus.io/port"])

    def test_its_directories_are_mounted(self):
        for overlay in OVERLAYS:
            config, _ = self.settings(overlay)
            mounted = [mount["mountPath"] for mount in containers(overlay)["viommud"]["volumeMounts"]]
            for setting in ("unix_socket", "state_dir"):
                path = re.search(rf'^{setting}: "(.*)"$', config, re.MULTILINE)[1]
                self.assertTrue(path in mounted or os.path.dirname(path) in mounted, path)
            self.assertIn("--config=/etc/viommu/viommud.textproto",
                          containers(overlay)["viommud"]["args"])

    def test_it_has_time_to_finish_what_runs(self):
        with daemon.Daemon() as served:
            served.stop()
            drain = next(event for event in served.events() if event["event"] == "drain")
        for overlay in OVERLAYS:
            self.assertGreater(pod(overlay)["terminationGracePeriodSeconds"],
                               drain["timeout_seconds"] + 2)


if __name__ == "__main__":
    case_report.main()
