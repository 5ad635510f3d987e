// Snapshots, manifests and archives. No shared keys, no way in but the private endpoint.
param location string
param tags object
param suffix string
param profile string
param endpointsSubnetId string
param zoneId string
param workloadPrincipalId string
param logsId string

var production = profile == 'production'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'stow${take(suffix, 13)}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: production ? 'Standard_ZRS' : 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Disabled'
    networkAcls: { defaultAction: 'Deny', bypass: 'AzureServices' }
    encryption: {
      requireInfrastructureEncryption: true
      keySource: 'Microsoft.Storage'
      services: { blob: { enabled: true } }
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    // A restore may need what was deleted or written over by mistake.
    isVersioningEnabled: true
    deleteRetentionPolicy: { enabled: true, days: 14 }
    containerDeleteRetentionPolicy: { enabled: true, days: 14 }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: 'overworld'
  properties: { publicAccess: 'None' }
}

// Only what is not current: versions that were written over or deleted. Which objects are current is for the worker alone
// to say, since a rule that goes by age could take the newest snapshot of a shard that sleeps.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'old-versions'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['overworld/'] }
            actions: { version: { delete: { daysAfterCreationGreaterThan: 30 } } }
          }
        }
      ]
    }
  }
}

// Storage Blob Data Contributor, on this container alone.
resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: container
  name: guid(container.id, workloadPrincipalId, 'blob-data-contributor')
  properties: {
    principalId: workloadPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'deletes'
  properties: { workspaceId: logsId, logs: [{ category: 'StorageDelete', enabled: true }] }
}

module endpoint 'endpoint.bicep' = {
  params: {
    location: location
    tags: tags
    name: 'blob'
    subnetId: endpointsSubnetId
    targetId: account.id
    groupId: 'blob'
    zoneId: zoneId
  }
}

output containerUrl string = '${account.properties.primaryEndpoints.blob}${container.name}'
