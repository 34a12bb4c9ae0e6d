#!/bin/sh
echo "bazel coverage is not set up in this workspace (third_party/coverage_tools)" >&2
exit 1
