// Images. Nodes may pull; nobody has a password.
param location string
param tags object
param suffix string
param profile string
param kubeletPrincipalId string

var production = profile == 'production'

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: 'crow${suffix}'
  location: location
  tags: tags
  sku: { name: production ? 'Premium' : 'Basic' }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    zoneRedundancy: production ? 'Enabled' : 'Disabled'
  }
}

// AcrPull.
resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, kubeletPrincipalId, 'pull')
  properties: {
    principalId: kubeletPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')
  }
}

output loginServer string = registry.properties.loginServer
