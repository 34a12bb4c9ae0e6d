"""A real Prometheus watches a real viommud: every query finds something, and alerts come true."""
import json
import re
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.monitoring import device_plugin
from tests.monitoring import families
from tests.monitoring import watched
from tools import case_report

# What is exported and not on the dashboard -> why.
NOT_SHOWN = {
    "exposer_request_latencies": "of the web server of the metrics, not of viommud's work",
    "exposer_scrapes_total": "the same",
    "exposer_transferred_bytes_total": "the same",
}

_NAME = re.compile(r"\b(?:viommu|grpc|process|exposer)_\w+\b")
_LABEL_IN_LEGEND = re.compile(r"{{(\w+)}}")
_CHOICE = re.compile(r"label_values\((\w+), (\w+)\)")
_LABELS_IN_QUERY = {"grpc_service", "grpc_code", "grpc_type", "grpc_method"}


def names_in(query):
    """Of metrics."""
    return set(_NAME.findall(query)) - _LABELS_IN_QUERY


def dashboard():
    return json.loads(watched.text("dashboard.json"))


def targets():
    """(title, query, legend) of everything that the dashboard asks for."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]


class LiveTest(unittest.TestCase):
    """One viommud does honest work. Another may have one address space, and is killed. A third has a
    device plugin beside it."""

    @classmethod
    def setUpClass(cls):
        cls.honest = cls.enterClassContext(daemon.Daemon(metrics=True))
        # At an address of its own: where all others are, its port might be taken before the next
        # one that is to have it.
        cls.other = cls.enterClassContext(
            daemon.Daemon("--owner_max_ioas=1", metrics="127.0.0.2:0"))
        cls.plugin = cls.enterClassContext(device_plugin.DevicePlugin(
            cls.enterClassContext(daemon.Daemon(daemon.LISTENERS))))
        cls.prometheus = cls.enterClassContext(watched.watch(
            [cls.honest.metrics_address, cls.other.metrics_address], [cls.plugin.metrics_address]))
        cls.families = {**families.scrape(cls.plugin), **families.scrape(cls.honest)}
        cls.enterClassContext(watched.Load(cls.honest))
        if not watched.eventually(lambda: len(cls.prometheus.query("up == 1")) == 3):
            raise AssertionError("not scraped")

    def test_every_query_of_the_dashboard_finds_something(self):
        self.assertGreater(len(list(targets())), 40)
        for title, query, legend in targets():
            query = query.replace("$__rate_interval", "10s")
            query = query.replace("$instance", self.honest.metrics_address)
            query = query.replace("$plugin", self.plugin.metrics_address)
            with self.subTest(title, query=query):
                # A quantile of no event is not a number.
                found = watched.eventually(lambda: [
                    labels for labels, value in self.prometheus.query(query) if value == value])
                self.assertTrue(found, "nothing")
                for label in _LABEL_IN_LEGEND.findall(legend):
                    self.assertTrue(all(label in labels for labels in found), f"no {label}")

    def test_every_choice_of_the_dashboard_has_something(self):
        choices = {each["name"]: each["definition"] for each in dashboard()["templating"]["list"]
                   if each["type"] == "query"}
        chosen = {"instance": self.honest, "plugin": self.plugin}
        self.assertEqual(set(chosen), set(choices))
        for name, definition in choices.items():
            metric, label = _CHOICE.fullmatch(definition).groups()
            self.assertIn(chosen[name].metrics_address,
                          {labels[label] for labels, _ in self.prometheus.query(metric)})

    def test_every_metric_is_on_the_dashboard(self):
        shown = {families.family_of(name, self.families)
                 for _, query, _ in targets() for name in names_in(query)}
        self.assertEqual(set(self.families) - set(NOT_SHOWN), shown)
        self.assertLessEqual(set(NOT_SHOWN), set(self.families))

    def test_every_rule_asks_for_what_there_is(self):
        rules = self.prometheus.rules()
        self.assertGreater(len(rules), 30)
        for rule in rules:
            with self.subTest(rule["name"]):
                self.assertLessEqual({families.family_of(name, self.families)
                                      for name in names_in(rule["query"])}, set(self.families))

    def test_every_rule_can_be_evaluated(self):
        watched.eventually(lambda: all(rule["health"] == "ok" for rule in self.prometheus.rules()))
        for rule in self.prometheus.rules():
            self.assertEqual("ok", rule["health"], rule["name"])

    def test_alerts_fire_for_whom_they_concern_and_for_nobody_else(self):
        address = self.other.metrics_address
        client = grpcurl.Client(self.other)
        client.get("IoasService/CreateIoas")
        self.assertEqual("RESOURCE_EXHAUSTED", client.call("IoasService/CreateIoas").code)
        self.fires("ViommuOwnerLimitReached", instance=address, limit="max_ioas")
        self.other.kill()
        with daemon.Daemon(metrics=address, folder=self.other.folder):
            self.fires("ViommuStateLost", instance=address, job="viommud", severity="critical")
        self.assertEqual({address}, {labels["instance"] for labels in self.prometheus.firing()})

    def fires(self, alert, **labels):
        wanted = dict(labels, alertname=alert)
        self.assertTrue(watched.eventually(
            lambda: any(wanted.items() <= have.items() for have in self.prometheus.firing())),
            f"{wanted}: {self.prometheus.firing()}")


if __name__ == "__main__":
    case_report.main()
