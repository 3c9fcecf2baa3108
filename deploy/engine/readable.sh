#!/bin/sh
# Lets the users of the containers read the files of the repository that are mounted
# into them. After a clone under `umask 077` only their owner can.
set -eu

cd "$(dirname "$0")/../.."
# Nothing in these folders is secret; passwords and keys are made in a volume.
set -- deploy grafana docs/problems
closed() { find "$@" '(' -type d ! -perm -0005 -o -type f ! -perm -0004 ')' -print | head -n 1; }
[ -n "$(closed "$@")" ] || exit 0
chmod -R a+rX "$@" 2>/dev/null || true
first=$(closed "$@")
[ -z "$first" ] || {
    echo "machine: containers cannot read $first, and its mode cannot be changed by this user: run chmod -R a+rX $* as the owner" >&2
    exit 1
}
echo "machine: only their owner could read the files that containers mount: made readable for all"
