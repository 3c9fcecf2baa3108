#!/bin/sh
# What can be checked without a stack, after a change of a file: `make check`.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
step 'toolbox' deploy/test/image.sh toolbox
step 'machines that cannot run the stack' toolbox deploy/test/machine.sh
step 'compose files, with Grafana and without' deploy/test/compose-files.sh
step 'dashboards against the published types' deploy/test/image.sh dashboards
step 'formatting, lints, queries' deploy/test/image.sh lint
step 'programs of the tests' deploy/test/image.sh tests
step 'tests that need no stack' deploy/test/alone.sh
