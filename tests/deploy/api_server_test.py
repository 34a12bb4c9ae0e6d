"""The API server of tests refuses what Kubernetes refuses, keeps objects as it keeps them, and patches
them as it does."""
import copy
import http.client
import json
import unittest

from tests.deploy import api_defaults
from tests.deploy import api_errors
from tests.deploy import api_kinds
from tests.deploy import api_server
from tests.deploy import api_store
from tests.deploy import kubernetes_schemas
from tools import case_report

POD_SPEC = {
    "volumes": [{"name": "run", "hostPath": {"path": "/run/x"}}],
    "containers": [{"name": "one", "image": "one:1", "ports": [{"name": "health", "containerPort": 80}],
                    "volumeMounts": [{"name": "run", "mountPath": "/run"}],
                    "livenessProbe": {"httpGet": {"port": "health"}}}],
}
SPECS = {
    "ConfigMap": {"data": {"file": "text"}},
    "DaemonSet": {"spec": {"selector": {"matchLabels": {"app": "one"}}, "template": {
        "metadata": {"labels": {"app": "one"}}, "spec": POD_SPEC}}},
    "Namespace": {},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "Pod": {"spec": POD_SPEC},
}
CONTAINER = ("spec", "containers", 0)
# Kind, where something is put (None: taken away), what is said of it.
REFUSED = (
    ("Pod", ("metadata", "name"), "One", "metadata.name: Invalid value: .*RFC 1123"),
    ("Pod", ("metadata", "name"), None, "metadata.name: Required value"),
    ("Pod", ("metadata", "labels"), {"-": ""}, "metadata.labels: Invalid value"),
    ("Pod", ("metadata", "labels"), {"a": "b c"}, "a valid label must be"),
    ("Pod", ("metadata", "annotations"), {"a": "b" * 300000}, "metadata.annotations: Too long"),
    ("Pod", ("metadata", "namespace"), "kube-system", "does not match the namespace sent"),
    ("Pod", ("kind",), "Service", "does not match the expected API version"),
    ("Pod", ("spec", "nothing"), 1, 'strict decoding error: unknown field "spec.nothing"'),
    ("Pod", ("spec", "hostNetwork"), "yes", "cannot be handled as a Pod: spec.hostNetwork"),
    ("Pod", ("spec", "containers"), [], "spec.containers: Required value"),
    ("Pod", ("spec", "priorityClassName"), "none", "is forbidden: no PriorityClass with name none"),
    ("Pod", ("spec", "serviceAccountName"), "none", 'forbidden: .* "none" not found'),
    ("Pod", ("spec", "nodeSelector"), {"a/b/c": ""}, "spec.nodeSelector: Invalid value"),
    ("Pod", ("spec", "terminationGracePeriodSeconds"), -1, "greater than or equal to 0"),
    ("Pod", ("spec", "tolerations"), [{"operator": "Equal"}], "operator must be Exists when `key`"),
    ("Pod", ("spec", "tolerations"), [{"operator": "Exists", "value": "a"}], "value must be empty"),
    ("Pod", ("spec", "volumes", 0, "name"), "Run", r"spec.volumes\[0\].name: Invalid value"),
    ("Pod", ("spec", "volumes", 0, "hostPath"), None, "must specify a volume type"),
    ("Pod", ("spec", "volumes", 0, "emptyDir"), {}, "may not specify more than 1 volume type"),
    ("Pod", ("spec", "volumes", 0, "hostPath", "path"), "/run/../etc", "must not contain"),
    ("Pod", ("spec", "volumes", 0, "hostPath", "type"), "Device", "hostPath.type: Unsupported value"),
    ("Pod", (*CONTAINER, "image"), None, "image: Required value"),
    ("Pod", (*CONTAINER, "image"), " one", "leading or trailing whitespace"),
    ("Pod", (*CONTAINER, "name"), None, r"spec.containers\[0\].name: Required value"),
    ("Pod", (*CONTAINER, "name"), "a.b", r"spec.containers\[0\].name: Invalid value"),
    ("Pod", ("spec", "containers"), [{"name": "a", "image": "a"}] * 2, 'name: Duplicate value: "a"'),
    ("Pod", (*CONTAINER, "ports", 0, "name"), "sixteen-letters-", "at most 15 characters"),
    ("Pod", (*CONTAINER, "ports", 0, "containerPort"), 70000, "between 1 and 65535"),
    ("Pod", (*CONTAINER, "ports"), [{"name": "health", "containerPort": 1}] * 2, "Duplicate value"),
    ("Pod", (*CONTAINER, "ports"), None, 'livenessProbe.httpGet.port: Not found: "health"'),
    ("Pod", (*CONTAINER, "livenessProbe", "exec"), {}, "may not specify more than 1 handler"),
    ("Pod", (*CONTAINER, "livenessProbe", "httpGet"), None, "must specify a handler type"),
    ("Pod", (*CONTAINER, "livenessProbe", "httpGet", "port"), 0, "between 1 and 65535"),
    ("Pod", (*CONTAINER, "livenessProbe", "periodSeconds"), -1, "periodSeconds: Invalid value"),
    ("Pod", (*CONTAINER, "livenessProbe", "successThreshold"), 2, "must be 1"),
    ("Pod", (*CONTAINER, "volumeMounts", 0, "name"), "ran", 'name: Not found: "ran"'),
    ("Pod", (*CONTAINER, "volumeMounts", 0, "mountPath"), "", "mountPath: Required value"),
    ("Pod", (*CONTAINER, "volumeMounts"), [{"name": "run", "mountPath": "/a"}] * 2, "must be unique"),
    ("Pod", (*CONTAINER, "resources"), {"limits": {"cpu": "much"}}, "must be a quantity"),
    ("Pod", (*CONTAINER, "resources"), {"limits": {"viommu.io/a": "0.5"}}, "must be an integer"),
    ("Pod", (*CONTAINER, "resources"), {"limits": {"device": 1}}, "fully qualified"),
    ("Pod", (*CONTAINER, "resources"), {"requests": {"viommu.io/a": 1}}, "equal to viommu.io/a limit"),
    ("Pod", (*CONTAINER, "securityContext"), {"privileged": True, "allowPrivilegeEscalation": False},
     "cannot set `allowPrivilegeEscalation`"),
    ("DaemonSet", ("spec", "selector"), {}, "empty selector is invalid"),
    ("DaemonSet", ("spec", "selector", "matchLabels", "app"), "two", "does not match template `labels`"),
    ("DaemonSet", ("spec", "selector", "matchExpressions"), [{"key": "b", "operator": "Exists"}],
     "does not match template `labels`"),
    ("DaemonSet", ("spec", "selector", "matchExpressions"), [{"key": "b", "operator": "Is"}],
     "not a valid selector operator"),
    ("DaemonSet", ("spec", "selector", "matchExpressions"), [{"key": "app", "operator": "In"}],
     "must be specified when `operator`"),
    ("DaemonSet", ("spec", "updateStrategy"), {"type": "Now"}, "updateStrategy.type: Unsupported value"),
    ("DaemonSet", ("spec", "template", "spec", "restartPolicy"), "Never", "restartPolicy: Unsupported"),
    ("DaemonSet", ("spec", "template", "spec", "containers", 0, "image"), "",
     r"spec.template.spec.containers\[0\].image: Required value"),
    ("ConfigMap", ("data", "a b"), "", r"data\[a b\]: Invalid value"),
    ("ConfigMap", ("data", "a"), "b" * 2**20, "data: Too long"),
    ("Namespace", ("metadata", "name"), "a.b", "RFC 1123 label"),
    ("Namespace", ("metadata", "labels"), {"pod-security.kubernetes.io/enforce": "all"}, "must be one of"),
    ("NetworkPolicy", ("spec", "policyTypes"), ["Both"], r"policyTypes\[0\]: Unsupported value"),
)


def thing(name, **metadata):
    kind = api_kinds.named(name)
    return copy.deepcopy({"apiVersion": kind.api_version, "kind": name,
                          "metadata": {"name": "one", **metadata}, **SPECS[name]})


def put(into, path, value):
    *folders, last = path
    for part in folders:
        into = into[part] if isinstance(part, int) else into.setdefault(part, {})
    if value is None:
        del into[last]
    else:
        into[last] = value


class StoreTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schemas = kubernetes_schemas.Schemas(kubernetes_schemas.VERSIONS[-1])
        cls.addClassCleanup(cls.schemas.close)

    def setUp(self):
        self.store = api_store.Store(self.schemas)

    def create(self, made, name=None, **options):
        kind = api_kinds.named(name or made["kind"])
        return self.store.create(kind, "default" if kind.namespaced else None, made, **options)

    def patch(self, name, patch, content_type=api_store.STRATEGIC_PATCHES):
        kind = api_kinds.named(name)
        return self.store.patch(kind, "default" if kind.namespaced else None, "one", content_type, patch)

    def assert_refused(self, complaint, call, *arguments):
        with self.assertRaisesRegex(api_errors.Refusal, complaint):
            call(*arguments)


class RefusesTest(StoreTest):
    def test_refuses_what_kubernetes_refuses(self):
        for name, path, value, complaint in REFUSED:
            with self.subTest(kind=name, path=path, value=str(value)[:50]):
                made = thing(name)
                put(made, path, value)
                self.assert_refused(complaint, self.create, made, name)
                self.assertEqual([], [each for each in self.store.list(api_kinds.named(name), "default")
                                      if each["metadata"]["name"] == "one"])

    def test_takes_what_the_mistakes_are_made_in(self):
        for name in SPECS:
            self.assertEqual("one", self.create(thing(name))["metadata"]["name"])

    def test_tells_all_mistakes_at_once(self):
        made = thing("Pod")
        made["spec"]["containers"][0]["image"] = ""
        made["spec"]["volumes"][0]["name"] = "ran"
        with self.assertRaises(api_errors.Refusal) as caught:
            self.create(made)
        self.assertEqual(["spec.containers[0].image", "spec.containers[0].volumeMounts[0].name"],
                         [cause["field"] for cause in caught.exception.status["details"]["causes"]])

    def test_refuses_a_namespace_that_is_not_there(self):
        self.assert_refused('namespaces "none" not found', self.store.create,
                            api_kinds.named("ConfigMap"), "none", thing("ConfigMap"))

    def test_refuses_what_is_there(self):
        self.create(thing("ConfigMap"))
        self.assert_refused('configmaps "one" already exists', self.create, thing("ConfigMap"))

    def test_leaves_unknown_fields_out_unless_it_is_strict(self):
        made = thing("Pod")
        made["spec"]["nothing"] = 1
        self.assertNotIn("nothing", self.create(made, strictly=False)["spec"])

    def test_refuses_changes_of_what_stays(self):
        for name, patch, complaint in (
                ("DaemonSet", {"spec": {"selector": {"matchLabels": {"app": "two"}}, "template": {
                    "metadata": {"labels": {"app": "two"}}}}}, "spec.selector: .* field is immutable"),
                ("DaemonSet", {"metadata": {"name": "two"}}, "metadata.name: .* immutable"),
                ("DaemonSet", {"metadata": {"uid": "two"}}, "metadata.uid: .* immutable"),
                ("DaemonSet", {"metadata": {"resourceVersion": "1"}}, "the object has been modified"),
                ("Pod", {"spec": {"hostNetwork": True}}, "pod updates may not change"),
                ("ConfigMap", {"data": {"file": "other"}}, "data: Forbidden: field is immutable")):
            with self.subTest(kind=name, patch=patch):
                made = thing(name)
                before = self.create({**made, "immutable": True} if name == "ConfigMap" else made)
                self.assert_refused(complaint, self.patch, name, patch)
                self.assertEqual(before, self.store.get(api_kinds.named(name), "default", "one"))
            self.setUp()


class KeepsTest(StoreTest):
    def test_adds_what_is_the_default(self):
        spec = self.create(thing("DaemonSet"))["spec"]
        self.assertEqual({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                         spec["updateStrategy"])
        (container,) = spec["template"]["spec"]["containers"]
        self.assertEqual("IfNotPresent", container["imagePullPolicy"])
        self.assertEqual("TCP", container["ports"][0]["protocol"])
        self.assertEqual(10, container["livenessProbe"]["periodSeconds"])
        self.assertEqual("", spec["template"]["spec"]["volumes"][0]["hostPath"]["type"])
        policy = thing("NetworkPolicy")
        policy["spec"]["ingress"] = [{"ports": [{"port": "health"}]}]
        self.assertEqual("TCP", self.create(policy)["spec"]["ingress"][0]["ports"][0]["protocol"])

    def test_writes_quantities_in_one_way(self):
        for written, kept in ((1, "1"), ("0.5", "500m"), ("1000m", "1"), ("1024Mi", "1Gi"),
                              ("1.5Ki", "1536"), ("1e3", "1k"), ("0", "0"), ("0.5Gi", "512Mi"),
                              ("1n", "1n"), ("0.1n", "1n"), ("much", "much")):
            self.assertEqual(kept, api_defaults.quantity(written), written)

    def test_does_not_keep_nothing(self):
        made = thing("NetworkPolicy")
        made["spec"].update({"egress": [], "ingress": None})
        self.assertEqual({"podSelector"}, set(self.create(made)["spec"]))

    def test_asks_for_what_a_container_may_have(self):
        made = thing("Pod")
        put(made, (*CONTAINER, "resources"), {"limits": {"viommu.io/a": 1}})
        resources = self.create(made)["spec"]["containers"][0]["resources"]
        self.assertEqual({"limits": {"viommu.io/a": "1"}, "requests": {"viommu.io/a": "1"}}, resources)

    def test_a_patch_that_changes_nothing_makes_no_version(self):
        made = self.create(thing("DaemonSet"))
        self.assertEqual(made, self.patch("DaemonSet", {"metadata": {"labels": None}}))
        changed = self.patch("DaemonSet", {"spec": {"minReadySeconds": 1}})
        self.assertNotEqual(made["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"])
        self.assertEqual(2, changed["metadata"]["generation"])

    def test_new_namespaces_have_a_service_account(self):
        self.create(thing("Namespace"))
        self.assertTrue(self.store.get(api_kinds.named("ServiceAccount"), "one", "default"))


class PatchesTest(StoreTest):
    """Of the template's pods."""

    def patched(self, patch, content_type=api_store.STRATEGIC_PATCHES):
        self.create(thing("DaemonSet"))
        whole = self.patch("DaemonSet", {"spec": {"template": {"spec": patch}}}, content_type)
        return whole["spec"]["template"]["spec"]

    def test_merges_lists_by_their_keys(self):
        pod = self.patched({"containers": [{"name": "one", "image": "one:2"},
                                           {"name": "two", "image": "two"}]})
        self.assertEqual([("one", "one:2"), ("two", "two")],
                         [(each["name"], each["image"]) for each in pod["containers"]])
        self.assertIn("livenessProbe", pod["containers"][0])

    def test_orders_lists_as_it_is_told(self):
        pod = self.patched({"$setElementOrder/containers": [{"name": "two"}, {"name": "one"}],
                            "containers": [{"name": "two", "image": "two"}]})
        self.assertEqual(["two", "one"], [each["name"] for each in pod["containers"]])

    def test_takes_items_and_fields_away(self):
        pod = self.patched({"volumes": [{"name": "run", "$patch": "delete"}],
                            "containers": [{"name": "one", "volumeMounts": None, "livenessProbe": None}]})
        self.assertNotIn("volumes", pod)
        self.assertNotIn("volumeMounts", pod["containers"][0])

    def test_replaces_what_it_is_told_to(self):
        pod = self.patched({"containers": [{"$patch": "replace"}, {"name": "two", "image": "two"}]})
        self.assertEqual(["two"], [each["name"] for each in pod["containers"]])

    def test_keeps_only_the_keys_that_are_retained(self):
        pod = self.patched({"volumes": [{"name": "run", "$retainKeys": ["name", "emptyDir"],
                                         "emptyDir": {"medium": "Memory"}}]})
        self.assertEqual([{"name": "run", "emptyDir": {"medium": "Memory"}}], pod["volumes"])

    def test_adds_lists_of_plain_values(self):
        self.create(thing("ConfigMap", finalizers=["a.io/a", "a.io/b"]))
        made = self.patch("ConfigMap", {"metadata": {
            "finalizers": ["a.io/c"], "$deleteFromPrimitiveList/finalizers": ["a.io/a"]}})
        self.assertEqual(["a.io/b", "a.io/c"], made["metadata"]["finalizers"])

    def test_replaces_lists_in_a_json_patch(self):
        pod = self.patched({"containers": [{"name": "two", "image": "two"}], "volumes": None},
                           api_store.JSON_PATCHES)
        self.assertEqual(["two"], [each["name"] for each in pod["containers"]])
        self.assertNotIn("volumes", pod)

    def test_refuses_other_patches(self):
        self.create(thing("ConfigMap"))
        self.assert_refused("unknown format", self.patch, "ConfigMap", {}, "application/apply-patch+yaml")


class HttpTest(unittest.TestCase):
    def setUp(self):
        schemas = kubernetes_schemas.Schemas(kubernetes_schemas.VERSIONS[0])
        self.addCleanup(schemas.close)
        self.api = api_server.ApiServer(schemas)
        self.addCleanup(self.api.close)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self.api.address)
        self.addCleanup(connection.close)
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def test_refusals_are_status_objects(self):
        for method, path, code in (
                ("GET", "/apis/apps/v2", 404), ("GET", "/api/v1/secrets", 404),
                ("GET", "/api/v1/nodes/none", 404), ("DELETE", "/api/v1/nodes/none", 405),
                ("GET", "/api/v1/pods?watch=true", 400),
                ("POST", "/api/v1/pods", 405), ("POST", "/api/v1/nodes", 400),
                ("POST", "/apis", 404), ("PATCH", "/api/v1/nodes", 405)):
            with self.subTest(method=method, path=path):
                status, body = self.ask(method, path, body="{" if method == "POST" else None)
                self.assertEqual(code, status)
                self.assertEqual(("Status", code), (json.loads(body)["kind"], json.loads(body)["code"]))

    def test_a_dry_run_is_refused_and_makes_nothing(self):
        node = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "dry"}})
        status, body = self.ask("POST", "/api/v1/nodes?dryRun=All", body=node)
        self.assertEqual(400, status, body)
        self.assertIn("dryRun", json.loads(body)["message"])
        self.assertEqual(404, self.ask("GET", "/api/v1/nodes/dry")[0])
        self.assertEqual(201, self.ask("POST", "/api/v1/nodes", body=node)[0])

    def test_lists_of_a_namespace_have_no_others(self):
        for path, count in (("/api/v1/serviceaccounts", 2),
                            ("/api/v1/namespaces/default/serviceaccounts", 1),
                            ("/api/v1/namespaces/none/serviceaccounts", 0)):
            self.assertEqual(count, len(json.loads(self.ask("GET", path)[1])["items"]))

    def test_what_openapi_refers_to_is_there(self):
        for path in json.loads(self.ask("GET", "/openapi/v3")[1])["paths"]:
            text = self.ask("GET", f"/openapi/v3/{path}")[1].decode()
            known = json.loads(text)["components"]["schemas"]
            for part in text.split('"$ref": "#/components/schemas/')[1:]:
                self.assertIn(part.partition('"')[0], known)

    def test_both_versions_of_openapi_say_that_fields_of_all_kinds_are_validated(self):
        version_2 = self.ask("GET", "/openapi/v2")[1]
        for kind in api_kinds.KINDS:
            self.assertRegex(version_2, b"fieldValidation[^{]*?" + json.dumps(kind.identity).encode())
            paths = json.loads(self.ask("GET", f"/openapi/v3/{kind.root}")[1])["paths"].values()
            (patch,) = [path["patch"] for path in paths
                        if path["patch"]["x-kubernetes-group-version-kind"] == kind.identity]
            self.assertIn("fieldValidation", [each["name"] for each in patch["parameters"]])


if __name__ == "__main__":
    case_report.main()
