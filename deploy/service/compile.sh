#!/bin/sh
# Runs cargo in a tree of the builder, with what earlier builds compiled in
# /src/target, a cache that all our builds share: compile.sh <command …>
#
# Cargo compiles again what was made from a file that is newer than its output. The
# time of a copied file says nothing of that: in a fresh clone each file is new. So
# each file gets the time at which a build first saw its present content.
set -eu

record=/src/target/contents$(pwd | tr / -)
touch -a "$record"
find . -path ./target -prune -o -type f -exec sha256sum {} + >/tmp/contents
# The content of a folder that build scripts watch is its list of files.
for folder in ./services/*/migrations; do
    ls "$folder" | sha256sum | sed "s|-$|$folder|" >>/tmp/contents
done
find . -path ./target -prune -o -type d -exec touch -d @0 {} +
awk -v now="$(date +%s)" '
    # A line of the record is a time and a line of sha256sum: 64 digits, two spaces, a file.
    FILENAME == ARGV[1] { line = $0; sub(/^[0-9]+ /, "", line); since[line] = $1; next }
    { print (($0 in since) ? since[$0] : now), $0; here[substr($0, 67)] }
    # Another build may have left files out of its context.
    END { for (line in since) if (!(substr(line, 67) in here)) print since[line], line }' "$record" /tmp/contents >"$record.new"
mv "$record.new" "$record"
while read -r time _ file; do [ ! -e "$file" ] || touch -d "@$time" "$file"; done <"$record"

# After a build that was broken off, what was compiled may not fit together and
# fail to link: then our own crates are compiled anew.
run() {
    rm -f /tmp/ended-well
    { "$@" 2>&1 && touch /tmp/ended-well; } | tee /tmp/printed
    [ -e /tmp/ended-well ]
}
run "$@" || { grep -q '^error: linking with' /tmp/printed && cargo clean --release --workspace && run "$@"; }
