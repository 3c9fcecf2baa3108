#!/bin/sh
# Checks that are written but have not been seen to pass together on one machine: `make further`.
# Each moves to run.sh once it has.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
step 'clippy' toolbox - cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
step 'dashboards against the published types' toolbox - sh -c \
    'cd tests/dashboards && npm ci --silent && npm test --silent && npm run --silent check'
step 'images of our own parts' docker compose build --quiet

own_stack test
step 'stack' deploy/test/stack.sh up test
# Always the whole workspace, so that what is compiled for one step serves the next.
step 'tests of each crate and service' deploy/test/stack.sh run test \
    cargo test --workspace --locked --quiet
step 'scenarios on the running stack' deploy/test/stack.sh run test \
    cargo test --workspace --locked --test scenarios --test controls --test documentation -- --ignored --test-threads=1
