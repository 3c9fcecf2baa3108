#!/bin/sh
# Runs a command that compiles, with databases that the migrations in the working
# directory have just made: each query is checked against them. They are made in the
# Postgres of with-postgres.sh: with-postgres.sh with-databases.sh <command …>
set -eu

server=${DATABASE_URL%/*}
bank=$(mktemp)
for owner in booking identity; do
    psql --quiet "$server/postgres" --command "CREATE DATABASE $owner"
    for migration in services/$owner/migrations/*.sql; do
        psql --quiet --set ON_ERROR_STOP=1 --file "$migration" "$server/$owner"
    done
done
cat services/bank/migrations/*.sql | python3 -c '
import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())' "$bank"

SQLX_OFFLINE=false BOOKING_DATABASE_URL=$server/booking IDENTITY_DATABASE_URL=$server/identity \
    BANK_DATABASE_URL=sqlite://$bank "$@"
