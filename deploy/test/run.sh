#!/bin/sh
# All checks: `make test`. Of them only those whose names have a word in them:
# `make test ONLY=<word>`. KEEP=1 leaves the stacks up, and the next run uses them.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

only=${ONLY:-}
stacks_at_once=${STACKS:-$([ -z "$only" ] && echo 3 || echo 1)}
queue=.state/queue
results=.state/results

lane() { # <stack>
    deploy/test/stack.sh run "$1" --image boxoffice/checks --engine \
        deploy/test/lane.sh "$queue" "$results" "$1"
}

checks_on_stacks() {
    rm -rf .state/failed "$queue.taken"
    : >"$results"
    toolbox --image boxoffice/checks deploy/test/queue.sh "$queue" "$only" || return 1
    each_stack lane
    passed=$(grep -c ^passed "$results") || true
    failed=$(grep -c ^FAILED "$results") || true
    echo "The longest:"
    sort -k2 -n -r "$results" | head -n 12
    grep ^FAILED "$results" || true
    echo "checks: $passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ] && [ -z "$(ls "$queue")" ]
}

step 'engine' deploy/engine/start.sh
step 'images of the stack' deploy/images.sh
if [ -z "$only" ]; then
    step 'which images are chosen' deploy/test/image-choice.sh
    step 'toolbox' deploy/test/image.sh toolbox
    step 'compose files, with Grafana and without' deploy/test/compose-files.sh
    step 'dashboards against the published types' deploy/test/image.sh dashboards
fi
[ -n "$only" ] || step 'formatting, lints, queries' deploy/test/image.sh lint
step 'programs of the tests' deploy/test/image.sh checks

for number in $(seq "$stacks_at_once"); do own_stack "test-$number"; done
step 'stacks' each_stack deploy/test/stack.sh "$([ -z "${KEEP:-}" ] && echo up || echo refresh)"
step 'checks on stacks' checks_on_stacks
