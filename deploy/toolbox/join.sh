#!/bin/sh
# Runs a command joined to a stack, for run.sh: with the addresses of its parts, and
# with its passwords, which stand in files and in no command line.
set -eu

superuser=$(cat /run/secrets/postgres/superuser_password)
export DATABASE_URL="postgres://postgres:$superuser@haproxy:5432/postgres"
export BOXOFFICE_DOOR=http://nginx:8080
export REDIS_SENTINELS=sentinel-1:26379,sentinel-2:26379,sentinel-3:26379
export REDIS_PASSWORD_FILE=/run/secrets/redis/redis_password
export CACHE_ADDRESS=cache:6379
export CACHE_PASSWORD_FILE=/run/secrets/redis/cache_password
export SQS_ENDPOINT=http://localstack:4566
export DYNAMODB_ENDPOINT=http://dynamodb:8000
export ETCD_ENDPOINTS=http://etcd-1:2379,http://etcd-2:2379,http://etcd-3:2379
export PROMETHEUS_URL=http://prometheus:9090
export BOOKING_URL=http://booking:9000
export BANK_URL=http://bank:8080
export BANK_KEY_FILE=/run/secrets/crowd/bank_key
exec "$@"
