#!/bin/sh
# Lints the workspace while each query is checked against databases that the
# migrations have just made, and holds the outcome against .sqlx, which builds
# without a database read.
#
#   queries.sh check   fails where .sqlx is not what code and migrations say
#   queries.sh write   makes .sqlx anew
#
# Runs in the toolbox, joined to a stack whose Postgres it may make databases on.
set -eu

cd "$(dirname "$0")/../.."
action=$1
work=$(mktemp -d)
server=${DATABASE_URL%/*}
run=queries_$$
crates='crates/outbox services/bank services/booking services/identity services/worker'

# Cargo knows that a file changed by its time alone. So each file that is touched
# here has its own time back in the end, and what was compiled of it for the tests
# is not compiled again. But it keeps the new one where migrations or .sqlx are not
# what they were: programs hold them, and cargo does not always see that.
programs=${CARGO_TARGET_DIR:-target}/queries
held=$({ pwd; sha256sum services/*/migrations/*.sql .sqlx/*; } | sha256sum)

finish() {
    status=$?
    trap - EXIT
    if [ "$held" = "$(cat "$programs" 2>/dev/null)" ]; then
        for crate in $crates; do
            library=$crate/src/lib.rs
            ! cmp --silent "$work/$library" "$library" || touch --reference "$work/$library" "$library"
        done
    fi
    [ "$status" != 0 ] || echo "$held" >"$programs"
    for owner in booking identity; do
        psql --quiet "$server/postgres" --command "DROP DATABASE IF EXISTS ${run}_$owner WITH (FORCE)"
    done
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

for owner in booking identity; do
    psql --quiet "$server/postgres" --command "CREATE DATABASE ${run}_$owner"
    for migration in services/$owner/migrations/*.sql; do
        psql --quiet --set ON_ERROR_STOP=1 --file "$migration" "$server/${run}_$owner"
    done
done
cat services/bank/migrations/*.sql | python3 -c '
import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())' "$work/bank.sqlite"

# What is compiled already would not be looked at again.
for crate in $crates; do
    cp --parents --preserve=timestamps "$crate/src/lib.rs" "$work"
    touch "$crate/src/lib.rs"
done
mkdir "$work/found"
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$work/found \
    BOOKING_DATABASE_URL=$server/${run}_booking IDENTITY_DATABASE_URL=$server/${run}_identity \
    BANK_DATABASE_URL=sqlite://$work/bank.sqlite \
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

case "$action" in
write)
    rm -rf .sqlx
    cp -r "$work/found" .sqlx
    # The tree's owner's, whoever runs this.
    chown -R --reference=. .sqlx
    ;;
check)
    diff --recursive --brief .sqlx "$work/found" || {
        echo 'queries: .sqlx is out of date: make queries'
        exit 1
    }
    ;;
*) echo "queries: check or write, not $action" >&2; exit 64 ;;
esac
