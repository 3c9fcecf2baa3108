# shellcheck shell=sh
# Sourced by the scripts beside it: steps that say what they took, and a stack
# that is taken down whatever happens.
#
#   step <title> <command …>   runs the command; the script ends where it fails
#   own_stack <name>           from here on: on failure print logs, always take down

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root" || exit 1
mkdir -p .state
stack=

step() {
    title=$1
    shift
    printf '── %s\n' "$title"
    started=$(date +%s)
    status=0
    "$@" || status=$?
    printf '── %s: %s s%s\n' "$title" "$(($(date +%s) - started))" "$([ "$status" = 0 ] || echo ", FAILED ($status)")"
    [ "$status" = 0 ] || exit "$status"
}

own_stack() { stack=$1; }

finish() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$stack" ]; then
        [ "$status" = 0 ] || deploy/test/stack.sh logs "$stack" || true
        deploy/test/stack.sh down "$stack" || true
    fi
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
