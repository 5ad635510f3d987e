#!/bin/sh
# Applies an overlay with the image that was just built. OVERLAY is dev or production.
set -eu
cd "$(dirname "$0")/../.."
deploy/azure/write-env.sh
az aks get-credentials --resource-group "$(azd env get-value AZURE_RESOURCE_GROUP)" \
    --name "$(azd env get-value AZURE_AKS_CLUSTER_NAME)" --overwrite-existing
kubelogin convert-kubeconfig -l azurecli
registry=$(azd env get-value AZURE_CONTAINER_REGISTRY_ENDPOINT)
version=$(git rev-parse --short=12 HEAD)
rendered=$(kubectl kustomize ".azure/k8s/overlays/${OVERLAY:-dev}")
printf '%s\n' "$rendered" |
    sed "s|image: .*/overworld:.*|image: $registry/overworld:$version|" |
    kubectl apply --filename -
kubectl --namespace overworld rollout status statefulset/overworld-worker --timeout 15m
kubectl --namespace overworld rollout status deployment/overworld-gateway --timeout 15m
