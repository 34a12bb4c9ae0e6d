"""What Kubernetes refuses in a pod, or in a template of pods, that its schemas do not say.

Rules yield "PATH: KIND OF MISTAKE: ..." as the API server words it.
"""
import json
import re

from tests.deploy import api_defaults
from tests.deploy import api_names

_PROBES = {"livenessProbe", "readinessProbe", "startupProbe"}
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File",
                    "FileOrCreate", "Socket")
_STANDARD_RESOURCE = re.compile(r"cpu|memory|ephemeral-storage|hugepages-.+")
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def mistakes(spec, path):
    volumes = spec.get("volumes", [])
    yield from _names(volumes, f"{path}.volumes")
    for index, volume in enumerate(volumes):
        yield from _volume(volume, f"{path}.volumes[{index}]")
    known = {volume["name"] for volume in volumes}
    if not spec.get("containers"):
        yield f"{path}.containers: Required value"
    for field in ("initContainers", "containers"):
        yield from _names(spec.get(field, []), f"{path}.{field}")
        for index, container in enumerate(spec.get(field, [])):
            yield from _container(container, known, f"{path}.{field}[{index}]")
    for index, toleration in enumerate(spec.get("tolerations", [])):
        yield from _toleration(toleration, f"{path}.tolerations[{index}]")
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        yield _invalid(f"{path}.terminationGracePeriodSeconds",
                       spec["terminationGracePeriodSeconds"], "must be greater than or equal to 0")
    yield from api_names.label_mistakes(spec.get("nodeSelector", {}), f"{path}.nodeSelector")


def _invalid(path, value, why):
    return f"{path}: Invalid value: {json.dumps(value)}: {why}"


def _names(things, path):
    seen = set()
    for index, thing in enumerate(things):
        why = api_names.label_name_mistake(thing["name"])
        if why:
            yield _invalid(f"{path}[{index}].name", thing["name"], why)
        if thing["name"] in seen:
            yield f'{path}[{index}].name: Duplicate value: {json.dumps(thing["name"])}'
        seen.add(thing["name"])


def _volume(volume, path):
    sources = sorted(set(volume) - {"name"})
    if len(sources) != 1:
        yield (f"{path}: Required value: must specify a volume type" if not sources else
               f"{path}.{sources[1]}: Forbidden: may not specify more than 1 volume type")
    host = volume.get("hostPath")
    if host is not None:
        if ".." in host["path"].split("/"):
            yield _invalid(f"{path}.hostPath.path", host["path"], "must not contain '..'")
        if host.get("type", "") not in _HOST_PATH_TYPES:
            yield (f"{path}.hostPath.type: Unsupported value: {json.dumps(host['type'])}: "
                   f"supported values: {', '.join(map(json.dumps, _HOST_PATH_TYPES))}")


def _container(container, volumes, path):
    if not container.get("image"):
        yield f"{path}.image: Required value"
    elif container["image"] != container["image"].strip():
        yield _invalid(f"{path}.image", container["image"],
                       "must not have leading or trailing whitespace")
    yield from _ports(container.get("ports", []), f"{path}.ports")
    yield from _mounts(container.get("volumeMounts", []), volumes, f"{path}.volumeMounts")
    ports = {port.get("name") for port in container.get("ports", [])}
    for field in sorted(_PROBES & set(container)):
        yield from _probe(field, container[field], ports, f"{path}.{field}")
    yield from _resources(container.get("resources", {}), f"{path}.resources")
    context = container.get("securityContext", {})
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        yield _invalid(f"{path}.securityContext", context,
                       "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")


def _ports(ports, path):
    seen = set()
    for index, port in enumerate(ports):
        name = port.get("name")
        if name is not None and not _PORT_NAME.fullmatch(name):
            yield _invalid(f"{path}[{index}].name", name, "must be at most 15 characters: lower case "
                           "letters, of which there is one, digits and single hyphens between them")
        if name is not None and name in seen:
            yield f"{path}[{index}].name: Duplicate value: {json.dumps(name)}"
        seen.add(name)
        yield from _port_number(port["containerPort"], f"{path}[{index}].containerPort")


def _port_number(number, path):
    if not 1 <= number <= 65535:
        yield _invalid(path, number, "must be between 1 and 65535, inclusive")


def _mounts(mounts, volumes, path):
    seen = set()
    for index, mount in enumerate(mounts):
        if mount["name"] not in volumes:
            yield f"{path}[{index}].name: Not found: {json.dumps(mount['name'])}"
        if not mount["mountPath"]:
            yield f"{path}[{index}].mountPath: Required value"
        if mount["mountPath"] in seen:
            yield _invalid(f"{path}[{index}].mountPath", mount["mountPath"], "must be unique")
        seen.add(mount["mountPath"])


def _probe(field, probe, port_names, path):
    handlers = [handler for handler in _HANDLERS if handler in probe]
    if len(handlers) != 1:
        yield (f"{path}: Required value: must specify a handler type" if not handlers else
               f"{path}.{handlers[1]}: Forbidden: may not specify more than 1 handler type")
    for handler in handlers:
        port = probe[handler].get("port")
        if isinstance(port, int):
            yield from _port_number(port, f"{path}.{handler}.port")
        elif port is not None and port not in port_names:
            # The API server leaves this to the kubelet, whose probe fails then for ever.
            yield f"{path}.{handler}.port: Not found: {json.dumps(port)}"
    for number in ("failureThreshold", "periodSeconds", "successThreshold", "timeoutSeconds"):
        if probe.get(number, 0) < 0:
            yield _invalid(f"{path}.{number}", probe[number], "must be greater than or equal to 0")
    if field != "readinessProbe" and probe.get("successThreshold", 1) not in (0, 1):
        yield _invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _resources(resources, path):
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _amount(name, str(amount), f"{path}.{field}[{name}]")
    for name in requests:
        if not _STANDARD_RESOURCE.fullmatch(name) and requests[name] != limits.get(name):
            yield _invalid(f"{path}.requests", requests[name], f"must be equal to {name} limit")


def _amount(name, amount, path):
    if not api_defaults.QUANTITY.fullmatch(amount) or amount.startswith("-"):
        yield _invalid(path, amount, "must be a quantity of 0 or more")
    if _STANDARD_RESOURCE.fullmatch(name):
        return
    why = api_names.qualified_name_mistake(name)
    if why or "/" not in name:
        yield _invalid(path, name, why or "must be a standard resource type or fully qualified")
    if not amount.isdigit():
        yield _invalid(path, amount, "must be an integer")


def _toleration(toleration, path):
    exists = toleration.get("operator") == "Exists"
    if exists and toleration.get("value"):
        yield _invalid(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
    if not toleration.get("key") and not exists:
        yield _invalid(f"{path}.operator", toleration.get("operator", ""),
                       "operator must be Exists when `key` is empty, which means \"match all "
                       "values and all keys\"")
