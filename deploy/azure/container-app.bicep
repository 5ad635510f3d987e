// The profile for development: one app with one replica, storage and a registry. No cluster, no Managed Redis, no Key
// Vault. deploy/azure/up.sh deploys it; deploy/README.md says what it cannot do.
targetScope = 'subscription'

@minLength(3)
@maxLength(12)
param environmentName string
param location string

@description('Name of the image in the registry that this makes; empty until there is one.')
param image string = ''

@description('New at every deployment: whoever plays logs in anew.')
@secure()
param clusterKey string

var suffix = toLower(uniqueString(subscription().id, environmentName, location, 'app'))
var tags = { environment: environmentName, profile: 'container-app' }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-overworld-app-${environmentName}'
  location: location
  tags: tags
}

module network 'modules/network.bicep' = {
  scope: group
  params: { location: location, tags: tags }
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: { location: location, tags: tags }
}

module logs 'modules/logs.bicep' = {
  scope: group
  params: { location: location, tags: tags }
}

module registry 'modules/registry.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    profile: 'dev'
    kubeletPrincipalId: identity.outputs.workloadPrincipalId
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    profile: 'dev'
    endpointsSubnetId: network.outputs.endpointsSubnetId
    zoneId: network.outputs.blobZoneId
    workloadPrincipalId: identity.outputs.workloadPrincipalId
    logsId: logs.outputs.logsId
  }
}

module app 'modules/app.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    appsSubnetId: network.outputs.appsSubnetId
    workloadId: identity.outputs.workloadId
    workloadClientId: identity.outputs.workloadClientId
    registryServer: registry.outputs.loginServer
    blobUrl: storage.outputs.containerUrl
    logsName: logs.outputs.name
    image: image
    clusterKey: clusterKey
  }
}

output REGISTRY string = registry.outputs.loginServer
output URL string = app.outputs.url
