// Metrics in Azure Monitor's Prometheus, dashboards in Grafana, logs in Log Analytics.
param location string
param tags object
param suffix string
param operatorsObjectId string
param operatorsType string

@description('Who scales by metrics (KEDA).')
param readerPrincipalId string

resource logs 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: 'log-overworld'
  location: location
  tags: tags
  properties: { sku: { name: 'PerGB2018' }, retentionInDays: 30, features: { disableLocalAuth: true } }
}

resource metrics 'Microsoft.Monitor/accounts@2023-04-03' = {
  name: 'amw-overworld'
  location: location
  tags: tags
}

resource intake 'Microsoft.Insights/dataCollectionEndpoints@2023-03-11' = {
  name: 'dce-overworld'
  location: location
  tags: tags
  kind: 'Linux'
  properties: { networkAcls: { publicNetworkAccess: 'Enabled' } }
}

resource rule 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: 'dcr-overworld'
  location: location
  tags: tags
  kind: 'Linux'
  properties: {
    dataCollectionEndpointId: intake.id
    dataSources: { prometheusForwarder: [{ name: 'prometheus', streams: ['Microsoft-PrometheusMetrics'] }] }
    destinations: { monitoringAccounts: [{ name: 'workspace', accountResourceId: metrics.id }] }
    dataFlows: [{ streams: ['Microsoft-PrometheusMetrics'], destinations: ['workspace'] }]
  }
}

resource grafana 'Microsoft.Dashboard/grafana@2024-10-01' = {
  name: 'graf-ow-${take(suffix, 13)}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  identity: { type: 'SystemAssigned' }
  properties: {
    apiKey: 'Disabled'
    grafanaIntegrations: { azureMonitorWorkspaceIntegrations: [{ azureMonitorWorkspaceResourceId: metrics.id }] }
  }
}

var monitoringDataReader = 'b0d8363b-8ddd-447d-831f-62ca05bff136'
var readers = [grafana.identity.principalId, readerPrincipalId]

resource reading 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, i) in ['grafana', 'keda']: {
  scope: metrics
  name: guid(metrics.id, name, 'data-reader')
  properties: {
    principalId: readers[i]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringDataReader)
  }
}]

// Grafana Admin: operators bring the dashboards in (deploy/README.md).
resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: grafana
  name: guid(grafana.id, operatorsObjectId, 'admin')
  properties: {
    principalId: operatorsObjectId
    principalType: operatorsType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '22926164-76b3-42b3-bc55-97df8dab3e41')
  }
}

output logsId string = logs.id
output metricsId string = metrics.id
output grafanaName string = grafana.name
output metricsRuleId string = rule.id
output queryEndpoint string = metrics.properties.metrics.prometheusQueryEndpoint
