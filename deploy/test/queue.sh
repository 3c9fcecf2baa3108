#!/bin/sh
# Fills a folder with the checks that need a stack, a file each, for lane.sh to take:
# queue.sh <folder> [word in the check's name]. Runs where the tests are.
#
# A file's name is its turn and what it checks; in it stands how. The slowest kinds
# come first, so that the lanes end together.
set -eu

folder=$1
word=${2:-}
rm -rf "$folder"
mkdir -p "$folder"
turn=100
check() { # <kind> <name> <command>
    case "$1 $2" in *"$word"*) ;; *) return 0 ;; esac
    turn=$((turn + 1))
    printf '%s\n' "$3" >"$folder/$turn $1 $(printf '%s' "$2" | tr / .)"
}
# A program that cannot say what it has must not pass for one that has nothing.
controls=$(/tests/controls --ignored --list --format terse)
scenarios=$(/tests/scenarios --ignored --skip side_by_side:: --list --format terse)
names() { echo "$1" | sed -n 's/: test$//p'; }

for name in $(names "$controls"); do
    check control "$name" "/tests/controls --ignored --exact $name"
done
for page in README.md $(find docs -name '*.md' | sort); do
    ! grep -q '^```console\( eventually\)*$' "$page" \
        || check page "$page" "PAGE=$page /tests/documentation --ignored"
done
for name in $(names "$scenarios"); do
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
