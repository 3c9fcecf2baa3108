#!/bin/sh
# The checks that have been seen to pass, from nothing: `make test`. Those that are written but
# have not been seen to pass together are in further.sh.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
step 'compose files, with Grafana and without' deploy/test/compose-files.sh
step 'toolbox' toolbox - true
step 'shell scripts' toolbox - sh -c 'shellcheck -x -S warning deploy/*/*.sh .ci/run'
step 'formatting' toolbox - cargo fmt --all --check
step 'images of our own parts' docker compose build --quiet

own_stack test
step 'stack' deploy/test/stack.sh up test
step 'scenarios on the running stack' deploy/test/stack.sh run test \
    cargo test --workspace --locked --test scenarios -- --ignored --test-threads=1 \
    purchase::a_purchase bad_input:: cards:: expiry:: keys:: leader:: lost_answers:: races::
