#!/usr/bin/env bash
# A token for Prometheus, and the router's file that knows it, in secrets/ beside this; what is there stays.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ ! -e secrets/http.tokens ] || exit 0
token=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
printf '%s' "$token" >secrets/prometheus.token
echo "prometheus read $token" >secrets/http.tokens
# Each is read by the user of one container: 10001 the router, 65534 Prometheus.
chown 65534 secrets/prometheus.token && chown 10001 secrets/http.tokens || {
    echo "run this as root: the containers have to read the files, and nobody else may" >&2
    rm -r secrets
    exit 1
}
