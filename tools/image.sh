#!/bin/sh
# Builds the Dockerfile without a container engine's daemon: image.sh [IMAGE].   (`make image`; as root, on Debian)
#
# Where PYTHON_IMAGE names an image that can be pulled, that is the base. Otherwise the base is made here, by mmdebstrap
# from Debian's packages: the same Dockerfile, on Debian's own Python. Prints the image's name as its last line.
set -eu
cd "$(dirname "$0")/.."
image=${1:-localhost/overworld:local}
base=${PYTHON_IMAGE:-localhost/overworld-python:local}
export BUILDAH_ISOLATION=chroot

say() { printf 'image: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

[ "$(id -u)" = 0 ] || fail "must be root, for Debian's packages and for chroot"
missing=
for program in buildah mmdebstrap; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
    say "installing Debian's$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get update && apt-get install -y --no-install-recommends $missing; } >.venv.apt.log 2>&1 \
        || { tail -n 5 .venv.apt.log >&2; fail "could not install$missing"; }
    rm -f .venv.apt.log
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ -z "${PYTHON_IMAGE:-}" ] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    # shellcheck disable=SC1091
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    say "making a base of Debian $suite's packages"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv,python-is-python3 \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$folder/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/base.tar" / >/dev/null
    buildah commit --quiet --rm "$container" "$base" >/dev/null
fi

# What pip needs to trust is this machine's own affair, and stays out of the image.
authorities=/etc/ssl/certs/ca-certificates.crt
printf '[global]\ncert = %s\n' "$authorities" > "$folder/pip.conf"

say "building $image on $base"
# Docker's format: OCI's has no place for a HEALTHCHECK.
buildah build --quiet --format docker --network host \
    --volume "$authorities:$authorities:ro" --volume "$folder/pip.conf:/etc/pip.conf:ro" \
    --build-arg PYTHON_IMAGE="$base" --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --tag "$image" . >&2
echo "$image"
