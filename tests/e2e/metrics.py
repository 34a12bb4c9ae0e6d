"""Reads what viommud tells Prometheus."""
import re
import urllib.request

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SCRAPE_SECONDS = 30


class Metrics:
    """One scrape."""

    def __init__(self, daemon):
        url = f"http://{daemon.metrics_address}/metrics"
        with urllib.request.urlopen(url, timeout=_SCRAPE_SECONDS) as answer:
            text = answer.read().decode()
        self._samples = {}  # By name: [(labels, value)].
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = _SAMPLE.match(line).groups()
                self._samples.setdefault(name, []).append(
                    (dict(_LABEL.findall(labels or "")), float(value)))

    def names(self):
        return set(self._samples)

    def samples(self, name, **labels):
        """[(labels, value)] of the series of this name that have these labels among theirs."""
        return [(have, value) for have, value in self._samples.get(name, [])
                if labels.items() <= have.items()]

    def total(self, name, **labels):
        """The sum of these series; a name without any is an error."""
        samples = self.samples(name, **labels)
        if not samples:
            raise AssertionError(f"no series {name}{labels}")
        return sum(value for _, value in samples)

    def values_of(self, name, label):
        """The values that `label` has in the series of this name."""
        return {labels[label] for labels, _ in self.samples(name)}
