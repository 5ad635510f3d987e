// One region of Overworld: cluster, Redis, blob storage, and what watches and tests them. `azd up` deploys it
// (azure.yaml); deploy/README.md says what it costs and what has been tried.
targetScope = 'subscription'

@description('Name of the deployment: part of every resource name.')
@minLength(3)
@maxLength(12)
param environmentName string

@description('Azure region. Redis, storage and cluster are all in it: a tick waits for Redis.')
param location string

@allowed(['dev', 'production'])
param profile string = 'dev'

@description('Object id of the people or the pipeline that operate it: they may use the cluster, the dashboards and the load tests.')
param operatorsObjectId string

@allowed(['Group', 'User', 'ServicePrincipal'])
param operatorsType string = 'Group'

@description('Address ranges of the operators: they reach the Kubernetes API and Key Vault. Empty: any (dev only).')
param apiServerRanges array = []

@description('Action group that alerts tell; empty: they are only shown.')
param actionGroupId string = ''

var suffix = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName, profile: profile }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-overworld-${environmentName}'
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

module trust 'modules/trust.bicep' = {
  scope: group
  params: {
    workloadName: identity.outputs.workloadName
    kedaName: identity.outputs.kedaName
    oidcIssuer: cluster.outputs.oidcIssuer
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    operatorsObjectId: operatorsObjectId
    operatorsType: operatorsType
    readerPrincipalId: identity.outputs.kedaPrincipalId
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    metricsId: monitoring.outputs.metricsId
    actionGroupId: actionGroupId
  }
}

module registry 'modules/registry.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    profile: profile
    kubeletPrincipalId: cluster.outputs.kubeletPrincipalId
  }
}

module cluster 'modules/cluster.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    profile: profile
    nodesSubnetId: network.outputs.nodesSubnetId
    logsId: monitoring.outputs.logsId
    metricsRuleId: monitoring.outputs.metricsRuleId
    operatorsObjectId: operatorsObjectId
    operatorsType: operatorsType
    apiServerRanges: apiServerRanges
  }
}

module redis 'modules/redis.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    profile: profile
    endpointsSubnetId: network.outputs.endpointsSubnetId
    zoneId: network.outputs.redisZoneId
    workloadPrincipalId: identity.outputs.workloadPrincipalId
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    profile: profile
    endpointsSubnetId: network.outputs.endpointsSubnetId
    zoneId: network.outputs.blobZoneId
    workloadPrincipalId: identity.outputs.workloadPrincipalId
    logsId: monitoring.outputs.logsId
  }
}

module vault 'modules/vault.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    endpointsSubnetId: network.outputs.endpointsSubnetId
    zoneId: network.outputs.vaultZoneId
    workloadPrincipalId: identity.outputs.workloadPrincipalId
    operatorsObjectId: operatorsObjectId
    operatorsType: operatorsType
    operatorsRanges: apiServerRanges
    logsId: monitoring.outputs.logsId
  }
}

module loadTesting 'modules/loadtesting.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    operatorsObjectId: operatorsObjectId
    operatorsType: operatorsType
  }
}

// What deploy/azure/*.sh ask azd for; write-env.sh fills a copy of the overlay's .env with them.
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_AKS_CLUSTER_NAME string = cluster.outputs.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.loginServer
output AZURE_WORKLOAD_CLIENT_ID string = identity.outputs.workloadClientId
output AZURE_WORKLOAD_OBJECT_ID string = identity.outputs.workloadPrincipalId
output AZURE_KEDA_CLIENT_ID string = identity.outputs.kedaClientId
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output AZURE_PROMETHEUS_ENDPOINT string = monitoring.outputs.queryEndpoint
output AZURE_GRAFANA_NAME string = monitoring.outputs.grafanaName
output OVERWORLD_REDIS_URL string = redis.outputs.url
output OVERWORLD_BLOB_URL string = storage.outputs.containerUrl
