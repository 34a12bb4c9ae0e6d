"""The commands of kubectl that documents show, run by a real kubectl as a reader would: each in the
order of its document, in a checkout, against an API server of the test's own."""
import itertools
import json
import os
import re
import shutil
import unittest

from tests.deploy import api_kinds
from tests.deploy import api_server
from tests.deploy import kubectl_commands
from tests.deploy import kubernetes_schemas
from tests.deploy import offered
from tests.deploy import scratch
from tests.e2e import daemon
from tools import case_report

SOFT, HOST_IOMMU, ALLOCATABLE, POD = kubectl_commands.RUN
OVERLAYS = {"soft": SOFT, "host-iommu": HOST_IOMMU}
DAEMON_SET = api_kinds.named("DaemonSet")
# What every node has, whoever runs there.
NODE_S_OWN = {"cpu": "2", "ephemeral-storage": "10Gi", "memory": "8Gi", "pods": "110"}
VIOMMUCTL = os.path.join(scratch.ROOT, "clients", "viommuctl", "viommuctl")
DEVICE = "0000:81:00.0"
# What kubectl notes in an object that it applies.
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def document(path):
    with open(os.path.join(scratch.ROOT, path), encoding="utf-8") as file:
        return file.read()


class Reader:
    """Somebody with a checkout and a cluster, until close()."""

    def __init__(self, schemas):
        self.folder = scratch.new_folder()
        # Without links, which kubectl does not follow out of a kustomization.
        shutil.copytree(os.path.join(scratch.DEPLOY, "kubernetes"),
                        os.path.join(self.folder, "deploy", "kubernetes"))
        os.mkdir(os.path.join(self.folder, "bin"))
        os.symlink(scratch.tool("kubectl", "kubectl"), os.path.join(self.folder, "bin", "kubectl"))
        self.api = api_server.ApiServer(schemas)
        self._environment = {
            "HOME": self.folder, "KUBECONFIG": self.api.kubeconfig(self.folder),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def close(self):
        self.api.close()
        shutil.rmtree(self.folder)

    def run(self, command, check=True):
        """What a command of a document prints; that it warns of something is a mistake."""
        done = scratch.run("bash", "-c", command, check=check, cwd=self.folder, env=self._environment)
        if check and done.stderr:
            raise AssertionError(f"{command}\n{done.stderr}")
        return done

    def objects(self):
        """{kind/name: object} of what has been applied."""
        found = {}
        for kind in api_kinds.KINDS:
            for thing in self.api.store.list(kind):
                if APPLIED in thing["metadata"].get("annotations", {}):
                    found[f"{kind.full_name.lower()}/{thing['metadata']['name']}"] = thing
        return found

    def change(self, path, old, new):
        """Edits a manifest."""
        path = os.path.join(self.folder, "deploy", "kubernetes", path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if old not in text:
            raise AssertionError(f"{path} has no {old}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new, 1))


def told(output):
    """{object: what happened to it} of what `kubectl apply` prints."""
    return dict(line.split(" ") for line in output.splitlines())


def config_map(things):
    """That of the applied objects which the DaemonSet mounts."""
    volumes = things["daemonset.apps/viommu"]["spec"]["template"]["spec"]["volumes"]
    (name,) = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    return things[f"configmap/{name}"]["data"]


def spec_of_daemon_set(reader):
    return reader.api.store.get(DAEMON_SET, "viommu", "viommu")["spec"]


class KubectlTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schemas = {version: kubernetes_schemas.Schemas(version)
                       for version in kubernetes_schemas.VERSIONS}

    @classmethod
    def tearDownClass(cls):
        for schemas in cls.schemas.values():
            schemas.close()

    def reader(self, version=kubernetes_schemas.VERSIONS[0]):
        reader = Reader(self.schemas[version])
        self.addCleanup(reader.close)
        return reader


class DocumentsTest(KubectlTest):
    def test_every_command_that_is_shown_is_run_here(self):
        shown = [command for path in kubectl_commands.DOCUMENTS
                 for command in kubectl_commands.shown(document(path))]
        self.assertEqual(set(kubectl_commands.RUN), set(shown))

    def test_versions_are_those_that_are_tried_out(self):
        (kubectl, cluster) = re.search(r"kubectl (1\.\d+) or newer.*?Kubernetes (1\.\d+) or newer",
                                       document("docs/DEPLOYMENT.md"), re.S).groups()
        self.assertIn(f"\nreadonly KUBECTL_VERSION={kubectl}\n", document("dev"))
        self.assertIn(f"\tk8s.io/kubectl v0.{kubectl.partition('.')[2]}.", document("tools/kubectl/go.mod"))
        self.assertEqual(f"v{cluster}.0", kubernetes_schemas.VERSIONS[0])

    def test_deployment(self):
        """Each overlay in clusters of its own, an old and a new one."""
        commands = kubectl_commands.shown(document("docs/DEPLOYMENT.md"))
        self.assertEqual([SOFT, HOST_IOMMU], commands)
        for command, version in itertools.product(commands, kubernetes_schemas.VERSIONS):
            with self.subTest(command=command, version=version):
                reader = self.reader(version)
                first = told(reader.run(command).stdout)
                self.assertEqual(set(reader.objects()), set(first))
                self.assertEqual({"created"}, set(first.values()))
                self.assertEqual(5, len(first))
                writes = len(reader.api.writes)
                again = told(reader.run(command).stdout)
                self.assertEqual(dict.fromkeys(first, "unchanged"), again)
                self.assertEqual(writes, len(reader.api.writes))

    def test_kubernetes(self):
        """From nothing to a pod with a device."""
        text = document("docs/KUBERNETES.md")
        self.assertEqual([SOFT, ALLOCATABLE, POD], kubectl_commands.shown(text))
        reader = self.reader()
        reader.run(SOFT)
        self._the_plugin_gets_the_file_that_is_shown(text, reader)
        allocatable = self._node_offers_what_the_plugin_does(reader)
        printed = reader.run(ALLOCATABLE).stdout
        self.assertEqual({**NODE_S_OWN, **allocatable}, json.loads(printed))
        shown = re.findall(r'`("viommu\.io/\w+":"\d+")`', text)
        self.assertEqual(len(allocatable), len(shown))
        for resource in shown:
            self.assertIn(resource, printed)
        self._the_pod_is_made(text, reader, allocatable)

    def _the_plugin_gets_the_file_that_is_shown(self, text, reader):
        (shown,) = kubectl_commands.fences(text, "textproto")
        applied = config_map(reader.objects())["device-plugin.textproto"]
        self.assertEqual(shown, re.sub(r"(?m)^#.*\n", "", applied))

    def _node_offers_what_the_plugin_does(self, reader):
        """What a kubelet writes into its node of resources that a plugin has."""
        healthy, ailing = offered.devices(config_map(reader.objects()))
        self.assertEqual(set(), ailing, "an alert for ever, for whoever only tries it out")
        allocatable = {resource: str(count) for resource, count in healthy.items()}
        reader.api.store.create(api_kinds.named("Node"), None, {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"},
            "status": {"allocatable": {**NODE_S_OWN, **allocatable}}})
        return allocatable

    def _the_pod_is_made(self, text, reader, allocatable):
        for name, content in kubectl_commands.files(text).items():
            with open(os.path.join(reader.folder, name), "w", encoding="utf-8") as file:
                file.write(content)
        self.assertEqual({"pod/vmm": "created"}, told(reader.run(POD).stdout))
        pod = reader.api.store.get(api_kinds.named("Pod"), "default", "vmm")
        # kubectl takes 1 and "1" for different amounts, the server for the same.
        reader.run(POD)
        self.assertEqual(pod, reader.api.store.get(api_kinds.named("Pod"), "default", "vmm"))
        (container,) = pod["spec"]["containers"]
        ((resource, count),) = container["resources"]["limits"].items()
        self.assertLessEqual(int(count), int(allocatable[resource]))
        # The variables that the document goes on with have the last part of its name.
        variable = f"VIOMMU_{resource.partition('/')[2].upper()}"
        (socket,) = re.findall(rf"`{variable}_SOCKET` \| `(\S+)` \|", text)
        (domain,) = re.findall(rf"`{variable}_DOMAINS` \| `domains/(\S+)`", text)
        self.assertIn(f"of a device attached to `{domain}`", text)
        self._its_log_has_a_line(container["command"], socket, domain)

    def _its_log_has_a_line(self, command, socket, domain):
        """As the device plugin does it, an operator makes the listener and a claim; what else the
        container is given is its own."""
        with daemon.Daemon(daemon.LISTENERS) as served:
            def viommuctl(target, *words):
                return scratch.run(VIOMMUCTL, "--target", target, *words, cwd=served.folder).stdout
            viommuctl("state/viommud.sock", "create", "listener", "pod")
            viommuctl("state/viommud.sock", "claim", DEVICE, "--owner", "pod")
            own = "listeners/pod/viommu.sock"
            viommuctl(own, "create", "ioas", "main")
            viommuctl(own, "create", "domain", domain, "--ioas", "main", "--device", DEVICE)
            viommuctl(own, "attach", DEVICE, domain)
            self.assertEqual(["viommuctl", "--target", socket], command[:3])
            heading, line = viommuctl(own, *command[3:]).splitlines()
        self.assertEqual([DEVICE, domain], [line.split()[heading.split().index(column)]
                                            for column in ("DEVICE", "DOMAIN")])


class OverlaysTest(KubectlTest):
    @classmethod
    def setUpClass(cls):
        """`specs`: of the DaemonSet that each makes; `last`: whoever applied the last one."""
        super().setUpClass()
        cls.specs = {}
        for name, command in OVERLAYS.items():
            cls.last = Reader(cls.schemas[kubernetes_schemas.VERSIONS[-1]])
            cls.addClassCleanup(cls.last.close)
            cls.last.run(command)
            cls.specs[name] = spec_of_daemon_set(cls.last)

    def test_they_differ_as_is_said(self):
        self.assertEqual({"soft": "RollingUpdate", "host-iommu": "OnDelete"},
                         {name: spec["updateStrategy"]["type"] for name, spec in self.specs.items()})
        pods = {name: spec["template"]["spec"] for name, spec in self.specs.items()}
        linux = {"kubernetes.io/os": "linux"}
        self.assertEqual({"soft": linux, "host-iommu": {**linux, "viommu.io/host-iommu": "true"}},
                         {name: pod["nodeSelector"] for name, pod in pods.items()})
        viommud = {name: pod["containers"][0] for name, pod in pods.items()}
        self.assertEqual({"soft": "viommud:dev", "host-iommu": f"viommud:{self._version()}"},
                         {name: container["image"] for name, container in viommud.items()})
        mounts = {name: {mount["mountPath"] for mount in container["volumeMounts"]}
                  for name, container in viommud.items()}
        self.assertEqual({"/dev/iommu", "/dev/vfio"}, mounts["host-iommu"] ^ mounts["soft"])

    def test_one_may_be_applied_over_the_other(self):
        """What patches make of it is what is made from nothing."""
        changed = told(self.last.run(SOFT).stdout)
        self.assertEqual("configured", changed.pop("daemonset.apps/viommu"))
        self.assertEqual(["created", *["unchanged"] * 3], sorted(changed.values()))
        self.assertEqual(self.specs["soft"], spec_of_daemon_set(self.last))
        self.last.run(HOST_IOMMU)
        # Where pods have been replaced one by one, the server remembers how.
        back = spec_of_daemon_set(self.last)
        back["updateStrategy"].pop("rollingUpdate")
        self.assertEqual(self.specs["host-iommu"], back)

    def _version(self):
        return daemon.run("--version").stdout.split()[1]


# File of deploy/kubernetes, what it says, what it would say, what kubectl tells then.
MISTAKES = (
    ("base/daemonset.yaml", "periodSeconds: 5", "period: 5",
     r'unknown field "spec\.template\.spec\.containers\[0\]\.readinessProbe\.period"'),
    ("base/daemonset.yaml", "name: config\n              mountPath", "name: konfig\n              mountPath",
     r'spec\.template\.spec\.containers\[0\]\.volumeMounts\[0\]\.name: Not found: "konfig"'),
    ("base/kustomization.yaml", "  - namespace.yaml\n", "", r'namespaces "viommu" not found'),
    ("base/daemonset.yaml", "selector: {}", "selector: {matchLabels: {app: other}}",
     "`selector` does not match template `labels`"),
    ("base/networkpolicy.yaml", "kind: NetworkPolicy", "kind: NetworkPolice", "no matches for kind"),
)


class MistakesTest(KubectlTest):
    def test_kubectl_tells_of_mistakes_in_manifests(self):
        for path, old, new, complaint in MISTAKES:
            with self.subTest(path=path, new=new):
                reader = self.reader()
                reader.change(path, old, new)
                done = reader.run(SOFT, check=False)
                self.assertEqual(1, done.returncode, done.stdout)
                self.assertRegex(done.stderr, complaint)

    def test_a_selector_stays_as_it_is(self):
        reader = self.reader()
        reader.run(SOFT)
        before = spec_of_daemon_set(reader)
        reader.change("base/kustomization.yaml", "app.kubernetes.io/name: viommu",
                      "app.kubernetes.io/name: viommud")
        done = reader.run(SOFT, check=False)
        self.assertEqual(1, done.returncode, done.stdout)
        self.assertRegex(done.stderr, r"spec\.selector: .*field is immutable")
        self.assertEqual(before, spec_of_daemon_set(reader))


if __name__ == "__main__":
    case_report.main()
