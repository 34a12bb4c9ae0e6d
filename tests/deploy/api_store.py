"""The objects of a cluster of tests: made, patched and read by the rules of Kubernetes' API.

Nothing acts on them: there are no pods of a DaemonSet. What controllers make together with a
namespace is there, and what a cluster has from its beginning.
"""
import copy
import datetime
import uuid

from tests.deploy import api_decoding
from tests.deploy import api_defaults
from tests.deploy import api_errors
from tests.deploy import api_kinds
from tests.deploy import api_merge
from tests.deploy import api_rules

_PRIORITY_CLASSES = ("system-cluster-critical", "system-node-critical")
# What only the server writes.
_SERVERS_OWN = ("creationTimestamp", "generation", "resourceVersion", "uid")
JSON_PATCHES = "application/merge-patch+json"
STRATEGIC_PATCHES = "application/strategic-merge-patch+json"


class Store:
    """Objects are never changed once they are kept: what is returned is a copy. Refusals are
    raised, and leave everything as it was."""

    def __init__(self, schemas):
        self._schemas = schemas
        self._strategic = api_merge.Strategic(schemas.definitions)
        self._objects = {}  # (kind, namespace, name) -> object
        self._version = 0
        for name in ("default", "kube-system"):
            self.create(api_kinds.named("Namespace"), None, {
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def get(self, kind, namespace, name):
        if (kind, namespace, name) not in self._objects:
            raise api_errors.not_found(kind, name)
        return copy.deepcopy(self._objects[kind, namespace, name])

    def list(self, kind, namespace=None):
        """Of a namespace, or of all."""
        return [copy.deepcopy(thing) for (of, place, _), thing in sorted(
            self._objects.items(), key=lambda item: (item[0][0].name, item[0][1] or "", item[0][2]))
                if of == kind and namespace in (None, place)]

    @property
    def version(self):
        return str(self._version)

    def create(self, kind, namespace, thing, strictly=True):
        thing = api_decoding.decode(thing, kind, self._schemas, strictly)
        metadata = thing.setdefault("metadata", {})
        self._place(kind, namespace, metadata)
        for field in _SERVERS_OWN:
            metadata.pop(field, None)
        name = metadata.get("name", "")
        api_defaults.complete(thing)
        self._check(kind, name, api_rules.mistakes(thing))
        if (kind, namespace, name) in self._objects:
            raise api_errors.already_exists(kind, name)
        self._admit(kind, namespace, thing)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = datetime.datetime.now(datetime.timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%SZ")
        if "spec" in thing:
            metadata["generation"] = 1
        self._keep(kind, namespace, thing)
        if kind.name == "Namespace":
            self._furnish(name)
        return self.get(kind, namespace, name)

    def patch(self, kind, namespace, name, content_type, patch, strictly=True):
        old = self.get(kind, namespace, name)
        new = api_decoding.decode(self._patched(kind, old, content_type, patch), kind,
                                  self._schemas, strictly)
        if new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise api_errors.conflict(kind, name)
        for field in ("name", "namespace", *_SERVERS_OWN):
            if new["metadata"].get(field) != old["metadata"].get(field):
                self._check(kind, name, [f"metadata.{field}: Invalid value: field is immutable"])
        api_defaults.complete(new)
        self._check(kind, name, api_rules.mistakes(new))
        self._check(kind, name, api_rules.changes_refused(old, new))
        if new != old:
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
            self._keep(kind, namespace, new)
        return self.get(kind, namespace, name)

    def _patched(self, kind, old, content_type, patch):
        if content_type == JSON_PATCHES:
            return api_merge.merge(copy.deepcopy(old), patch)
        if content_type == STRATEGIC_PATCHES:
            name = self._schemas.definition_of(kind.group, kind.version, kind.name)
            return self._strategic.apply(copy.deepcopy(old), patch, name)
        raise api_errors.unsupported_type(content_type)

    def _place(self, kind, namespace, metadata):
        """An object is made in the namespace that the request names, which exists."""
        if kind.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise api_errors.bad_request("the namespace of the provided object does not match the "
                                             "namespace sent on the request")
            self.get(api_kinds.named("Namespace"), None, namespace)
        elif metadata.pop("namespace", None):
            raise api_errors.bad_request("namespace may not be set on a resource of the cluster")

    def _check(self, kind, name, mistakes):
        mistakes = list(mistakes)
        if mistakes:
            raise api_errors.invalid(kind, name, mistakes)

    def _admit(self, kind, namespace, thing):
        """What admission plug-ins ask of a pod, which is made at once."""
        if kind.name != "Pod":
            return
        spec, name = thing["spec"], thing["metadata"]["name"]
        account = spec["serviceAccountName"]
        if (api_kinds.named("ServiceAccount"), namespace, account) not in self._objects:
            raise api_errors.forbidden(kind, name, "error looking up service account "
                                       f'{namespace}/{account}: serviceaccount "{account}" not found')
        if spec.get("priorityClassName", _PRIORITY_CLASSES[0]) not in _PRIORITY_CLASSES:
            raise api_errors.forbidden(
                kind, name, f'no PriorityClass with name {spec["priorityClassName"]} was found')

    def _furnish(self, namespace):
        """What controllers put into a new namespace."""
        kind = api_kinds.named("ServiceAccount")
        self.create(kind, namespace, {"apiVersion": "v1", "kind": kind.name,
                                      "metadata": {"name": "default"}})

    def _keep(self, kind, namespace, thing):
        self._version += 1
        thing["metadata"]["resourceVersion"] = self.version
        self._objects[kind, namespace, thing["metadata"]["name"]] = thing
