#!/bin/sh
# All checks, from nothing: `make test`.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
step 'which images are chosen' deploy/test/image-choice.sh
step 'compose files, with Grafana and without' deploy/test/compose-files.sh
step 'toolbox' toolbox - true
step 'shell scripts' toolbox - sh -c 'shellcheck -x -S warning deploy/*/*.sh .ci/run'
step 'formatting' toolbox - cargo fmt --all --check
step 'dashboards against the published types' toolbox - sh -c \
    'cp -r --parents grafana tests/dashboards deploy/grafana /tmp/ && cd /tmp/tests/dashboards \
        && npm ci --silent && npm test --silent && npm run --silent check'
step 'images of our own parts' docker compose build --quiet

# on_stack <test> <how many at once> [which …]
on_stack() {
    test=$1
    threads=$2
    shift 2
    deploy/test/stack.sh run test cargo test --workspace --locked --test "$test" -- \
        --ignored --test-threads="$threads" "$@"
}

# First those that leave every part as it is, a few at once, while no other hurts
# one. A failure among them keeps no other from running.
scenarios() {
    failed=0
    on_stack scenarios 4 side_by_side:: || failed=$?
    on_stack scenarios 1 --skip side_by_side:: || failed=$?
    return "$failed"
}

own_stack test
# Whatever compiles does so while nothing else runs, and always the whole
# workspace, so that what is compiled for one step serves the next. The stores
# come first and alone: tests of single crates judge times, too, and nobody buys
# tickets beside them. One node of Postgres is enough for databases that each
# test makes for itself, and standbys would make them all again. The negative
# controls have their databases there as well: they compile, and start whatever
# else they need. All targets are all but examples in comments: there are none.
step 'the stores' deploy/test/stack.sh up test \
    etcd-1 etcd-2 etcd-3 postgres-1 haproxy redis-1 redis-2 redis-3 sentinel-1 sentinel-2 sentinel-3 \
    cache dynamodb localstack bank
step 'clippy, and each query against the migrated databases' \
    deploy/test/stack.sh run test deploy/test/queries.sh check
step 'programs of the tests' deploy/test/stack.sh run test \
    cargo test --workspace --all-targets --locked --quiet --no-run
step 'tests of each crate and service' deploy/test/stack.sh run test \
    cargo test --workspace --all-targets --locked --quiet --no-fail-fast
step 'negative controls' on_stack controls 1
step 'the whole stack' deploy/test/stack.sh up test
step 'scenarios on the running stack' scenarios
step 'the commands of the documentation' on_stack documentation 1
