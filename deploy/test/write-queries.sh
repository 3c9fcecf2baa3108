#!/bin/sh
# Writes .sqlx anew from the code and the migrations: `make queries`.
set -eu
# shellcheck source=deploy/test/steps.sh
. "$(dirname "$0")/steps.sh"

written=.state/queries
step 'engine' deploy/engine/start.sh
step 'images of other parts' deploy/standin/images.sh
rm -rf "$written"
step 'queries' deploy/test/image.sh queries --output "type=local,dest=$written"
rm -rf .sqlx
mkdir .sqlx
cp "$written"/* .sqlx/
# Under sudo the files would belong to root.
chown -R "$(ls -dn . | awk '{ print $3 ":" $4 }')" .sqlx
