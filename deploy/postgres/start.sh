#!/bin/sh
# Hands Patroni this node's passwords, which show in no list of processes, and
# becomes it.
set -eu

secrets=/run/secrets/postgres
read_secret() { cat "$secrets/$1_password"; }

# For whoever comes in by `docker compose exec` and asks for the primary:
# psql -h haproxy -U postgres
umask 077
echo "haproxy:*:*:postgres:$(read_secret superuser)" >/tmp/pgpass

PATRONI_SUPERUSER_PASSWORD=$(read_secret superuser)
PATRONI_REPLICATION_PASSWORD=$(read_secret replicator)
PATRONI_REWIND_PASSWORD=$(read_secret rewinder)
export PATRONI_SUPERUSER_PASSWORD PATRONI_REPLICATION_PASSWORD PATRONI_REWIND_PASSWORD
# Patroni keeps its own variables from what it runs, and claim-timeline.py needs these.
export NODE_NAME="$PATRONI_NAME" ETCD_HOSTS="$PATRONI_ETCD3_HOSTS"

# A pid file of a container that was killed names a process of this one.
rm -f /var/lib/postgresql/data/cluster/postmaster.pid

# What was left out for a promotion that never came (claim-timeline.py).
never=
for history in /var/lib/postgresql/data/cluster/pg_wal/*.history; do
    if tail -n 1 "$history" 2>/dev/null | grep -q 'claimed by'; then
        never="$never $history"
    else
        never=
    fi
done
[ -z "$never" ] || rm $never

sh /etc/boxoffice/copy-anew.sh >/dev/null 2>&1 &
exec patroni /etc/boxoffice/patroni.yml
