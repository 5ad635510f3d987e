#!/bin/sh
# Copies deploy/k8s to .azure/k8s, which git does not know, with the overlay's .env filled from what azd knows: what
# `azd provision` made, and what `azd env set` was told. OVERLAY is dev or production. Nothing tracked is edited.
set -eu
cd "$(dirname "$0")/../.."
overlay=${OVERLAY:-dev}
values=$(azd env get-values)
target=.azure/k8s
rm -rf "$target"
mkdir -p .azure
cp -R deploy/k8s "$target"

missing=
{
    echo "# Written by deploy/azure/write-env.sh."
    while IFS='=' read -r name placeholder; do
        case $name in '' | '#'*) continue ;; esac
        value=$(printf '%s\n' "$values" | sed -n "s/^$name=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p")
        if [ -z "$value" ]; then
            value=$placeholder
            missing="$missing $name"
        fi
        printf '%s=%s\n' "$name" "$value"
    done < "deploy/k8s/overlays/$overlay/.env"
} > "$target/overlays/$overlay/.env"

for name in $missing; do
    case $name in
    OVERWORLD_GATEWAY_*) echo "write-env: $name is a placeholder still: azd env set $name ..." >&2 ;;
    *)
        echo "write-env: azd knows no $name: has 'azd provision' been run?" >&2
        exit 1
        ;;
    esac
done
