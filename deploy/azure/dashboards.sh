#!/bin/sh
# Brings deploy/grafana into the deployment's Grafana, over what is there by the same uid: dashboards are changed in
# tools/dashboards.py, not by hand. Needs az with its extension amg, and the role Grafana Admin (operators have it).
set -eu
cd "$(dirname "$0")/../grafana"
group=$(azd env get-value AZURE_RESOURCE_GROUP)
grafana=$(azd env get-value AZURE_GRAFANA_NAME)
for board in *.json; do
    az grafana dashboard create --resource-group "$group" --name "$grafana" --definition "@$board" --overwrite true \
        --only-show-errors --output none
    echo "dashboards: ${board%.json} is in $grafana"
done
