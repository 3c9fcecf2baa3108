#!/bin/sh
# Begins a command in the toolbox, for run.sh.
#
# The folder of what was compiled is there for every copy of the tree on this
# machine. Cargo tells our crates apart by their place within the tree, and sees
# by the times of files alone whether one changed: it would take the programs of
# one copy for those of another. So when the copy is another one than last time,
# what was compiled of our own crates is forgotten, and the rest is kept.
set -eu

if [ -d /target/debug ] && [ "$(cat /target/tree 2>/dev/null)" != "$PWD" ]; then
    cargo clean --workspace --quiet
    cargo clean --workspace --release --quiet
fi
pwd >/target/tree
exec "$@"
