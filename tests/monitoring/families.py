"""The metric families that a viommud exports: what the text that Prometheus reads says of them."""
import dataclasses
import re
import urllib.request

_SECONDS = 30
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# What a histogram's samples are called, beside its own name.
_SUFFIXES = ("_bucket", "_sum", "_count")


@dataclasses.dataclass
class Family:
    type: str = ""
    help: str = ""
    labels: dict = dataclasses.field(default_factory=dict)  # The values that each has.


def parse(text):
    """Families by name, in the order of the text; samples of none are an error."""
    families = {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            setattr(families.setdefault(name, Family()), kind.lower(), rest)
        elif line:
            name, _, labels = line.rpartition(" ")[0].partition("{")
            family = families[family_of(name, families)]
            for label, value in _LABEL.findall(labels):
                if family.type != "histogram" or label != "le":
                    family.labels.setdefault(label, set()).add(value)
    return families


def family_of(name, families):
    """The family that a sample of this name belongs to; the name itself if there is none."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and name[:-len(suffix)] in families:
            return name[:-len(suffix)]
    return name


def scrape(daemon):
    with urllib.request.urlopen(f"http://{daemon.metrics_address}/metrics",
                                timeout=_SECONDS) as answer:
        return parse(answer.read().decode())
