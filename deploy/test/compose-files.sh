#!/bin/sh
# Both ways of the compose files can be read, and nothing but the edge is
# published; every container has what every container must have; what a label says of
# its networks is what they are (tests/faults/src/container.rs); each image is built by
# one service; all pools of connections together leave Postgres room;
# deploy/settings.sh names every setting.
set -eu
cd "$(dirname "$0")/../.."

# shellcheck source=deploy/settings.sh
. deploy/settings.sh
for name in $(cat docker-compose.yml deploy/*/*.yml | grep -o '\${[A-Z0-9_]*' | tr -d '${' | sort -u); do
    case "$name" in
    *_IMAGE | GRAFANA | PIP_INDEX_URL | ETCD_INITIAL_CLUSTER_STATE) continue ;;
    esac
    # shellcheck disable=SC2086
    printf '%s\n' $settings | grep -qx "$name" || {
        echo "compose-files: $name is not among the settings in deploy/settings.sh" >&2
        exit 1
    }
done

for grafana in on off; do
    GRAFANA=$grafana docker compose config --format json >.state/compose-$grafana.json
done
deploy/toolbox/run.sh sh -euc '
for grafana in on off; do
    jq --exit-status --arg grafana "$grafana" "
        def must(\$what; condition): if condition then . else error(\"\(.key): \" + \$what) end;
        (.services | has(\"grafana\")) as \$has
        | if \$has != (\$grafana == \"on\") then error(\"grafana: the switch does nothing\") else . end
        | [.services[] | select(.build != null) | .image] as \$built
        | if (\$built | length) != (\$built | unique | length) then error(\"an image is built by several services\") else . end
        | [.services | to_entries[]
            | must(\"memory limit\"; .value.mem_limit != null)
            | must(\"restart policy\"; .value.restart == \"unless-stopped\" or .key == \"secrets\")
            | must(\"health check\"; .value.healthcheck.test != null or .key == \"secrets\")
            | must(\"user\"; .value.user != null or .value.build.dockerfile == \"deploy/service/Dockerfile\")
            | must(\"read-only root\"; .value.read_only)
            | must(\"dropped capabilities\"; .value.cap_drop == [\"ALL\"])
            | must(\"bounded log\"; .value.logging.options[\"max-size\"] != null)
            | must(\"no proxy of the client\"; .value.environment as \$set
                | [\"http_proxy\", \"https_proxy\", \"ftp_proxy\", \"all_proxy\", \"no_proxy\"]
                | all(\$set[.] == \"\" and \$set[ascii_upcase] == \"\"))
            | must(\"no published port\"; .value.ports == null or .key == \"nginx\")
            | must(\"networks in its label\"; .key == \"secrets\" or (
                [.value.networks | to_entries[]
                    | .key + (if .value.ipv4_address then \"=\" + .value.ipv4_address else \"\" end)] | sort)
                == ((.value.labels[\"boxoffice.networks\"] // \"\") | split(\" \") | sort))
            | must(\"no fixed name\"; .value.container_name == null)
            | must(\"pool\"; .value.environment.DATABASE_HOST == null or .value.environment.DATABASE_POOL != null)] | length > 0
    " ".state/compose-$grafana.json" >/dev/null
done
# The rest is for Patroni, the exporter, base backups, migrations, an operator, and for two more
# replicas of a service.
most=60
connections=$(sed -n "s/^ *max_connections: //p" deploy/postgres/patroni.yml)
pools=$(jq "[.services[] | select(.environment.DATABASE_POOL)
    | (.environment.DATABASE_POOL | tonumber) * (.deploy.replicas // 1)] | add" .state/compose-on.json)
[ "$pools" -le "$most" ] && [ "$most" -le $((connections * 6 / 10)) ] || {
    echo "compose-files: pools of $pools connections in all, of $most, and Postgres has $connections" >&2
    exit 1
}'
