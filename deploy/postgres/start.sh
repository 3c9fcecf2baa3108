#!/bin/sh
# Hands Patroni this node's passwords, which show in no list of processes, and
# becomes it.
set -eu

home=/var/lib/postgresql/data
secrets=/run/secrets/postgres
read_secret() { cat "$secrets/$1_password"; }

# One container has the data, as long as it lives. Two may be given the same volume, as by
# `docker compose run postgres-2` beside the one that serves, and Postgres looks only for
# processes of its own container. The lock is held by a process that ends with the container:
# Postgres may outlive Patroni by a moment.
exec 9>"$home/.lock"
flock -n 9 || {
    echo '{"level":"error","service.name":"'"$PATRONI_NAME"'","message":"another container has the data of this node: this one ends"}' >&3
    exit 1
}
sleep infinity >/dev/null 2>&1 3>&- &
exec 9>&-

# For whoever comes in by `docker compose exec` and asks for the primary:
# psql -h haproxy -U postgres
umask 077
echo "haproxy:*:*:postgres:$(read_secret superuser)" >/tmp/pgpass

PATRONI_SUPERUSER_PASSWORD=$(read_secret superuser)
PATRONI_REPLICATION_PASSWORD=$(read_secret replicator)
PATRONI_REWIND_PASSWORD=$(read_secret rewinder)
export PATRONI_SUPERUSER_PASSWORD PATRONI_REPLICATION_PASSWORD PATRONI_REWIND_PASSWORD

# Who changes something by Patroni's API shows this password. patronictl finds it in a file
# beside patroni.yml, and curl in its own: they run in callbacks and by `docker compose exec`,
# where the environment of this process is not theirs.
mkdir -p /tmp/patroni
ln -sf /etc/boxoffice/patroni.yml /tmp/patroni/patroni.yml
patroni_password=$(read_secret patroni)
cat >/tmp/patroni/secrets.yml <<SECRETS
restapi:
  authentication: {username: patroni, password: '$patroni_password'}
SECRETS
echo "user = \"patroni:$patroni_password\"" >/tmp/.curlrc

# Patroni keeps its own variables from what it runs, and roles.sh needs this one.
export NODE_NAME="$PATRONI_NAME"

# A pid file of a container that was killed names a process of this one. No other
# container can have written it, because this one has the lock.
rm -f "$home/cluster/postmaster.pid"

sh /etc/boxoffice/backup.sh watch 3>&- &
exec patroni /tmp/patroni
