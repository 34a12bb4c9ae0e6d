"""What Kubernetes takes as the name of an object, of a part of one, and as labels.

Functions that end in _mistake return why something is none, or None.
"""
import json
import re

_LABEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_QUALIFIED_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def label_name_mistake(name):
    if len(name) <= 63 and _LABEL_NAME.fullmatch(name):
        return None
    return ("a lowercase RFC 1123 label must consist of at most 63 lower case alphanumeric characters "
            "or '-', and must start and end with an alphanumeric character")


def subdomain_mistake(name):
    if len(name) <= 253 and _SUBDOMAIN.fullmatch(name):
        return None
    return ("a lowercase RFC 1123 subdomain must consist of at most 253 lower case alphanumeric "
            "characters, '-' or '.', and must start and end with an alphanumeric character")


def qualified_name_mistake(name):
    """Of what may have a prefix: keys of labels and annotations, resources."""
    prefix, slash, part = name.rpartition("/")
    if slash and subdomain_mistake(prefix):
        return "prefix part " + subdomain_mistake(prefix)
    if _QUALIFIED_PART.fullmatch(part):
        return None
    return ("name part must consist of at most 63 alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character")


def label_mistakes(labels, path):
    """Complaints about what is wrong with keys and values of labels."""
    for key, value in labels.items():
        why = qualified_name_mistake(key)
        if why:
            yield f"{path}: Invalid value: {json.dumps(key)}: {why}"
        if value and not _QUALIFIED_PART.fullmatch(value):
            yield (f"{path}: Invalid value: {json.dumps(value)}: a valid label must be an empty string "
                   "or consist of at most 63 alphanumeric characters, '-', '_' or '.', and must start "
                   "and end with an alphanumeric character")
