#!/bin/sh
# Fills two folders with the checks that need a stack, a file each, for lane.sh to
# take: queue.sh <folder> [word in the check's name]. Runs where the tests are.
#
#   <folder>/crates   tests of crates on the stores; they make no faults
#   <folder>/stack    negative controls, pages, scenarios: they need the engine
#
# A file's name is its turn and what it checks; in it stands how. The slow ones come
# first, so that the lanes end together.
set -eu

folder=$1
word=${2:-}
rm -rf "$folder" .state/failed
mkdir -p "$folder/crates" "$folder/stack"
turn=100
check() { # <kind> <name> <command>
    case "$1 $2" in *"$word"*) ;; *) return 0 ;; esac
    turn=$((turn + 1))
    needs=$([ "$1" = crate ] && echo crates || echo stack)
    printf '%s\n' "$3" >"$folder/$needs/$turn $1 $(printf '%s' "$2" | tr / .)"
}
# A program that fails to list its tests fails the run here; in a pipe it would count
# as one without tests.
controls=$(/tests/controls --ignored --list --format terse)
scenarios=$(/tests/scenarios --ignored --skip side_by_side:: --list --format terse)
names() { echo "$1" | sed -n 's/: test$//p'; }

for name in $(names "$controls"); do
    check control "$name" "/tests/controls --ignored --exact $name"
done
for page in README.md $(find docs -name '*.md' | sort); do
    if grep -q '^```console\( eventually\)*$' "$page"; then
        check page "$page" "PAGE=$page /tests/documentation --ignored"
    fi
done
slow='^\(postgres_data\|fuzz\|chaos\|crowd\|cold_start\)::'
for name in $(names "$scenarios" | grep "$slow") $(names "$scenarios" | grep -v "$slow"); do
    check scenario "$name" "/tests/scenarios --ignored --exact $name --nocapture"
done
# These hurt no part, so they share a stack.
check scenario side_by_side "/tests/scenarios --ignored --test-threads 4 side_by_side::"
for tests in /tests/*; do
    crate=$(basename "$tests")
    case "$crate" in
    controls) ;;
    # What of these needs no stack.
    documentation | scenarios) check crate "$crate" "$tests" ;;
    *) check crate "$crate" "$tests --include-ignored" ;;
    esac
done
