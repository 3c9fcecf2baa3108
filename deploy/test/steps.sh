# shellcheck shell=sh
# Sourced by the scripts beside it: steps that say what they took, and stacks
# that are taken down at the end, unless KEEP is set.
#
#   step <title> <command …>   runs the command; the script ends where it fails
#   own_stack <name>           from here on: on failure its logs are kept, at the end it is taken down
#   each_stack <command …>     runs the command for each of these stacks, all at the same time
#
# At the end a table says what each step took.

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root" || exit 1
mkdir -p .state
stacks=
running=
steps=.state/steps.$$
: >"$steps"

step() {
    title=$1
    shift
    printf '── %s\n' "$title"
    started=$(date +%s)
    status=0
    "$@" || status=$?
    took=$(($(date +%s) - started))
    failed=$([ "$status" = 0 ] || echo ", FAILED ($status)")
    printf '── %s: %s s%s\n' "$title" "$took" "$failed"
    printf '%6s s  %s%s\n' "$took" "$title" "$failed" >>"$steps"
    [ "$status" = 0 ] || exit "$status"
}

own_stack() { stacks="$stacks $1"; }

each_stack() {
    for stack in $stacks; do
        "$@" "$stack" &
        running="$running $!"
    done
    ended=0
    for process in $running; do wait "$process" || ended=1; done
    running=
    return "$ended"
}

finish() {
    status=$?
    trap - EXIT INT TERM
    # shellcheck disable=SC2086
    [ -z "$running" ] || { kill $running; wait $running; } 2>/dev/null || true
    for stack in $stacks; do
        [ "$status" = 0 ] || deploy/test/stack.sh logs "$stack" >".state/$stack-logs" 2>&1 || true
        [ -n "${KEEP:-}" ] || deploy/test/stack.sh down "$stack" || true
    done
    [ "$status" = 0 ] || [ -z "$stacks" ] || echo "The end of each container's log: .state/<stack>-logs"
    printf '\n'
    cat "$steps"
    awk '{ sum += $1 } END { printf "%6s s  in all\n", sum }' "$steps"
    rm -f "$steps"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

toolbox() { deploy/toolbox/run.sh "$@"; }

# The state of the tree, as Git names it.
tree() { git describe --always --dirty --exclude '*' 2>/dev/null || true; }

# Puts a table between its marks on a page.
publish() {
    awk -v table="$1" '
        /^<!-- measured -->$/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1 }
        /^<!-- end of measured -->$/ { skip = 0 }
        !skip' "$2" >.state/page.md
    cat .state/page.md >"$2"
    rm .state/page.md
}
