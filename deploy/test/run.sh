#!/bin/sh
# All checks: `make test`. `make test ONLY=<word>` runs those with the word in their
# names. KEEP=1 leaves the stacks up for the next run with KEEP=1.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

only=${ONLY:-}
stacks_at_once=${STACKS:-$([ -z "$only" ] && echo 3 || echo 1)}
queue=.state/queue
results=.state/results

# The shell becomes the lane's container, so that a signal reaches it. Tests of crates
# make no faults, so they get no engine. Each makes databases of its own, in a Postgres
# that is not copied to standbys and to an archive.
crates_lane() { # <stack>
    exec deploy/test/stack.sh run "$1" --image boxoffice/checks \
        deploy/test/with-postgres.sh deploy/test/lane.sh "$queue/crates" "$results" "$1"
}
lane() { # <stack>
    exec deploy/test/stack.sh run "$1" --image boxoffice/checks --engine \
        deploy/test/lane.sh "$queue/stack" "$results" "$1"
}

checks_on_stacks() {
    : >"$results"
    toolbox --image boxoffice/checks deploy/test/queue.sh "$queue" "$only" || return 1
    total=$(find "$queue" -type f | wc -l)
    each_stack crates_lane || echo 'checks: a lane ended early'
    each_stack lane || echo 'checks: a lane ended early'
    passed=$(grep -c ^passed "$results") || true
    failed=$(grep -c ^FAILED "$results") || true
    echo "The longest:"
    sort -k2 -n -r "$results" | head -n 12
    grep ^FAILED "$results" || true
    echo "checks: $passed of $total passed, $failed failed"
    [ "$passed" -gt 0 ] && [ "$passed" -eq "$total" ]
}

step 'engine' deploy/engine/start.sh
step 'images of the stack' deploy/images.sh
if [ -z "$only" ]; then
    step 'which images are chosen' deploy/test/image-choice.sh
    step 'toolbox' deploy/test/image.sh toolbox
    step 'machines that cannot run the stack' toolbox deploy/test/machine.sh
    step 'compose files, with Grafana and without' deploy/test/compose-files.sh
    step 'dashboards against the published types' deploy/test/image.sh dashboards
    step 'formatting, lints, queries' deploy/test/image.sh lint
fi
step 'programs of the tests' deploy/test/image.sh checks

for number in $(seq "$stacks_at_once"); do own_stack "test-$number"; done
step 'stacks' each_stack deploy/test/stack.sh "$([ -z "${KEEP:-}" ] && echo up || echo refresh)"
step 'checks on stacks' checks_on_stacks
