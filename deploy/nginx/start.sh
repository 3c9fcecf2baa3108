#!/bin/sh
# Writes what depends on the environment, the keys that the services know, and the
# list of problems, then becomes Nginx.
set -eu

mkdir -p /tmp/site
for number in "$PORT" "$REQUESTS_PER_SECOND" "$SIGN_INS_PER_SECOND" "$CONNECTIONS"; do
    case "$number" in
    '' | *[!0-9]*) echo "nginx: not a number: '$number'" >&2; exit 64 ;;
    esac
done

# The engine writes down here where names are resolved; engines differ in that.
resolvers=$(sed -n \
    -e 's/^nameserver[[:space:]]*\([0-9.]\{1,\}\)[[:space:]]*$/\1/p' \
    -e 's/^nameserver[[:space:]]*\([0-9a-fA-F.]*:[0-9a-fA-F:.]*\)[[:space:]]*$/[\1]/p' /etc/resolv.conf | tr '\n' ' ')
[ -n "$resolvers" ] || { echo "nginx: /etc/resolv.conf names no server" >&2; exit 64; }
echo "resolver ${resolvers}valid=1s ipv6=off;" >/tmp/resolver.conf

# The key by which each service knows Nginx, for that service alone. The bank stands outside
# and gets none, nor does Grafana.
{
    echo "map \$service_asked \$caller_key {"
    for service in identity catalog booking worker; do
        key=$(cat "/run/secrets/nginx/${service}_key")
        echo "    $service \"$key\";"
    done
    echo "    default \"\";"
    echo "}"
    # For the check of a session, whichever service the request is for.
    key=$(cat /run/secrets/nginx/identity_key)
    echo "map \"\" \$session_check_key { default \"$key\"; }"
} >/tmp/caller-keys.conf

cat >/tmp/limits.conf <<LIMITS
limit_req_zone \$binary_remote_addr zone=requests:4m rate=${REQUESTS_PER_SECOND}r/s;
limit_req_zone \$binary_remote_addr zone=sign_ins:1m rate=${SIGN_INS_PER_SECOND}r/s;
limit_conn_zone \$binary_remote_addr zone=requests_in_flight:1m;
limit_conn requests_in_flight $(((CONNECTIONS + 1) / 2));
limit_conn_zone \$binary_remote_addr zone=dashboard_queries:1m;
LIMITS
# Connections in any state, so that half of them may be requests in flight while the
# rest are idle, or still to send one.
cat >/tmp/limit-connections.conf <<LIMITS
limit_conn_zone \$binary_remote_addr zone=connections:1m;
limit_conn connections ${CONNECTIONS};
LIMITS
# Short bursts pass, and nobody is made to wait: too much is refused at once.
echo "limit_req zone=requests burst=$((REQUESTS_PER_SECOND * 2)) nodelay;" >/tmp/limit-requests.conf
echo "limit_req zone=sign_ins burst=$((SIGN_INS_PER_SECOND * 5)) nodelay;" >/tmp/limit-sign-ins.conf

if [ "$GRAFANA" = on ]; then
    link='<a href="/grafana/">Grafana</a> shows every step of a purchase as it happens.'
else
    link='Grafana is not part of this stack: its image could not be pulled, or it was turned off. See <a href="/api/worker/status">who leads now</a>, follow <code>make logs</code>, run <code>make crowd</code> or <code>make chaos</code>, which print what they measure, or query Prometheus, which collects the same numbers:</p><pre><code>docker compose exec -T prometheus promtool query instant http://127.0.0.1:9090 "sum by (job) (up)"</code></pre><p class="soft">More queries stand in <code>docs/notes/monitoring.md</code>, and every panel has its own in <code>grafana/dashboards</code>.'
fi
sed "s|@GRAFANA@|$link|; s|@PORT@|$PORT|" /etc/boxoffice/site/index.html >/tmp/site/index.html

# A row a problem: its title, which is the first line of its page, and its meaning.
# Of a link to another page the text stays.
awk '
    BEGIN {
        while ((getline line < "/etc/boxoffice/site/problems.html") > 0) {
            if (line != "@PROBLEMS@") { print line; continue }
            for (page = 1; page < ARGC; page++) row(ARGV[page])
        }
        exit
    }
    function row(page, name, title, meaning, line) {
        name = page
        sub(/.*\//, "", name)
        sub(/\.md$/, "", name)
        while ((getline line < page) > 0) {
            if (sub(/^# /, "", line)) title = line
            else if (sub(/^- \*\*Meaning\.\*\* /, "", line)) meaning = line
        }
        close(page)
        printf "<tr><td><a href=\"/problems/%s\">%s</a></td><td>%s</td><td>%s</td></tr>\n", \
            name, name, html(title), html(meaning)
    }
    function html(text) {
        gsub(/&/, "\\&amp;", text)
        gsub(/</, "\\&lt;", text)
        gsub(/\]\([^)]*\)/, "", text)
        gsub(/[[`]/, "", text)
        return text
    }
' /etc/boxoffice/problems/*.md >/tmp/site/problems.html
cp "/etc/boxoffice/conf/grafana-$GRAFANA.conf" /tmp/grafana.conf

# Requests are logged as JSON by Nginx itself, past the script that makes JSON
# of its errors.
exec nginx -e /dev/stderr -c /etc/boxoffice/conf/nginx.conf -g 'daemon off;' >&3
