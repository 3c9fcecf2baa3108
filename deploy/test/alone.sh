#!/bin/sh
# Runs the tests that need no store: unit tests, property tests, the pages read but
# not run. In a container without a network.
set -eu

cd "$(dirname "$0")/../.."
docker run --rm --init --network none --volume "$PWD:$PWD" --workdir "$PWD" \
    --env RUST_BACKTRACE=1 --env RUST_LIB_BACKTRACE=0 --env PROPTEST_CASES boxoffice/tests sh -c '
    failed=0
    for tests in /tests/*; do
        "$tests" --quiet >/tmp/output 2>&1 || { echo "── ${tests#/tests/}"; cat /tmp/output; failed=1; }
        sed -n "s/^test result: ok. \([0-9]*\) passed.*/\1/p" /tmp/output >>/tmp/passed
    done
    awk "{ passed += \$1 } END { print passed \" tests passed\" }" /tmp/passed
    exit "$failed"'
