#!/bin/sh
# The table of speed and size, measured on a stack of its own: `make bench`.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
step 'images of our own parts' docker compose build --quiet
own_stack bench
step 'stack' deploy/test/stack.sh up bench
step 'measurements' deploy/test/stack.sh run bench \
    sh -c 'cargo build --release --locked --quiet --workspace --bins && exec /target/release/bench'
