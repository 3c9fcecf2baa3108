# shellcheck shell=sh
# Sourced: the settings that the compose files read (docs/operations.md), without the images and
# GRAFANA, which `make up` writes into .env. A stack of tests has values of its own for all of
# them, and a container that calls Compose receives all of them.
# shellcheck disable=SC2034
settings='BOXOFFICE_PORT BOXOFFICE_NETWORK BACKGROUND_CROWD LOG
HOLD_SECONDS SETTLEMENT_SECONDS LEASE_SECONDS SWEEP_SECONDS VISIBILITY_SECONDS RESEND_SECONDS
EVENT_KEEP_HOURS SEATS_PER_ACCOUNT MOST_SESSIONS
DOOR_REQUESTS_PER_SECOND DOOR_SIGN_INS_PER_SECOND DOOR_CONNECTIONS
BACKUP_HOURS BACKUP_WAL_MB ARCHIVE_COPY ARCHIVE_BUCKET ARCHIVE_REGION ARCHIVE_PROVIDER
ARCHIVE_ENDPOINT AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY'
