// Where the containers of the single-replica profile log.
param location string
param tags object

resource logs 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: 'log-overworld'
  location: location
  tags: tags
  properties: { sku: { name: 'PerGB2018' }, retentionInDays: 30 }
}

output logsId string = logs.id
output name string = logs.name
