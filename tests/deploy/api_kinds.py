"""The kinds of objects that the API server of tests knows, and how clients learn of them."""
import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Kind:
    group: str
    version: str
    name: str
    plural: str
    namespaced: bool

    @property
    def api_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self):
        """Where its group is served."""
        return f"apis/{self.api_version}" if self.group else f"api/{self.version}"

    @property
    def full_name(self):
        """As in what is said of an object: DaemonSet.apps."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def full_plural(self):
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def identity(self):
        return {"group": self.group, "version": self.version, "kind": self.name}


# Those that deploy/kubernetes and documents have, and nodes. What else there is in Kubernetes is
# unknown here, as it is in a cluster that is too old for it.
KINDS = (
    Kind("", "v1", "ConfigMap", "configmaps", True),
    Kind("", "v1", "Namespace", "namespaces", False),
    Kind("", "v1", "Node", "nodes", False),
    Kind("", "v1", "Pod", "pods", True),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", True),
    Kind("apps", "v1", "DaemonSet", "daemonsets", True),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True),
)
ROOTS = sorted({kind.root for kind in KINDS})
_VERBS = ["create", "get", "list", "patch"]
_PATH = re.compile(r"(?P<root>api/v1|apis/[^/]+/[^/]+)"
                   r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
                   r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?")


def named(name):
    (kind,) = [kind for kind in KINDS if kind.name == name]
    return kind


def find(path):
    """(kind, namespace, name) of a path without its first slash, or None where nothing is served."""
    parts = _PATH.fullmatch(path)
    for kind in KINDS if parts else ():
        if (kind.root, kind.plural) == (parts["root"], parts["plural"]):
            if bool(parts["namespace"]) <= kind.namespaced:
                return kind, parts["namespace"], parts["name"]
    return None


def discovery(path):
    """What is answered below /api and /apis about what there is, or None."""
    if path == "api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "apis":
        groups = sorted({kind.group for kind in KINDS if kind.group})
        return {"kind": "APIGroupList", "apiVersion": "v1",
                "groups": [_group(group) for group in groups]}
    if path in ROOTS:
        return {"kind": "APIResourceList", "apiVersion": "v1",
                "groupVersion": path.partition("/")[2],
                "resources": [_resource(kind) for kind in KINDS if kind.root == path]}
    return None


def _group(group):
    versions = [{"groupVersion": version, "version": version.rpartition("/")[2]}
                for version in sorted({kind.api_version for kind in KINDS if kind.group == group})]
    return {"name": group, "versions": versions, "preferredVersion": versions[-1]}


def _resource(kind):
    return {"name": kind.plural, "singularName": kind.name.lower(), "namespaced": kind.namespaced,
            "kind": kind.name, "verbs": _VERBS}
