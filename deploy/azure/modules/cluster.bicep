// Kubernetes: a pool for the system, one for gateways, one for workers.
param location string
param tags object
param profile string
param nodesSubnetId string
param logsId string
param metricsRuleId string
param operatorsObjectId string
param operatorsType string
param apiServerRanges array

var production = profile == 'production'
var zones = production ? ['1', '2', '3'] : []

resource cluster 'Microsoft.ContainerService/managedClusters@2025-05-01' = {
  name: 'aks-overworld'
  location: location
  tags: tags
  sku: { name: 'Base', tier: production ? 'Standard' : 'Free' }
  identity: { type: 'SystemAssigned' }
  properties: {
    dnsPrefix: 'overworld'
    disableLocalAccounts: true
    enableRBAC: true
    aadProfile: { managed: true, enableAzureRBAC: true }
    oidcIssuerProfile: { enabled: true }
    securityProfile: {
      workloadIdentity: { enabled: true }
      imageCleaner: { enabled: true, intervalHours: 48 }
    }
    workloadAutoScalerProfile: { keda: { enabled: true } }
    apiServerAccessProfile: { authorizedIPRanges: apiServerRanges }
    autoUpgradeProfile: { upgradeChannel: 'patch', nodeOSUpgradeChannel: 'NodeImage' }
    networkProfile: {
      networkPlugin: 'azure'
      networkPluginMode: 'overlay'
      networkDataplane: 'cilium'
      networkPolicy: 'cilium'
      loadBalancerSku: 'standard'
      podCidr: '192.168.0.0/16'
      serviceCidr: '10.41.0.0/16'
      dnsServiceIP: '10.41.0.10'
    }
    addonProfiles: {
      azureKeyvaultSecretsProvider: { enabled: true, config: { enableSecretRotation: 'true', rotationPollInterval: '2m' } }
      azurepolicy: { enabled: true }
      omsagent: { enabled: true, config: { logAnalyticsWorkspaceResourceID: logsId, useAADAuth: 'true' } }
    }
    azureMonitorProfile: { metrics: { enabled: true } }
    agentPoolProfiles: [
      {
        name: 'system'
        mode: 'System'
        vmSize: production ? 'Standard_D2ds_v5' : 'Standard_B2ms'
        count: production ? 3 : 1
        availabilityZones: zones
        osType: 'Linux'
        osSKU: 'AzureLinux'
        osDiskType: production ? 'Ephemeral' : 'Managed'
        vnetSubnetID: nodesSubnetId
        nodeTaints: ['CriticalAddonsOnly=true:NoSchedule']
        upgradeSettings: { maxSurge: '1' }
      }
    ]
  }
}

// A gateway and a worker are one event loop each: many small nodes lose less than a few large ones.
resource gateways 'Microsoft.ContainerService/managedClusters/agentPools@2025-05-01' = {
  parent: cluster
  name: 'gateways'
  properties: {
    mode: 'User'
    vmSize: 'Standard_F4s_v2'
    enableAutoScaling: true
    minCount: production ? 3 : 1
    maxCount: production ? 12 : 3
    availabilityZones: zones
    osType: 'Linux'
    osSKU: 'AzureLinux'
    vnetSubnetID: nodesSubnetId
    nodeLabels: { 'overworld/pool': 'gateways' }
    nodeTaints: ['overworld/pool=gateways:NoSchedule']
    // A node is drained for as long as a gateway says goodbye to its players.
    upgradeSettings: { maxSurge: '1', drainTimeoutInMinutes: 10 }
  }
}

resource workers 'Microsoft.ContainerService/managedClusters/agentPools@2025-05-01' = {
  parent: cluster
  name: 'workers'
  properties: {
    mode: 'User'
    vmSize: 'Standard_F4s_v2'
    enableAutoScaling: true
    minCount: production ? 3 : 1
    maxCount: production ? 12 : 3
    availabilityZones: zones
    osType: 'Linux'
    osSKU: 'AzureLinux'
    vnetSubnetID: nodesSubnetId
    nodeLabels: { 'overworld/pool': 'workers' }
    nodeTaints: ['overworld/pool=workers:NoSchedule']
    // One at a time: with one standby a shard survives one worker.
    upgradeSettings: { maxSurge: '1', drainTimeoutInMinutes: 10 }
  }
}

resource scraping 'Microsoft.Insights/dataCollectionRuleAssociations@2023-03-11' = {
  scope: cluster
  name: 'overworld-metrics'
  properties: { dataCollectionRuleId: metricsRuleId }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: cluster
  name: 'audit'
  properties: {
    workspaceId: logsId
    logs: [{ category: 'kube-audit-admin', enabled: true }, { category: 'guard', enabled: true }]
  }
}

// Azure Kubernetes Service RBAC Cluster Admin: within this cluster, nothing outside of it.
resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: cluster
  name: guid(cluster.id, operatorsObjectId, 'cluster-admin')
  properties: {
    principalId: operatorsObjectId
    principalType: operatorsType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b')
  }
}

output name string = cluster.name
output oidcIssuer string = cluster.properties.oidcIssuerProfile.issuerURL
output kubeletPrincipalId string = cluster.properties.identityProfile.kubeletidentity.objectId
