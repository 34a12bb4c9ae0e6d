#!/usr/bin/env python3
"""Runs clang-tidy over the files of compile_commands.json; exits 1 if it finds anything.

A file that was clean is not looked at again until something that clang-tidy sees of it changes: the
text after preprocessing (comments included, for they hold NOLINT), its command line, the checks or
clang-tidy itself. What was clean is remembered as empty files in --cache.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys

TIDY = "clang-tidy-14"
CHECKS = ".clang-tidy"


def run(command, folder):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)


def fingerprint(entry, common):
    """What clang-tidy's verdict on the file depends on; None when it does not preprocess."""
    arguments = entry["arguments"]
    # Neither the object nor the dependency file is wanted, only the text.
    command = [a for a in arguments[:arguments.index("-o")] if a not in ("-c", "-MD")]
    if "-MF" in command:
        at = command.index("-MF")
        del command[at:at + 2]
    done = run([*command, "-E", "-CC"], entry["directory"])
    if done.returncode != 0:
        return None
    digest = hashlib.sha256(common)
    digest.update("\0".join(command).encode())
    digest.update(done.stdout)
    return digest.hexdigest()


def check(entry, common, cache):
    """The findings in one file, as text; empty: it is clean."""
    key = fingerprint(entry, common)
    mark = key and os.path.join(cache, key)
    if mark and os.path.exists(mark):
        return ""
    # Named, because it would be looked for beside the file as the compiler sees it, in Bazel's tree.
    done = run([TIDY, "-p", ".", "--config-file=" + CHECKS, "--quiet", "--warnings-as-errors=*",
                entry["file"]], None)
    if done.returncode != 0:
        # Without its count of what it found in system headers, and does not show.
        errors = [line for line in done.stderr.decode().splitlines() if "generated" not in line]
        return done.stdout.decode() + "\n".join(errors)
    if mark:
        with open(mark, "w", encoding="utf-8"):
            pass
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", required=True, help="folder of what was clean")
    args = parser.parse_args()
    os.makedirs(args.cache, exist_ok=True)
    with open("compile_commands.json", encoding="utf-8") as file:
        entries = json.load(file)
    if not entries:
        sys.exit("clang_tidy: compile_commands.json names no file")
    version = run([TIDY, "--version"], None).stdout
    with open(CHECKS, "rb") as file:
        common = version + file.read()

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for findings in pool.map(lambda entry: check(entry, common, args.cache), entries):
            if findings:
                failed += 1
                print(findings, flush=True)
    print(f"clang-tidy: {len(entries)} files, {failed} with findings", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
