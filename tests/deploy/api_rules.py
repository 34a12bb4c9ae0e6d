"""What Kubernetes' API server refuses in an object although its schema allows it.

Functions yield "PATH: KIND OF MISTAKE: ..." as the API server words it.
"""
import json
import re

from tests.deploy import api_names
from tests.deploy import api_pod_rules

_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_CONFIG_BYTES = 1024 * 1024
_ANNOTATION_BYTES = 256 * 1024
_POD_SECURITY = re.compile(r"pod-security\.kubernetes\.io/(enforce|audit|warn)")
_POD_SECURITY_LEVELS = ("privileged", "baseline", "restricted")


def mistakes(thing):
    """Of an object by itself."""
    yield from _metadata(thing["metadata"], _NAMES.get(thing["kind"], api_names.subdomain_mistake))
    yield from _RULES.get(thing["kind"], lambda _: ())(thing)


def changes_refused(old, new):
    """Of what an object becomes."""
    yield from _CHANGES.get(new["kind"], lambda *_: ())(old, new)


def _metadata(metadata, name_mistake):
    if not metadata.get("name"):
        yield "metadata.name: Required value: name or generateName is required"
    elif name_mistake(metadata["name"]):
        yield (f"metadata.name: Invalid value: {json.dumps(metadata['name'])}: "
               f"{name_mistake(metadata['name'])}")
    yield from api_names.label_mistakes(metadata.get("labels", {}), "metadata.labels")
    annotations = metadata.get("annotations", {})
    yield from api_names.label_mistakes(dict.fromkeys(annotations, ""), "metadata.annotations")
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATION_BYTES:
        yield f"metadata.annotations: Too long: must have at most {_ANNOTATION_BYTES} bytes"


def _config_map(thing):
    for key in thing.get("data", {}):
        if not _CONFIG_KEY.fullmatch(key) or key in (".", ".."):
            yield (f"data[{key}]: Invalid value: {json.dumps(key)}: a valid config key must consist of "
                   "alphanumeric characters, '-', '_' or '.'")
    if sum(map(len, thing.get("data", {}).values())) > _CONFIG_BYTES:
        yield f"data: Too long: must have at most {_CONFIG_BYTES} bytes"


def _daemon_set(thing):
    spec = thing["spec"]
    labels = spec["template"].get("metadata", {}).get("labels", {})
    yield from _selector(spec["selector"], "spec.selector")
    if not spec["selector"]:
        yield "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"
    elif not _selects(spec["selector"], labels):
        yield (f"spec.template.metadata.labels: Invalid value: {json.dumps(labels)}: "
               "`selector` does not match template `labels`")
    yield from api_names.label_mistakes(labels, "spec.template.metadata.labels")
    template = spec["template"]["spec"]
    yield from api_pod_rules.mistakes(template, "spec.template.spec")
    if template.get("restartPolicy", "Always") != "Always":
        yield ("spec.template.spec.restartPolicy: Unsupported value: "
               f'{json.dumps(template["restartPolicy"])}: supported values: "Always"')
    strategy = spec.get("updateStrategy", {}).get("type", "RollingUpdate")
    if strategy not in ("OnDelete", "RollingUpdate"):
        yield (f"spec.updateStrategy.type: Unsupported value: {json.dumps(strategy)}: "
               'supported values: "OnDelete", "RollingUpdate"')


def _namespace(thing):
    for key, value in thing["metadata"].get("labels", {}).items():
        if _POD_SECURITY.fullmatch(key) and value not in _POD_SECURITY_LEVELS:
            yield (f"metadata.labels[{key}]: Invalid value: {json.dumps(value)}: must be one of "
                   + ", ".join(_POD_SECURITY_LEVELS))


def _network_policy(thing):
    spec = thing["spec"]
    yield from _selector(spec.get("podSelector", {}), "spec.podSelector")
    for index, kind in enumerate(spec.get("policyTypes", ())):
        if kind not in ("Egress", "Ingress"):
            yield (f"spec.policyTypes[{index}]: Unsupported value: {json.dumps(kind)}: "
                   'supported values: "Egress", "Ingress"')


def _pod(thing):
    yield from api_pod_rules.mistakes(thing["spec"], "spec")


def _selector(selector, path):
    yield from api_names.label_mistakes(selector.get("matchLabels", {}), f"{path}.matchLabels")
    for index, wanted in enumerate(selector.get("matchExpressions", ())):
        path_of = f"{path}.matchExpressions[{index}]"
        if wanted["operator"] not in _OPERATORS:
            yield (f"{path_of}.operator: Invalid value: {json.dumps(wanted['operator'])}: "
                   "not a valid selector operator")
        elif bool(wanted.get("values")) != (wanted["operator"] in ("In", "NotIn")):
            yield (f"{path_of}.values: Invalid value: {json.dumps(wanted.get('values', []))}: must be "
                   "specified when `operator` is 'In' or 'NotIn', and only then")


_OPERATORS = {
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
}


def _selects(selector, labels):
    """Whether pods with such labels are selected; unknown operators are told of elsewhere."""
    return (all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
            and all(_OPERATORS[wanted["operator"]](labels.get(wanted["key"]), wanted.get("values", ()))
                    for wanted in selector.get("matchExpressions", ())
                    if wanted["operator"] in _OPERATORS))


def _daemon_set_change(old, new):
    if old["spec"]["selector"] != new["spec"]["selector"]:
        yield (f"spec.selector: Invalid value: {json.dumps(new['spec']['selector'])}: "
               "field is immutable")


def _config_map_change(old, new):
    if old.get("immutable"):
        for field in ("binaryData", "data", "immutable"):
            if old.get(field) != new.get(field):
                yield f"{field}: Forbidden: field is immutable when `immutable` is set"


def _pod_change(old, new):
    def but_images(pod):
        return {**pod["spec"], "containers": [{**each, "image": ""}
                                              for each in pod["spec"]["containers"]]}

    if but_images(old) != but_images(new):
        yield ("spec: Forbidden: pod updates may not change fields other than "
               "`spec.containers[*].image`")


_NAMES = {"Namespace": api_names.label_name_mistake}
_RULES = {"ConfigMap": _config_map, "DaemonSet": _daemon_set, "Namespace": _namespace,
          "NetworkPolicy": _network_policy, "Pod": _pod}
_CHANGES = {"ConfigMap": _config_map_change, "DaemonSet": _daemon_set_change, "Pod": _pod_change}
