"""The schemas of Kubernetes' API, which ./dev setup has put into .tools/kubernetes."""
import functools
import glob
import json
import zipfile

try:
    import jsonschema
except ImportError:  # Not on Debian 12: without schemas in .tools all that needs it is skipped.
    jsonschema = None

from tests.deploy import scratch

# The oldest that has probes of gRPC for good, and the newest that there are schemas of.
VERSIONS = ("v1.27.0", "v1.37.0")


def _definition(document, fragment):
    """Straight to it. The library's own way looks through all of a document first."""
    for part in fragment.strip("/").split("/"):
        document = document[part] if part else document
    return document


class Schemas:
    """Those of one version of Kubernetes, strict: an unknown field is a mistake."""

    def __init__(self, version):
        self.version = version
        (wheel,) = glob.glob(scratch.tool("kubernetes") + "/kubernetes_validate-*.whl")
        self._zip = zipfile.ZipFile(wheel)
        self._folder = f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict/"
        # They call each other by their names, some of them below an address that is not asked.
        def by_name(uri):
            return self._read(uri.rpartition("/")[2])

        self._resolver = jsonschema.RefResolver("file:///", {},
                                                handlers={"file": by_name, "https": by_name})
        self._resolver.resolve_fragment = _definition

    def errors(self, thing):
        """What jsonschema has against an object."""
        group, _, version = thing["apiVersion"].rpartition("/")
        parts = [thing["kind"].lower(), group.split(".")[0], version]
        schema = self._read("-".join(part for part in parts if part) + ".json")
        return list(jsonschema.Draft7Validator(schema, resolver=self._resolver).iter_errors(thing))

    def complaints(self, thing):
        return [f"{thing['kind']}/{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
                for error in self.errors(thing)]

    @functools.cached_property
    def definitions(self):
        """Name -> schema. They name each other as "#/$defs/NAME"."""
        return self._read("_definitions.json")["$defs"]

    def definition_of(self, group, version, kind):
        """The name of a kind's."""
        wanted = {"group": group, "version": version, "kind": kind}
        (name,) = [name for name, schema in self.definitions.items()
                   if wanted in schema.get("x-kubernetes-group-version-kind", ())]
        return name

    def close(self):
        self._zip.close()

    def _read(self, name):
        return json.loads(self._zip.read(self._folder + name))
