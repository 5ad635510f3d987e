#!/bin/sh
# Builds the image in the registry, so that nobody needs a container engine.
set -eu
cd "$(dirname "$0")/../.."
registry=$(azd env get-value AZURE_CONTAINER_REGISTRY_ENDPOINT)
az acr build --registry "${registry%%.*}" --image "overworld:$(git rev-parse --short=12 HEAD)" \
    --build-arg REVISION="$(git rev-parse HEAD)" .
