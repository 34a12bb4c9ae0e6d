import contextlib
import io
import json
import os
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

from tools import bench_report
from tools import case_report

Bar = bench_report.Bar

CEILING = Bar("C", "time against time", "Time", "ratio", 2.0)
FLOOR = Bar("F", "rate against rate", "Rate/of:1", "ratio", 0.8, at_least=True)
DOCUMENT = f"# Figures\n\nBefore.\n\n{bench_report.BEGIN}\nold\n{bench_report.END}\n\nAfter.\n"


def run(name, kind="iteration", **more):
    return {"name": name, "run_name": name, "run_type": kind, **more}


class BenchReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content)
        return path

    def runs(self, *of_each_file):
        return bench_report.read_runs([
            self.file(f"{i}.json", json.dumps({"benchmarks": runs})) for i, runs in enumerate(of_each_file)])

    def test_takes_the_median_of_repetitions(self):
        runs = self.runs([run("Time", ratio=r) for r in (9.0, 1.0, 2.0)])
        self.assertEqual(runs["Time"]["ratio"], 2.0)

    def test_takes_the_median_that_the_benchmark_reports_and_no_other_aggregate(self):
        runs = self.runs([run("Time", "aggregate", aggregate_name="mean", ratio=9.0),
                          run("Time", "aggregate", aggregate_name="median", ratio=3.0),
                          run("Time", "aggregate", aggregate_name="stddev", ratio=5.0)])
        self.assertEqual(runs["Time"]["ratio"], 3.0)

    def test_knows_a_benchmark_however_it_was_run(self):
        runs = self.runs([run("Rate/of:1/iterations:1/repeats:5/real_time", ratio=1.5)],
                         [run("Time", ratio=0.5)])
        measured = bench_report.measure(runs, [CEILING, FLOOR])
        self.assertEqual([value for _, value in measured], [0.5, 1.5])

    def test_refuses_a_missing_benchmark_or_counter_by_name(self):
        for runs in ({}, {"Time": {"other": 1.0}}, {"Time": {"ratio": 0.0}}):
            with self.subTest(runs=runs), self.assertRaisesRegex(bench_report.Missing, "C: Time has no ratio"):
                bench_report.measure(runs, [CEILING])

    def test_refuses_a_benchmark_that_failed(self):
        with self.assertRaisesRegex(bench_report.Missing, "Time failed: no memory"):
            self.runs([run("Time", error_occurred=True, error_message="no memory")])

    def test_a_ceiling_is_reached_from_below_and_a_floor_from_above(self):
        cases = ((CEILING, 1.9, True), (CEILING, 2.0, True), (CEILING, 2.1, False),
                 (FLOOR, 0.79, False), (FLOOR, 0.8, True), (FLOOR, 0.9, True))
        for bar, value, reached in cases:
            with self.subTest(bar=bar.name, value=value):
                self.assertEqual(bar.reached(value), reached)
                self.assertEqual(bar.share(value) <= 1, reached)

    def test_the_table_says_which_way_the_goal_points_and_what_was_missed(self):
        table = bench_report.table([(CEILING, 2.5), (FLOOR, 0.9)])
        self.assertIn("| C | time against time | <= 2 | 2.5 | **no** |", table)
        self.assertIn("| F | rate against rate | >= 0.8 | 0.9 | yes |", table)

    def test_counts_bars_only(self):
        shown = Bar("S", "for comparison", "Time", "ratio", 1.0, is_bar=False)
        self.assertEqual(bench_report.summary([(CEILING, 1.0), (FLOOR, 0.5), (shown, 9.0)]),
                         "1 of 2 bars reached")
        self.assertIn("no bar", bench_report.table([(shown, 9.0)]))

    def test_keeps_what_was_written_by_hand(self):
        document = bench_report.replace_generated(DOCUMENT, "new")
        self.assertEqual(document, DOCUMENT.replace("old", "new"))
        self.assertEqual(bench_report.replace_generated(document, "new"), document)

    def test_refuses_a_document_without_markers(self):
        for document in ("", bench_report.BEGIN, bench_report.END):
            with self.subTest(document=document), self.assertRaises(ValueError):
                bench_report.replace_generated(document, "new")

    def test_the_plot_is_well_formed_and_colours_by_whether_the_goal_is_reached(self):
        svg = bench_report.plot([(CEILING, 1.0), (FLOOR, 0.4), (Bar("<", "a & b", "Time", "ratio", 1), 1e9)])
        bars = [rect for rect in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")
                if rect.get("x")]
        self.assertEqual([rect.get("fill") for rect in bars],
                         [bench_report.GOOD, bench_report.BAD, bench_report.BAD])
        # Half of what is allowed; twice as much, which is all that is shown.
        widths = [float(rect.get("width")) for rect in bars]
        self.assertEqual(widths, [bench_report.WIDTH / 4, bench_report.WIDTH, bench_report.WIDTH])

    def main(self, *runs):
        document = self.file("doc.md", DOCUMENT)
        plot = os.path.join(self.folder, "plot.svg")
        results = self.file("results.json", json.dumps({"benchmarks": runs}))
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = bench_report.main([f"--document={document}", f"--plot={plot}", results])
        with open(document, encoding="utf-8") as source:
            return code, source.read(), os.path.exists(plot), out.getvalue(), err.getvalue()

    def test_writes_nothing_when_a_figure_is_missing(self):
        code, document, plotted, _, errors = self.main(run("P6Stream", P6_ratio=1.0))
        self.assertEqual((code, document, plotted), (1, DOCUMENT, False))
        self.assertIn("P8UnaryMap/outstanding:64 has no P8_ratio", errors)
        self.assertNotIn("P6Stream", errors)

    def test_writes_document_and_plot_when_all_is_there(self):
        runs = {}
        for bar in bench_report.BARS:
            runs.setdefault(bar.benchmark, run(bar.benchmark))[bar.counter] = 1.0
        code, document, plotted, out, _ = self.main(*runs.values())
        self.assertEqual((code, plotted), (0, True))
        self.assertIn("| P8 |", document)
        self.assertTrue(document.startswith("# Figures\n\nBefore.") and document.endswith("After.\n"))
        self.assertIn("bars reached", out)


if __name__ == "__main__":
    case_report.main()
