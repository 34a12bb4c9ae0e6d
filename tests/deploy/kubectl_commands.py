"""The commands of kubectl in documents. //tests/deploy:kubectl_test runs each."""
import re

DOCUMENTS = ("docs/DEPLOYMENT.md", "docs/KUBERNETES.md")
# Exactly these are shown there.
RUN = (
    "kubectl apply -k deploy/kubernetes/overlays/soft",
    "kubectl apply -k deploy/kubernetes/overlays/host-iommu",
    "kubectl get node -o jsonpath='{.items[*].status.allocatable}'",
    "kubectl apply -f vmm.yaml",
)

# A line of a fence or an indented one, or code within a line.
_COMMAND = re.compile(r"^ *(kubectl .+?)(?:  #.*)?$|`(kubectl [^`]+)`", re.M)
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
_NAME = re.compile(r"# ([\w-]+\.yaml)\n")


def shown(text):
    """The commands of a document, in order."""
    return [line or inline for line, inline in _COMMAND.findall(text)]


def fences(text, language):
    return [block for of, block in _FENCE.findall(text) if of == language]


def files(text):
    """{name: what is in it} of the files of YAML in a document; their first lines name them."""
    return {_NAME.match(block)[1]: block for block in fences(text, "yaml") if _NAME.match(block)}
