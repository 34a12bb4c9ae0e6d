"""Refusals of the API server of tests: Status objects, as clients of Kubernetes expect them."""


class Refusal(Exception):
    """`status` is what the client is answered, `code` that of HTTP."""

    def __init__(self, code, reason, message, **details):
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                       "code": code, "reason": reason, "message": message, "details": details}


def bad_request(message):
    return Refusal(400, "BadRequest", message)


def not_served():
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def not_found(kind, name):
    return Refusal(404, "NotFound", f'{kind.full_plural} "{name}" not found', **_details(kind, name))


def not_allowed(message="the server does not allow this method on the requested resource"):
    return Refusal(405, "MethodNotAllowed", message)


def already_exists(kind, name):
    return Refusal(409, "AlreadyExists", f'{kind.full_plural} "{name}" already exists',
                   **_details(kind, name))


def conflict(kind, name):
    return Refusal(409, "Conflict", f'Operation cannot be fulfilled on {kind.full_plural} "{name}": the '
                   "object has been modified; please apply your changes to the latest version and try "
                   "again", **_details(kind, name))


def forbidden(kind, name, why):
    return Refusal(403, "Forbidden", f'{kind.full_plural} "{name}" is forbidden: {why}',
                   **_details(kind, name))


def unsupported_type(content_type):
    return Refusal(415, "UnsupportedMediaType",
                   f"the body of the request was in an unknown format: {content_type}")


def invalid(kind, name, mistakes):
    """Of an object with one mistake or more, "PATH: ..." each."""
    whole = mistakes[0] if len(mistakes) == 1 else f"[{', '.join(mistakes)}]"
    causes = [dict(zip(("field", "message"), mistake.split(": ", 1)), reason="FieldValueInvalid")
              for mistake in mistakes]
    return Refusal(422, "Invalid", f'{kind.full_name} "{name}" is invalid: {whole}',
                   causes=causes, name=name, group=kind.group, kind=kind.name)


def undecodable(kind, mistakes, strictly):
    how = "strict decoding error: " if strictly else ""
    return bad_request(f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: '
                       f'{how}{", ".join(mistakes)}')


def _details(kind, name):
    return {"name": name, "group": kind.group, "kind": kind.plural}
