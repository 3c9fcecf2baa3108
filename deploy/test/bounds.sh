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
    deploy/test/stack.sh run bench /target/release/chaos run \
        --rounds "${RUNS:-10}" --seed "${SEED:-1}" --faults "${FAULTS:-}" --state "$found" || kept=$?
    # 1 says that something was not kept, and there is a table all the same.
    [ "$kept" -le 1 ]
}

# The table over all runs, of those that came before a break as well.
print_table() {
    kept=0
    toolbox - /target/release/chaos table --state "$found" >"$table" || kept=$?
    [ "$kept" -le 1 ]
}

# Puts the table between its marks on the page.
publish() {
    awk -v table="$table" '
        /^<!-- measured -->$/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1 }
        /^<!-- end of measured -->$/ { skip = 0 }
        !skip' "$page" >.state/bounds-page.md
    cat .state/bounds-page.md >"$page"
    rm .state/bounds-page.md
}

step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
step 'images of our own parts' docker compose build --quiet
step 'the program' toolbox - cargo build --release --locked --quiet --package tests --bin chaos
own_stack bench
step 'stack' deploy/test/stack.sh up bench
step 'faults' measure
deploy/test/stack.sh down bench || true
stack=
print_table
publish
cat "$table"
exit "$kept"
