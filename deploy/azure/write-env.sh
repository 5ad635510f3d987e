#!/bin/sh
# Writes what `azd provision` made into the overlay's .env, which kustomize reads. OVERLAY is dev or production.
set -eu
cd "$(dirname "$0")/../k8s/overlays/${OVERLAY:-dev}"
values=$(azd env get-values)
value() { printf '%s\n' "$values" | sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p"; }
for name in $(sed -n 's/^\([A-Z][A-Z_]*\)=.*/\1/p' .env); do
    new=$(value "$name")
    # What azd does not know (players' addresses) stays as it is.
    [ -z "$new" ] || sed -i "s|^$name=.*|$name=$new|" .env
done
