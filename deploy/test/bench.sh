#!/bin/sh
# The table of speed and size, measured on a stack of its own: `make bench`.
# What it prints also goes into docs/benchmarks.md. Exits with 1 where a bound
# was not kept.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

page=docs/benchmarks.md
table=.state/bench.md
tree=.state/rebuild

# What `docker compose build booking` takes after one line of it has changed:
# in a copy of the tree and under an image's name of its own, so that an
# interruption leaves nothing changed. The line is data that nobody reads, so
# that the builder's cache, which both trees share, never holds a program that
# does something else. The first build only makes sure that the cache is warm;
# the last one takes the line out again. The longer of the other two counts.
rebuild() {
    rm -rf "$tree"
    mkdir "$tree"
    for part in .dockerignore .env .sqlx Cargo.lock Cargo.toml crates deploy docker-compose.yml services tests; do
        [ ! -e "$part" ] || cp -R "$part" "$tree"
    done
    sed 's|image: boxoffice/booking$|image: boxoffice/rebuilt|' deploy/booking/compose.yml \
        >"$tree/deploy/booking/compose.yml"
    rebuilt=0
    for number in 1 2 ''; do
        source=services/booking/src/cursor.rs
        {
            cat "$source"
            [ -z "$number" ] || echo "#[used] static A_CHANGED_LINE: u8 = $number;"
        } >"$tree/$source"
        started_build=$(date +%s)
        (cd "$tree" && docker compose build --quiet booking) >.state/rebuild.log 2>&1 || {
            rebuilt="the build failed: $(tail -n 1 .state/rebuild.log)"
            break
        }
        took=$(($(date +%s) - started_build))
        [ "$number" = 1 ] || [ "$took" -le "$rebuilt" ] || rebuilt=$took
    done
    docker image rm --force boxoffice/rebuilt >/dev/null 2>&1 || true
    rm -rf "$tree"
}

# From nothing but images, until the stack would sell.
start() {
    deploy/test/stack.sh down bench || true
    started_stack=$(date +%s)
    deploy/test/stack.sh up bench || return
    ready=$(($(date +%s) - started_stack))
}

measure() {
    kept=0
    deploy/test/stack.sh run bench --image boxoffice/harness --engine \
        env "READY_SECONDS=$ready" "REBUILD_SECONDS=$rebuilt" bench >"$table" || kept=$?
    # 1 says that a bound was not kept, and there is a table all the same.
    [ "$kept" -le 1 ]
}

step 'engine' deploy/engine/start.sh
step 'images of the stack' deploy/images.sh
step 'benchmark' deploy/test/image.sh harness
step 'rebuild of one service' rebuild
own_stack bench
step 'stack' start
step 'measurements' measure
publish "$table" "$page"
cat "$table"
exit "$kept"
