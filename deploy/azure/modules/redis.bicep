// Azure Managed Redis: who owns which shard, journals, outboxes. TLS only, tokens of Entra ID only, nothing is evicted.
param location string
param tags object
param suffix string
param profile string
param endpointsSubnetId string
param zoneId string
param workloadPrincipalId string

var production = profile == 'production'

resource redis 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: 'redis-overworld-${suffix}'
  location: location
  tags: tags
  // No zones: Azure spreads the two nodes of a Managed Redis by itself, and takes none for these sizes.
  sku: { name: production ? 'ComputeOptimized_X5' : 'Balanced_B1' }
  properties: {
    minimumTlsVersion: '1.2'
    // Two nodes: commit level 2 waits for the other one before anybody is shown a tick.
    highAvailability: 'Enabled'
    publicNetworkAccess: 'Disabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: redis
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    // One endpoint; OSSCluster works too, with OVERWORLD_REDIS_CLUSTER=true.
    clusteringPolicy: 'EnterpriseCluster'
    // An evicted head or journal is a lost world. The default (VolatileLRU) would not take keys without a lifetime; this says so.
    evictionPolicy: 'NoEviction'
    accessKeysAuthentication: 'Disabled'
    persistence: { aofEnabled: true, aofFrequency: '1s' }
  }
}

resource access 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = {
  parent: database
  name: 'overworld'
  properties: { accessPolicyName: 'default', user: { objectId: workloadPrincipalId } }
}

module endpoint 'endpoint.bicep' = {
  params: {
    location: location
    tags: tags
    name: 'redis'
    subnetId: endpointsSubnetId
    targetId: redis.id
    groupId: 'redisEnterprise'
    zoneId: zoneId
  }
}

output url string = 'rediss://${redis.properties.hostName}:10000/0'
