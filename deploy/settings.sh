# shellcheck shell=sh
# Sourced: the settings that the compose files read (docs/operations.md), without the images and
# GRAFANA, which `make up` writes into .env. A stack of tests has values of its own for all of
# them, and a container that calls Compose receives all of them.
# shellcheck disable=SC2034
settings='BOXOFFICE_PORT BOXOFFICE_NETWORK BACKGROUND_CROWD LOG
HOLD_SECONDS SETTLEMENT_SECONDS LEASE_SECONDS SWEEP_SECONDS VISIBILITY_SECONDS RESEND_SECONDS
EVENT_KEEP_HOURS SEATS_PER_ACCOUNT MOST_SESSIONS SESSIONS_PER_ADDRESS PASSWORD_HASHES_PER_SECOND
DOOR_REQUESTS_PER_SECOND DOOR_SIGN_INS_PER_SECOND DOOR_CONNECTIONS
BACKUP_KEEP_DAYS BACKUP_MAX_MB BACKUP_REPO2'
