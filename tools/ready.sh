#!/bin/sh
# Starts an image with Docker as a cluster would (its own user, nothing that can be written but /tmp, no privileges), a
# worker and a gateway beside a Redis, and asks both for /readyz: ready.sh IMAGE [REDIS_IMAGE].   (CI's image job)
set -eu
image=$1
redis=${2:-valkey/valkey:8.1-alpine}
scratch=/tmp
started=
network=overworld-ready-$$

end() {
    code=$?
    for name in $started; do
        [ "$code" = 0 ] || docker logs --tail 30 "$name" >&2 || true
        docker rm --force "$name" >/dev/null || true
    done
    docker network rm "$network" >/dev/null || true
    exit "$code"
}
docker network create "$network" >/dev/null
trap end EXIT

run() { # NAME ARGUMENT...: a container named so in the network.
    name=$1-$$
    shift
    docker run --detach --name "$name" --network "$network" --read-only --cap-drop ALL \
        --security-opt no-new-privileges "$@" >/dev/null
    started="$started $name"
}

key=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
run redis --user 999:999 --tmpfs /data:mode=1777 "$redis" --save ''
for role in worker gateway; do
    run "$role" --tmpfs "$scratch:size=64m,mode=1777" --env OVERWORLD_CLUSTER_KEY="$key" \
        --env OVERWORLD_REDIS_URL="redis://redis-$$:6379/0" --env OVERWORLD_BLOB_URL="dir:$scratch/blobs" \
        --env OVERWORLD_TITLE=frontier --env OVERWORLD_WORKER_HTTP_PORT=9100 \
        --env OVERWORLD_GATEWAY_INTERNAL_PORT=9100 "$image" "$role"
done
for role in worker gateway; do
    tries=0
    until answer=$(docker exec "$role-$$" python -c \
        'import urllib.request as r; print(r.urlopen("http://127.0.0.1:9100/readyz", timeout=2).read().decode())'); do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { echo "ready: $role did not get ready" >&2; exit 1; }
        sleep 1
    done
    echo "$role: $answer"
done
for role in worker gateway; do
    docker stop --time 60 "$role-$$" >/dev/null
    code=$(docker inspect --format '{{.State.ExitCode}}' "$role-$$")
    [ "$code" = 0 ] || { echo "ready: SIGTERM ended $role with $code" >&2; exit 1; }
done
