"""The dashboard is what its table says, and something that Grafana can read."""
import json
import re
import unittest

from deploy.monitoring import dashboard
from tests.monitoring import watched
from tools import case_report

_SELECTOR = re.compile(r"{[^}]*}")
_CHOSEN = re.compile(r'instance=~"\$(\w+)"')


class DashboardTest(unittest.TestCase):
    def setUp(self):
        self.dashboard = json.loads(watched.text("dashboard.json"))
        self.panels = self.dashboard["panels"]

    def test_is_what_its_table_says(self):
        self.assertTrue(watched.text("dashboard.json") == dashboard.text(),
                        "out of date: python3 deploy/monitoring/dashboard.py")

    def test_every_panel_has_an_id_a_title_and_words_of_its_own(self):
        for key in ("id", "title"):
            values = [panel[key] for panel in self.panels]
            self.assertEqual(len(values), len(set(values)), values)
        for panel in self.panels:
            if panel["type"] != "row":
                self.assertTrue(panel["description"].endswith("."), panel["title"])
                self.assertTrue(panel["targets"], panel["title"])

    def test_no_panel_lies_on_another_or_beside_the_page(self):
        taken = set()
        for panel in self.panels:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells

    def test_asks_the_source_and_the_hosts_that_were_chosen(self):
        names = {variable["name"] for variable in self.dashboard["templating"]["list"]}
        self.assertEqual({"source", "instance", "plugin"}, names)
        row = None
        for panel in self.panels:
            if panel["type"] == "row":
                row = panel["title"]
            chosen = "plugin" if row == "Device plugin" else "instance"
            for target in panel.get("targets", []):
                self.assertEqual("${source}", target["datasource"]["uid"])
                # Each metric of a quotient.
                self.assertEqual({chosen}, set(_CHOSEN.findall(target["expr"])), target["expr"])
                self.assertEqual(len(_SELECTOR.findall(target["expr"])),
                                 len(_CHOSEN.findall(target["expr"])), target["expr"])

    def test_what_every_process_has_is_asked_of_viommud(self):
        asked = [target["expr"] for panel in self.panels for target in panel.get("targets", [])
                 if "process_" in target["expr"]]
        asked += [each["expr"] for each in self.dashboard["annotations"]["list"]]
        self.assertGreater(len(asked), 4)
        for query in asked:
            self.assertEqual(query.count("process_"), query.count('job="viommud"'), query)


if __name__ == "__main__":
    case_report.main()
