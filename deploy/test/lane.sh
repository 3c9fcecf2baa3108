#!/bin/sh
# Takes one check after another from a queue and runs it on the stack that it is
# joined to, until none is left: lane.sh <queue> <results> <name of the lane>. Several
# lanes share a queue. One that fails keeps no other from running.
set -eu

queue=$1
results=$2
lane=$3
taken=$queue.taken
output=.state/$lane.output
mkdir -p "$taken" .state/failed
while :; do
    file=$(find "$queue" -maxdepth 1 -type f | sort | head -n 1)
    [ -n "$file" ] || break
    # The lane that moves it has it.
    check=$taken/$(basename "$file")
    if ! mv "$file" "$check" 2>/dev/null; then
        [ ! -e "$file" ] || { echo "lane: cannot take $file" >&2; exit 1; }
        continue
    fi
    name=${check#* }
    started=$(date +%s)
    outcome=passed
    timeout --kill-after 10 1800 sh "$check" >"$output" 2>&1 || outcome=FAILED
    line="$outcome $(($(date +%s) - started)) s  $name"
    echo "$line" >>"$results"
    [ "$outcome" = FAILED ] || { echo "$line"; continue; }
    echo "$line ($lane)"
    tail -n 200 "$output"
    mv "$output" ".state/failed/$name"
    [ -S /var/run/docker.sock ] || continue
    for container in $(docker ps --all --quiet --filter "label=com.docker.compose.project=$BOXOFFICE_PROJECT"); do
        # It may be gone by now.
        docker inspect --format '--- {{.Name}}' "$container" || continue
        docker logs --timestamps --since "$started" "$container" 2>&1 || continue
    done >".state/failed/$name: containers"
done
