"""Patches of Kubernetes' API: JSON merge patches, and strategic ones, which know what lists are of."""

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETED = "$deleteFromPrimitiveList/"


def merge(current, patch):
    """A JSON merge patch: null takes away, and a list takes the place of a list."""
    if not isinstance(patch, dict):
        return patch
    out = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


class Strategic:
    """Strategic merge patches by the `definitions` of schemas, which say by which key of its items
    a list is merged. What no schema is known of is merged as JSON is."""

    def __init__(self, definitions):
        self._definitions = definitions

    def apply(self, current, patch, definition):
        return self._object(current, patch, self._definitions[definition])

    def _object(self, current, patch, schema):
        if patch.get(_DIRECTIVE) == "replace":
            return {key: value for key, value in patch.items() if key != _DIRECTIVE}
        if patch.get(_DIRECTIVE) == "delete":
            return {}
        out = dict(current) if isinstance(current, dict) else {}
        if _RETAIN in patch:
            out = {key: value for key, value in out.items() if key in patch[_RETAIN]}
        for key, value in patch.items():
            if key.startswith(_DELETED):
                field = key[len(_DELETED):]
                out[field] = [each for each in out.get(field, ()) if each not in value]
        for key, value in patch.items():
            if value is None:
                out.pop(key, None)
            elif not key.startswith("$"):
                out[key] = self._value(out.get(key), value, self._field(schema, key))
        for key, value in patch.items():
            if key.startswith(_ORDER) and key[len(_ORDER):] in out:
                field = key[len(_ORDER):]
                out[field] = _in_order(out[field], value, self._key(self._field(schema, field)))
        return out

    def _value(self, current, value, schema):
        if isinstance(value, dict):
            return self._object(current, value, self._resolved(schema))
        if isinstance(value, list) and "merge" in schema.get("x-kubernetes-patch-strategy", ""):
            return self._list(current or [], value, schema)
        return value

    def _list(self, current, patch, schema):
        if {_DIRECTIVE: "replace"} in patch:
            return [each for each in patch if each != {_DIRECTIVE: "replace"}]
        key = self._key(schema)
        if key is None:
            return current + [each for each in patch if each not in current]
        items = self._resolved(schema.get("items", {}))
        out = list(current)
        for each in patch:
            at = next((index for index, had in enumerate(out) if had.get(key) == each.get(key)), None)
            if each.get(_DIRECTIVE) == "delete":
                out = [had for index, had in enumerate(out) if index != at]
            elif at is None:
                out.append(self._object({}, each, items))
            else:
                out[at] = self._object(out[at], each, items)
        return out

    def _field(self, schema, key):
        schema = schema.get("properties", {}).get(key) or schema.get("additionalProperties") or {}
        return schema if isinstance(schema, dict) else {}

    def _key(self, schema):
        return schema.get("x-kubernetes-patch-merge-key")

    def _resolved(self, schema):
        reference = schema.get("$ref")
        return self._definitions[reference.rpartition("/")[2]] if reference else schema


def _in_order(items, order, key):
    """What the order names comes in that order; what it does not name keeps its place."""
    def place(item):
        wanted = {key: item[key]} if key else item
        return order.index(wanted) if wanted in order else None

    named = iter(sorted((item for item in items if place(item) is not None), key=place))
    return [item if place(item) is None else next(named) for item in items]
