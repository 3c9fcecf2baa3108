#!/bin/sh
# Writes .sqlx anew, on a stack of its own: `make queries`.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
own_stack test
step 'stack' deploy/test/stack.sh up test
step 'queries' deploy/test/stack.sh run test deploy/test/queries.sh write
