#!/usr/bin/env python3
"""Writes compile_commands.json for the C++ of this checkout and prints its source files.

Arguments are Bazel flags, such as --config=asan: they choose the compiler whose command
lines are written, and must be those of a finished build, so that generated headers exist.
"""
import json
import os
import subprocess
import sys

OUTPUT = "compile_commands.json"


def bazel(*args):
    return subprocess.run(["bazel", *args], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True).stdout


def source_of(arguments):
    """The file that follows -c, unless it is a generated one."""
    path = arguments[arguments.index("-c") + 1]
    return None if path.startswith("bazel-out/") or path.startswith("external/") else path


def main():
    flags = sys.argv[1:]
    directory = bazel("info", "execution_root", *flags).strip()
    graph = json.loads(bazel("aquery", *flags, "--output=jsonproto", "--include_artifacts=false",
                             'mnemonic("CppCompile", //...)'))
    entries = {}
    for action in graph.get("actions", []):
        source = source_of(action["arguments"])
        if source is not None:
            entries[source] = {"directory": directory, "file": os.path.abspath(source),
                               "arguments": action["arguments"]}
    with open(OUTPUT, "w", encoding="utf-8") as out:
        json.dump([entries[source] for source in sorted(entries)], out, indent=1)
    print("\n".join(sorted(entries)))


if __name__ == "__main__":
    main()
