#!/usr/bin/env python3
"""Turns what the benchmarks measured into a table of bars, docs/BENCHMARKS.md and a plot.

Reads the JSON that --benchmark_out wrote. A bar is a counter of one benchmark: a quotient of two
things that were measured in one run. With repetitions it is the median of the quotients. A bar whose
benchmark or counter is missing is an error: no figure may go missing silently.

The document's hand-written parts are kept; what lies between the markers is replaced.
"""
import argparse
import dataclasses
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import xml.sax.saxutils

BEGIN = "<!-- begin: written by ./dev bench -->"
END = "<!-- end: written by ./dev bench -->"


@dataclasses.dataclass(frozen=True)
class Bar:
    name: str
    what: str
    benchmark: str  # As benchmark names its runs, without /iterations, /repeats and /real_time.
    counter: str
    goal: float
    at_least: bool = False  # The goal is a floor, not a ceiling.
    is_bar: bool = True  # Otherwise shown for comparison only.

    def reached(self, value):
        return value >= self.goal if self.at_least else value <= self.goal

    def share(self, value):
        """How much of what the goal allows is used: 1 at the goal, above 1 when it is missed."""
        return self.goal / value if self.at_least else value / self.goal


def _against_btree(what, operation, shuffled, goal):
    order = "random" if shuffled else "in order"
    return Bar("P4", f"areas: {what}, {order}, against absl::btree_map",
               f"BM_AgainstBtree<{operation}>/areas:1000000/shuffled:{shuffled}", "ratio", goal)


_SIZES = {"4 KiB": 4 << 10, "16 KiB": 16 << 10, "64 KiB": 64 << 10, "2 MiB": 2 << 20,
          "32 MiB": 32 << 20, "512 MiB": 512 << 20, "1 GiB": 1 << 30}


def _page_tables(what, suffix, pages, sizes):
    """The rows of one format: `pages` are 2 MiB of tables full of pages, `sizes` its leaves."""
    whole = f"P1P2GiBOfPages{suffix}"
    single = f"P3SingleOperations{suffix}"
    return [
        Bar("P1", f"{what}map {pages} pages, against the store loop", whole, "P1_ratio", 1.5),
        Bar("P1 stretch", "the same, against memset", whole, "P1_to_memset", 1.5, is_bar=False),
        Bar("P2", "unmap of the same, against the store loop", whole, "P2_ratio", 2.0),
        *[Bar("P3", f"{what}{verb} one page of {size}, against the store loop per entry",
              f"{single}/{_SIZES[size]}", f"P3_{verb}_ratio", 60)
          for size in sizes for verb in ("map", "unmap")],
    ]


def _arm(stage):
    return [bar for granule, pages, sizes in (("4k", "1 GiB as 4 KiB", ("4 KiB", "2 MiB", "1 GiB")),
                                              ("16k", "4 GiB as 16 KiB", ("16 KiB", "32 MiB")),
                                              ("64k", "16 GiB as 64 KiB", ("64 KiB", "512 MiB")))
            for bar in _page_tables(f"Arm stage {stage}: ", f"_arm_stage{stage}_{granule}", pages, sizes)]


def _engine_map(pages, is_bar=False):
    return Bar("P5", f"Engine::Map of {pages} x 4 KiB, against area plus page table",
               f"P5MapAgainstItsParts/pages:{pages}", "P5_ratio", 1.25, is_bar=is_bar)


BARS = [
    *_page_tables("", "", "1 GiB as 4 KiB", ("4 KiB", "2 MiB", "1 GiB")),
    *_page_tables("x86: ", "_x86_first_stage", "1 GiB as 4 KiB", ("4 KiB", "2 MiB", "1 GiB")),
    *_page_tables("VT-d, 5 levels: ", "_5_levels", "1 GiB as 4 KiB", ("4 KiB", "2 MiB", "1 GiB")),
    *_page_tables("x86, 5 levels: ", "_x86_first_stage_5_levels", "1 GiB as 4 KiB",
                  ("4 KiB", "2 MiB", "1 GiB")),
    *_arm(1),
    *_arm(2),
    *_page_tables("Arm, 16 roots: ", "_arm_stage2_4k_side_by_side", "1 GiB as 4 KiB",
                  ("4 KiB", "2 MiB", "1 GiB")),
    *[_against_btree(what, operation, shuffled, goal)
      for what, operation, goal in (("insert", "Insert", 1.25), ("look up", "Lookup", 1.25),
                                    ("check for overlap", "OverlapCheck", 1.25),
                                    ("erase", "Erase", 1.25), ("bytes", "Memory", 1.3))
      for shuffled in (0, 1)],
    _engine_map(1),
    _engine_map(16),
    _engine_map(256, is_bar=True),
    _engine_map(4096),
    Bar("P6", "stream of 256 operations a batch, 8 in flight, against an empty stream", "P6Stream",
        "P6_ratio", 0.6, at_least=True),
    Bar("P8", "unary Map of one page, 1 call at a time, against an empty call",
        "P8UnaryMap/outstanding:1", "P8_ratio", 0.8, at_least=True),
    Bar("P8", "the same, 64 calls at a time", "P8UnaryMap/outstanding:64", "P8_ratio", 0.8,
        at_least=True),
    Bar("P9", "Engine::Map of 256 pages among 10 M areas, against 10 k areas",
        "P9MapAmongManyAreas/areas:10000000/against:10000", "P9_ratio", 2.5),
]


class Missing(Exception):
    pass


def _plain_name(run_name):
    """Without what the way of running adds: "P6Stream/repeats:3/real_time" is "P6Stream"."""
    added = ("iterations:", "repeats:", "min_time:", "min_warmup_time:")
    parts = run_name.split("/")
    return "/".join(p for p in parts if p != "real_time" and not p.startswith(added))


def read_runs(paths):
    """{benchmark: {counter: median over its repetitions}}."""
    values, medians = {}, {}
    for path in paths:
        with open(path, encoding="utf-8") as source:
            runs = json.load(source)["benchmarks"]
        for run in runs:
            name = _plain_name(run["run_name"])
            if run.get("error_occurred"):
                raise Missing(f"{name} failed: {run.get('error_message', '')}")
            aggregate = run.get("aggregate_name")
            if run["run_type"] == "aggregate" and aggregate != "median":
                continue
            for key, value in run.items():
                if not isinstance(value, (int, float)):
                    continue
                if aggregate == "median":
                    medians.setdefault(name, {})[key] = value
                else:
                    values.setdefault(name, {}).setdefault(key, []).append(value)
    found = {name: {key: statistics.median(v) for key, v in counters.items()}
             for name, counters in values.items()}
    for name, counters in medians.items():
        found.setdefault(name, {}).update(counters)
    return found


def measure(runs, bars=None):
    """[(bar, value)]; raises Missing, naming every bar that has no figure."""
    bars = BARS if bars is None else bars
    missing = [f"{bar.name}: {bar.benchmark} has no {bar.counter}" for bar in bars
               if not runs.get(bar.benchmark, {}).get(bar.counter)]
    if missing:
        raise Missing("no figure for\n  " + "\n  ".join(missing))
    return [(bar, runs[bar.benchmark][bar.counter]) for bar in bars]


def _figure(value):
    return f"{value:.3g}"


def _goal(bar):
    return f"{'>=' if bar.at_least else '<='} {_figure(bar.goal)}"


def _verdict(bar, value):
    if not bar.is_bar:
        return "yes (no bar)" if bar.reached(value) else "no (no bar)"
    return "yes" if bar.reached(value) else "**no**"


def table(measured):
    lines = ["| bar | what | goal | measured | reached |", "|---|---|---|---|---|"]
    for bar, value in measured:
        lines.append(f"| {bar.name} | {bar.what} | {_goal(bar)} | {_figure(value)} | {_verdict(bar, value)} |")
    return "\n".join(lines)


def summary(measured):
    bars = [(bar, value) for bar, value in measured if bar.is_bar]
    reached = sum(bar.reached(value) for bar, value in bars)
    return f"{reached} of {len(bars)} bars reached"


def replace_generated(document, generated):
    """`document` with what lies between the markers replaced. ValueError: they are not there."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{generated}\n{END}{tail}"


# ---- The plot: one horizontal bar a row, its length the share of what the goal allows

ROW, LEFT, WIDTH, TOP, SHOWN = 22, 500, 380, 64, 2.0
GOOD, BAD, OTHER = "#2a7f62", "#c0392b", "#9aa5b1"


def _text(x, y, content, extra=""):
    return f'<text x="{x:g}" y="{y:g}" {extra}>{xml.sax.saxutils.escape(content)}</text>'


def _row(y, bar, value):
    length = min(bar.share(value), SHOWN) / SHOWN * WIDTH
    color = OTHER if not bar.is_bar else GOOD if bar.reached(value) else BAD
    cut = " →" if bar.share(value) > SHOWN else ""
    return [
        _text(12, y + 15, bar.name, 'font-weight="bold"'),
        _text(LEFT - 8, y + 15, bar.what, 'text-anchor="end"'),
        f'<rect x="{LEFT}" y="{y + 4}" width="{max(length, 1):.1f}" height="{ROW - 8}" fill="{color}"/>',
        _text(LEFT + WIDTH + 12, y + 15, f"{_figure(value)} ({_goal(bar)}){cut}"),
    ]


def plot(measured):
    """An SVG. Left of the line at the goal is good, whichever way the goal points."""
    height = TOP + ROW * len(measured) + 16
    goal_x = LEFT + WIDTH / SHOWN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="1040" height="{height}" '
        f'viewBox="0 0 1040 {height}" font-family="sans-serif" font-size="12" fill="#1f2933">',
        f'<rect width="1040" height="{height}" fill="#ffffff"/>',
        _text(12, 24, "Measured against the goal of each bar", 'font-size="16" font-weight="bold"'),
        _text(12, 44, "Shorter is better; the line is the goal. Green: reached. Red: missed. "
                      "Grey: for comparison, no bar. An arrow: longer than shown."),
    ]
    for index, (bar, value) in enumerate(measured):
        parts += _row(TOP + ROW * index, bar, value)
    parts.append(f'<line x1="{goal_x:g}" y1="{TOP - 4}" x2="{goal_x:g}" y2="{height - 12}" '
                 'stroke="#1f2933" stroke-dasharray="4 3"/>')
    return "\n".join(parts + ["</svg>"]) + "\n"


# ---- The machine

def _first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def _cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(l.split(":", 1)[1].strip() for l in lines if l.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def machine(load_before):
    load_after = os.getloadavg()[0]
    return (f"{datetime.date.today().isoformat()}, {os.cpu_count()} cores, {_cpu_model()}, "
            f"{_first_line([os.environ.get('CC', 'clang-14'), '--version'])}, "
            f"load average {load_before:.1f} before and {load_after:.1f} after. "
            "Command: `./dev bench`.")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--document", required=True, help="Markdown file with the markers")
    parser.add_argument("--plot", required=True, help="SVG file to write")
    parser.add_argument("--load_before", type=float, default=0.0)
    parser.add_argument("json", nargs="+", help="files that --benchmark_out wrote")
    options = parser.parse_args(arguments)
    try:
        measured = measure(read_runs(options.json))
        with open(options.document, encoding="utf-8") as source:
            document = source.read()
        generated = "\n\n".join([f"Measured {machine(options.load_before)}", table(measured),
                                 summary(measured) + "."])
        document = replace_generated(document, generated)
    except (Missing, ValueError) as error:
        print(f"bench_report: {error}", file=sys.stderr)
        return 1
    with open(options.document, "w", encoding="utf-8") as out:
        out.write(document)
    with open(options.plot, "w", encoding="utf-8") as out:
        out.write(plot(measured))
    print(table(measured))
    print(summary(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
