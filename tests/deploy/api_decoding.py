"""How the API server of tests reads an object: by the schema of its kind, strictly if it is told to."""
import copy

from tests.deploy import api_errors


def decode(thing, kind, schemas, strictly):
    """The object, as it may be changed. Refuses one that is none of the kind. Fields that nobody knows
    are left out, or refused `strictly`."""
    if not isinstance(thing, dict):
        raise api_errors.bad_request("the object provided is unrecognized (must be a map)")
    if (thing.get("apiVersion"), thing.get("kind")) != (kind.api_version, kind.name):
        raise api_errors.bad_request(
            f"the API version in the data ({thing.get('apiVersion')}, Kind={thing.get('kind')}) does not "
            f"match the expected API version ({kind.api_version}, Kind={kind.name})")
    thing = copy.deepcopy(thing)
    unknown, of_another_type, invalid = [], [], []
    for error in schemas.errors(thing):
        path = _field_path(error.absolute_path)
        if error.validator == "additionalProperties":
            unknown += _take_out_unknown(error, path)
        elif error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            invalid += [f"{_join(path, name)}: Required value" for name in missing]
        elif error.validator == "enum":
            invalid.append(f"{path}: Unsupported value: {error.instance!r}")
        else:
            of_another_type.append(f"{path}: {error.message}")
    if of_another_type:
        raise api_errors.undecodable(kind, sorted(of_another_type), strictly=False)
    if unknown and strictly:
        raise api_errors.undecodable(kind, sorted(unknown), strictly=True)
    if invalid:
        raise api_errors.invalid(kind, (thing.get("metadata") or {}).get("name", ""),
                                 sorted(set(invalid)))
    return _without_nothing(thing)


def _without_nothing(thing):
    """A copy without what is null and lists that are empty: to the server both are as if they were
    not there, and it does not keep them."""
    if isinstance(thing, dict):
        return {key: _without_nothing(value) for key, value in thing.items()
                if value is not None and value != []}
    return [_without_nothing(each) for each in thing] if isinstance(thing, list) else thing


def _take_out_unknown(error, path):
    names = sorted(set(error.instance) - set(error.schema.get("properties", ())))
    for name in names:
        del error.instance[name]
    return [f'unknown field "{_join(path, name)}"' for name in names]


def _join(path, name):
    return f"{path}.{name}" if path else name


def _field_path(parts):
    """a.b[0].c"""
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path
