#!/bin/sh
# Lints the workspace while sqlx checks each query against databases that the
# migrations have just made. Compares what sqlx records with .sqlx, from which builds
# read that have no database.
#
#   queries.sh check   fails where .sqlx is not what code and migrations say
#   queries.sh write   makes .sqlx anew
set -eu

action=$1
found=$(mktemp -d)
crates=$(grep -rlE 'query(_as|_scalar)?!\(' crates/*/src services/*/src | cut -d/ -f1,2 | sort -u)
set -f

clippy='cargo clippy --release --workspace --all-targets --locked --quiet -- -D warnings'
passed=target/queries
held=$(find Cargo.lock .sqlx $crates -type f -exec sha256sum {} + | sort | sha256sum)
if [ "$action" = check ] && [ "$held" = "$(cat "$passed" 2>/dev/null)" ]; then
    exec deploy/service/compile.sh $clippy
fi

# Clippy skips a crate that it has checked, unless a file of it is newer.
deploy/service/compile.sh true
for crate in $crates; do
    touch "$crate/src/lib.rs"
done
SQLX_OFFLINE_DIR=$found deploy/test/with-postgres.sh deploy/test/with-databases.sh $clippy

case "$action" in
write)
    rm -rf .sqlx
    mkdir .sqlx
    find "$found" -type f -exec cp {} .sqlx/ ';'
    ;;
check)
    diff --recursive --brief .sqlx "$found" || {
        echo 'queries: .sqlx is out of date: make queries'
        exit 1
    }
    echo "$held" >"$passed"
    ;;
*) echo "queries: check or write, not $action" >&2; exit 64 ;;
esac
