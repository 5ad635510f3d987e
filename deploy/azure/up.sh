#!/bin/sh
# The single-replica profile for development, in one command: up.sh NAME LOCATION. Needs az, logged in. Again with the
# same name: the newest commit's image. Away with it: az group delete --name rg-overworld-app-NAME
set -eu
name=${1:?"usage: up.sh NAME LOCATION"}
location=${2:?"usage: up.sh NAME LOCATION"}
cd "$(dirname "$0")/../.."
version=$(git rev-parse --short=12 HEAD)

deployed() { # OUTPUT PARAMETER...: deploys, and prints one output.
    output=$1
    shift
    az deployment sub create --name "overworld-app-$name" --location "$location" \
        --template-file deploy/azure/container-app.bicep --only-show-errors \
        --parameters environmentName="$name" location="$location" clusterKey="$(openssl rand -hex 32)" "$@" \
        --query "properties.outputs.$output.value" --output tsv
}

# Twice: the registry is there before its first image, and the app is not there without one. What runs goes on meanwhile.
registry=$(deployed REGISTRY)
az acr build --registry "${registry%%.*}" --image "overworld:$version" --build-arg REVISION="$(git rev-parse HEAD)" .
deployed URL image="$registry/overworld:$version"
