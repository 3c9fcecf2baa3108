#!/bin/sh
# What the scripts of deploy/engine say of a machine that cannot run the stack, and what
# they do to one: in a copy of the tree, with a client of an engine that answers what a
# case says. Runs in the toolbox, where there is no engine and nothing to spoil.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
listener=
finish() {
    status=$?
    trap - EXIT
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    [ ! -s "$tree/.state/engine/dockerd.pid" ] || kill "$(cat "$tree/.state/engine/dockerd.pid")" 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
tree="$work/a tree"
trap finish EXIT
mkdir "$work/bin" "$tree"
cp -R .gitattributes .gitignore Makefile docker-compose.yml deploy docs grafana "$tree/"
fail() {
    echo "machine: $*" >&2
    cat "$work/said" >&2
    exit 1
}

cat >"$work/bin/docker" <<'CLIENT'
#!/bin/sh
case "$*" in
'version --format {{.Server.APIVersion}}') echo "${API:-1.41}" ;;
'version --format {{.Server.Version}}') [ -n "${ENGINE:-}" ] || [ -e "$WORK/engine" ] ;;
'compose version --short') echo "${COMPOSE:-2.24.5}" ;;
'buildx version') ;;
'context inspect '*) echo "${CONTEXT:-unix:///var/run/docker.sock}" ;;
'info --format {{.OperatingSystem}}') echo "${SYSTEM:-Debian}" ;;
'info --format {{.MemTotal}}') echo "${MEMORY:-8000000000}" ;;
'info --format {{.DockerRootDir}}') echo /tmp ;;
'ps --filter publish='*) echo "${PUBLISHED:-}" ;;
'ps --quiet '*) ;;
'network ls --quiet --filter label=com.docker.compose.project=boxoffice') echo "${OWN:-}" ;;
'network ls --quiet') echo 1 ;;
'network inspect '*) echo 'none'; echo 'bridge 172.30.0.0/16'; echo "${NETWORKS:-}" ;;
'image inspect '*) ;;
*) echo "not to be asked: docker $*" >&2; exit 1 ;;
esac
CLIENT
cat >"$work/bin/apt-get" <<'INSTALLER'
#!/bin/sh
[ "$1" = install ] || exit 0
cat >"$WORK/bin/dockerd" <<'ENGINE'
#!/bin/sh
ulimit -n >"$WORK/files"
touch "$WORK/engine"
sleep 600
ENGINE
chmod +x "$WORK/bin/dockerd"
INSTALLER
chmod +x "$work/bin/docker" "$work/bin/apt-get"
with() { # <variable …> <script>: what it says is in $work/said
    env -u CI -u INSTALL_ENGINE -u DOCKER_HOST -u BOXOFFICE_PORT -u BOXOFFICE_NETWORK \
        -u COMPOSE_PROJECT_NAME "WORK=$work" "PATH=$work/bin:$PATH" "$@" </dev/null >"$work/said" 2>&1
}
look="$tree/deploy/engine/machine.sh"

# What this machine itself lacks, such as memory, is said in each case; modes of files
# are mended the first time.
with "$look" || true
with "$look" || true
cp "$work/said" "$work/lacks"
refused() { # <words that are said> <variable …>
    words=$1
    shift
    ! grep -q "$words" "$work/lacks" || fail "it says without a reason: $words"
    ! with "$@" "$look" || fail "$* is accepted"
    [ "$(grep -c "$words" "$work/said")" = 1 ] || fail "with $* it does not say in one line: $words"
}
accepted() { # <variable …>
    with "$@" "$look" || true
    cmp -s "$work/said" "$work/lacks" || fail "with $* it says something else"
}
refused 'update it to Docker 20.10' API=1.40
refused 'update its plugin to 2.24.5' COMPOSE=v2.24.4
refused 'update its plugin to 2.24.5' COMPOSE=1.29.2
accepted COMPOSE=v2.40.3-desktop.1
accepted COMPOSE=5.0.0
accepted API=1.53
refused 'memory, and the stack needs' MEMORY=1000000000
refused 'overlaps that of other (10.80.0.0/12)' 'NETWORKS=other 10.80.0.0/12'
accepted 'NETWORKS=other 10.84.0.0/16'
refused 'overlaps that of other (10.83.0.224/28)' 'NETWORKS=other 10.83.0.224/28'
accepted 'NETWORKS=boxoffice_redis 10.83.0.0/26' OWN=2
refused 'not the first three numbers' BOXOFFICE_NETWORK=10.83
refused 'no number of a port' BOXOFFICE_PORT=http
refused 'published by the container someone-1' 'PUBLISHED=someone-1 other'
accepted 'PUBLISHED=boxoffice-nginx-1 boxoffice'
python3 -c '
import socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
time.sleep(600)' >"$work/port" &
listener=$!
tries=0
until [ -s "$work/port" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail 'nothing listens'
    sleep 0.1
done
port=$(cat "$work/port")
refused "port $port is taken" "BOXOFFICE_PORT=$port"
echo "BOXOFFICE_PORT=$port" >"$tree/.env"
refused "port $port is taken"
rm "$tree/.env"

# The engine's socket is where the client says.
socket() { # <where it must be> <variable …>
    where=$1
    shift
    with "$@" "$tree/deploy/engine/socket.sh" || fail "$* has no socket"
    [ "$(cat "$work/said")" = "$where" ] || fail "with $* the socket is elsewhere"
}
socket /var/run/docker.sock CONTEXT=
socket /run/user/1000/docker.sock CONTEXT=unix:///run/user/1000/docker.sock
socket /run/podman.sock DOCKER_HOST=unix:///run/podman.sock
socket /var/run/docker.sock CONTEXT=unix:///Users/a/.docker/run/docker.sock 'SYSTEM=Docker Desktop'
! with DOCKER_HOST=ssh://other "$tree/deploy/engine/socket.sh" || fail 'an engine elsewhere has a socket here'

# An engine is installed with consent only, and gets files enough.
start="$tree/deploy/engine/start.sh"
with ENGINE=yes "$start" || fail 'an engine that answers is not taken'
! with "$start" || fail 'an engine was installed without consent'
grep -q 'INSTALL_ENGINE=1' "$work/said" || fail 'it does not say how to consent'
! with CI=false "$start" || fail 'an engine was installed without consent'
[ ! -e "$work/bin/dockerd" ] || fail 'an engine was installed without consent'
! with CI=true DOCKER_HOST=unix:///run/other.sock "$start" || fail 'an engine that was not asked for was started'
grep -q '/run/other.sock does not answer' "$work/said" || fail 'it does not say which engine does not answer'
few=256
# shellcheck disable=SC3045
(ulimit -S -n "$few" && with CI=true "$start") || fail 'no engine was installed with consent'
[ "$(cat "$work/files")" -gt "$few" ] || fail 'the engine has few files'

# A clone that only its owner can read, with the line ends of another system.
git -C "$tree" init --quiet
git -C "$tree" add --all
git -C "$tree" -c user.name=a -c user.email=a@b.example commit --quiet --message all
(umask 077 && git -c core.autocrlf=true clone --quiet "$tree" "$work/clone")
! grep -rIl --exclude-dir=.git "$(printf '\r')" "$work/clone" >"$work/said" || fail 'lines end with a carriage return'
closed() { find "$work/clone/deploy" "$work/clone/docs/problems" "$work/clone/grafana" ! -perm -0004; }
[ -n "$(closed)" ] || fail 'the clone can be read by all at first'
with "$work/clone/deploy/engine/machine.sh" || true
[ -z "$(closed)" ] || fail 'containers cannot read the clone'
[ -z "$(git -C "$work/clone" status --porcelain)" ] || fail 'the clone is changed'
