#!/bin/sh
# One fault after another on the stack that is up, while a crowd buys:
# `make chaos`. It needs the engine's socket, so it runs in a container, joined to
# that stack. What is found is kept in .state/chaos.jsonl, and the same seed
# goes on with its next fault; `make chaos AGAIN=1` begins anew. The tables of a run
# stand in .state/chaos.md.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

project=${CHAOS_PROJECT:-boxoffice}
running=$(docker ps --quiet --filter "label=com.docker.compose.project=$project" \
    --filter label=com.docker.compose.service=nginx 2>/dev/null) || running=
if [ -z "$running" ]; then
    echo "chaos: $project is not up, and faults are made on a running stack: make up" >&2
    exit 2
fi
echo "The stack $project that is up will be hurt on purpose, and healed: its purchases may fail meanwhile."
[ -z "${AGAIN:-}" ] || rm -f .state/chaos.jsonl
step 'the program' deploy/test/image.sh harness
toolbox --image boxoffice/harness --engine --stack "$project" chaos run \
    --minutes "${MINUTES:-10}" --seed "${SEED:-1}" --faults "${FAULTS:-}" \
    --state .state/chaos.jsonl --tree "$(tree)" --report .state/chaos.json --tables .state/chaos.md
