"""What Kubernetes' API server adds to an object before it keeps it, and how it writes quantities.

Not all of it: what is added to the kinds of objects, volumes and probes that deploy/kubernetes and
documents have.
"""
import fractions
import re

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_POD = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler", "securityContext": {}}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
              "resources": {}}
_FILES = {"defaultMode": 0o644}
_VOLUMES = {"configMap": _FILES, "emptyDir": {}, "hostPath": {"type": ""}, "secret": _FILES}
_ROLLING_UPDATE = {"maxUnavailable": 1, "maxSurge": 0}
QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_PARTS = re.compile(r"([+-]?[\d.]+)(.*)")
_BINARY = {f"{letter}i": 1024 ** power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": fractions.Fraction(1, 10**9), "u": fractions.Fraction(1, 10**6),
            "m": fractions.Fraction(1, 1000), "": 1, "k": 10**3, "M": 10**6, "G": 10**9,
            "T": 10**12, "P": 10**15, "E": 10**18}


def complete(thing):
    """Adds to an object that has passed its schema, in place. What it breaks of other rules is left."""
    _COMPLETE.get(thing["kind"], lambda _: None)(thing)


def quantity(amount):
    """As the server writes it: a whole number with the largest suffix of its family. What is no
    quantity stays as it is."""
    if not QUANTITY.fullmatch(str(amount)):
        return amount
    number, suffix = _PARTS.fullmatch(str(amount)).groups()
    if re.fullmatch(r"[eE][+-]?\d+", suffix):
        number, suffix = number + suffix, ""
    factors = _BINARY if suffix in _BINARY else _DECIMAL
    value = fractions.Fraction(number) * factors[suffix]
    for suffix, factor in sorted({"": 1, **factors}.items(), key=lambda item: -item[1]):
        if value % factor == 0:
            return f"{value // factor}{suffix if value else ''}"
    return f"{-(-value // factors['n'])}n"  # Finer than that there is nothing: it is rounded up.


def _add(thing, more):
    for key, value in more.items():
        thing.setdefault(key, value.copy() if isinstance(value, dict) else value)


def _pod_spec(spec):
    _add(spec, _POD)
    if "serviceAccountName" in spec:
        _add(spec, {"serviceAccount": spec["serviceAccountName"]})
    for volume in spec.get("volumes", ()):
        for source, more in _VOLUMES.items():
            if source in volume:
                _add(volume[source], more)
    for field in ("initContainers", "containers"):
        for container in spec.get(field, ()):
            _container(container)


def _container(container):
    _add(container, _CONTAINER)
    tag = container.get("image", "").rpartition("/")[2].partition(":")[2]
    _add(container, {"imagePullPolicy": "IfNotPresent" if tag not in ("", "latest") else "Always"})
    for port in container.get("ports", ()):
        _add(port, {"protocol": "TCP"})
    for field in _PROBES:
        if field in container:
            _add(container[field], _PROBE)
            if "grpc" in container[field]:
                _add(container[field]["grpc"], {"service": ""})
    resources = container["resources"]
    for field in ("limits", "requests"):
        for name in resources.get(field, ()):
            resources[field][name] = quantity(resources[field][name])
    if "limits" in resources:
        _add(resources.setdefault("requests", {}), resources["limits"])


def _pod(pod):
    _add(pod["spec"], {"enableServiceLinks": True, "serviceAccountName": "default"})
    _pod_spec(pod["spec"])
    _add(pod, {"status": {"phase": "Pending"}})


def _daemon_set(thing):
    spec = thing["spec"]
    _add(spec, {"revisionHistoryLimit": 10, "updateStrategy": {}})
    _add(spec["updateStrategy"], {"type": "RollingUpdate"})
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _add(spec["updateStrategy"], {"rollingUpdate": _ROLLING_UPDATE})
    _pod_spec(spec["template"]["spec"])


def _namespace(thing):
    _add(thing["metadata"], {"labels": {}})
    thing["metadata"]["labels"]["kubernetes.io/metadata.name"] = thing["metadata"].get("name", "")
    _add(thing, {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})


def _network_policy(thing):
    for direction in ("ingress", "egress"):
        for rule in thing["spec"].get(direction, ()):
            for port in rule.get("ports", ()):
                _add(port, {"protocol": "TCP"})


_COMPLETE = {"DaemonSet": _daemon_set, "Namespace": _namespace, "NetworkPolicy": _network_policy,
             "Pod": _pod}
