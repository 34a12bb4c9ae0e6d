"""What the API server of tests says of its API as OpenAPI: of version 3 everything, of version 2 as
much as kubectl wants to know before it lets a server judge the fields of an object."""
import json

from tests.deploy import api_kinds

_FIELD_VALIDATION = "fieldValidation"


def root():
    """Where the documents of version 3 are."""
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in api_kinds.ROOTS}}


def of_group(path, schemas):
    """The document of version 3 about what is served below a path."""
    kinds = [kind for kind in api_kinds.KINDS if kind.root == path]
    wanted = [schemas.definition_of(kind.group, kind.version, kind.name) for kind in kinds]
    found = {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _translated(schemas.definitions[name], wanted)
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": schemas.version},
            "paths": {_object_path(kind): {"patch": _patch(kind)} for kind in kinds},
            "components": {"schemas": found}}


def _object_path(kind):
    return f"/{kind.root}{'/namespaces/{namespace}' if kind.namespaced else ''}/{kind.plural}/{{name}}"


def _patch(kind):
    return {"x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind.identity,
            "parameters": [{"in": "query", "name": _FIELD_VALIDATION, "schema": {"type": "string"}}],
            "responses": {"200": {"description": "OK"}}}


def _translated(schema, wanted):
    """A JSON schema as OpenAPI has it. Adds to `wanted` what it refers to."""
    if isinstance(schema, list):
        return [_translated(each, wanted) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        wanted.append(name)
        return {**schema, "$ref": f"#/components/schemas/{name}"}
    out = {key: _translated(value, wanted) for key, value in schema.items()
           if not (key == "additionalProperties" and value is False)}
    if isinstance(schema.get("type"), list):  # [the type, "null"]
        out["type"] = schema["type"][0]
    return out


def version_2():
    """The document of version 2, as protobuf (gnostic's openapi.v2.Document)."""
    paths = b"".join(
        _field(2, _text(1, _object_path(kind)) + _field(2, _field(7, _patch_2(kind))))
        for kind in api_kinds.KINDS)
    return _text(1, "2.0") + _field(8, paths)


def _patch_2(kind):
    """An Operation: its parameter, as query parameter, and the kind that it is of."""
    parameter = _text(2, "query") + _text(4, _FIELD_VALIDATION) + _text(6, "string")
    identity = _text(2, json.dumps(kind.identity))  # JSON is YAML.
    return (_field(8, _field(1, _field(2, _field(3, parameter))))
            + _field(13, _text(1, "x-kubernetes-group-version-kind") + _field(2, identity)))


def _text(number, value):
    return _field(number, value.encode())


def _field(number, value):
    """A field of protobuf whose value has a length."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))
