#!/bin/sh
# Lints the workspace while each query is checked against databases that the
# migrations have just made, and holds the outcome against .sqlx, which builds
# without a database read.
#
#   queries.sh check   fails where .sqlx is not what code and migrations say
#   queries.sh write   makes .sqlx anew
set -euf

action=$1
found=$(mktemp -d)
crates='crates/outbox services/bank services/booking services/identity services/worker'

clippy='cargo clippy --release --workspace --all-targets --locked --quiet -- -D warnings'
passed=target/queries
held=$(find Cargo.lock .sqlx $crates -type f -exec sha256sum {} + | sort | sha256sum)
if [ "$action" = check ] && [ "$held" = "$(cat "$passed" 2>/dev/null)" ]; then
    exec deploy/service/compile.sh $clippy
fi

# Clippy looks at no crate again that it has seen, unless a file of it is newer.
deploy/service/compile.sh true
for crate in $crates; do
    touch "$crate/src/lib.rs"
done
SQLX_OFFLINE_DIR=$found deploy/test/with-databases.sh $clippy

case "$action" in
write)
    rm -rf .sqlx
    cp -r "$found" .sqlx
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
