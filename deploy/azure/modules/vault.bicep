// The cluster key and the admin token. Roles, not access policies; deleted secrets can be had back.
param location string
param tags object
param suffix string
param endpointsSubnetId string
param zoneId string
param workloadPrincipalId string
param operatorsObjectId string
param operatorsType string
param logsId string

@description('Address ranges that operators put secrets in from. Empty: any (dev only); roles decide in either case.')
param operatorsRanges array

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: 'kv-ow-${take(suffix, 13)}'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 90
    // Operators put secrets in from where they are, by their own identity; pods come by the private endpoint.
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      defaultAction: empty(operatorsRanges) ? 'Allow' : 'Deny'
      bypass: 'AzureServices'
      ipRules: [for range in operatorsRanges: { value: range }]
    }
  }
}

// Key Vault Secrets User: may read secrets.
resource pods 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, workloadPrincipalId, 'secrets-user')
  properties: {
    principalId: workloadPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
  }
}

// Key Vault Secrets Officer: may write them.
resource people 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, operatorsObjectId, 'secrets-officer')
  properties: {
    principalId: operatorsObjectId
    principalType: operatorsType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: { workspaceId: logsId, logs: [{ categoryGroup: 'audit', enabled: true }] }
}

module endpoint 'endpoint.bicep' = {
  params: {
    location: location
    tags: tags
    name: 'vault'
    subnetId: endpointsSubnetId
    targetId: vault.id
    groupId: 'vault'
    zoneId: zoneId
  }
}

output name string = vault.name
