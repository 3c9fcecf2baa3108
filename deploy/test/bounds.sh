#!/bin/sh
# Each row of the table of faults, so many times, on a stack of its own:
# `make bounds RUNS=10`. What it prints also goes into docs/failover.md. Exits
# with 1 where a promise or a bound was not kept. Broken off, it goes on where it
# was; `make bounds AGAIN=1` begins anew.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

page=docs/failover.md
found=.state/bounds.jsonl
table=.state/bounds.md
[ -z "${AGAIN:-}" ] || rm -f "$found"

measure() {
    kept=0
    deploy/test/stack.sh run bench --image boxoffice/harness --engine chaos run \
        --rounds "${RUNS:-10}" --seed "${SEED:-1}" --faults "${FAULTS:-}" --state "$found" --tree "$(tree)" || kept=$?
    # 1 says that something was not kept, and there is a table all the same.
    [ "$kept" -le 1 ]
}

# The table over all runs, of those that came before a break as well.
print_table() {
    kept=0
    toolbox --image boxoffice/harness chaos table --state "$found" >"$table" || kept=$?
    [ "$kept" -le 1 ]
}

step 'engine' deploy/engine/start.sh
step 'images of the stack' deploy/images.sh
step 'the program' deploy/test/image.sh harness
own_stack bench
step 'stack' deploy/test/stack.sh up bench
step 'faults' measure
print_table
publish "$table" "$page"
cat "$table"
exit "$kept"
