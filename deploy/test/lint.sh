#!/bin/sh
# What can be said of the sources without running them. Runs in the toolbox.
set -eu

cargo fmt --all --check
find deploy .ci '(' -name '*.sh' -o -path .ci/run ')' -exec shellcheck -x -S warning {} +
deploy/test/queries.sh check
