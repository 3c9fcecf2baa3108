#!/bin/sh
# Writes what depends on the environment, then becomes Nginx.
set -eu

mkdir -p /tmp/site
for number in "$PORT" "$REQUESTS_PER_SECOND" "$SIGN_INS_PER_SECOND" "$CONNECTIONS"; do
    case "$number" in
    '' | *[!0-9]*) echo "nginx: not a number: '$number'" >&2; exit 64 ;;
    esac
done

cat >/tmp/limits.conf <<LIMITS
limit_req_zone \$binary_remote_addr zone=requests:4m rate=${REQUESTS_PER_SECOND}r/s;
limit_req_zone \$binary_remote_addr zone=sign_ins:1m rate=${SIGN_INS_PER_SECOND}r/s;
limit_conn_zone \$binary_remote_addr zone=connections:1m;
limit_conn connections ${CONNECTIONS};
LIMITS
# Short bursts pass, and nobody is made to wait: too much is refused at once.
echo "limit_req zone=requests burst=$((REQUESTS_PER_SECOND * 2)) nodelay;" >/tmp/limit-requests.conf
echo "limit_req zone=sign_ins burst=$((SIGN_INS_PER_SECOND * 5)) nodelay;" >/tmp/limit-sign-ins.conf

if [ "$GRAFANA" = on ]; then
    link='<a href="/grafana/">Grafana</a> shows every step of a purchase as it happens.'
else
    link='Grafana was left out: its image could not be pulled on this machine. Prometheus collects the same numbers all the same.'
fi
sed "s|@GRAFANA@|$link|; s|@PORT@|$PORT|" /etc/boxoffice/site/index.html >/tmp/site/index.html
cp "/etc/boxoffice/conf/grafana-$GRAFANA.conf" /tmp/grafana.conf

# Requests are logged as JSON by Nginx itself, past the script that makes JSON
# of its errors.
exec nginx -e /dev/stderr -c /etc/boxoffice/conf/nginx.conf -g 'daemon off;' >&3
