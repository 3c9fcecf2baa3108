#!/bin/sh
# Runs the tests that need no store: unit tests, property tests, the pages read but
# not run. In a container without a network.
set -eu

cd "$(dirname "$0")/../.."
# The proxies of the user's own settings are for the client, not for what runs in here.
proxies=
for name in http_proxy https_proxy ftp_proxy all_proxy no_proxy; do
    proxies="$proxies --env $name= --env $(echo "$name" | tr a-z A-Z)="
done
# shellcheck disable=SC2086
docker run --rm --init --network none $proxies --volume "$PWD:$PWD" --workdir "$PWD" \
    --env RUST_BACKTRACE=1 --env RUST_LIB_BACKTRACE=0 --env PROPTEST_CASES boxoffice/tests sh -c '
    failed=0
    for tests in /tests/*; do
        "$tests" --quiet >/tmp/output 2>&1 || { echo "── ${tests#/tests/}"; cat /tmp/output; failed=1; }
        sed -n "s/^test result: ok. \([0-9]*\) passed.*/\1/p" /tmp/output >>/tmp/passed
    done
    awk "{ passed += \$1 } END { print passed \" tests passed\" }" /tmp/passed
    exit "$failed"'
