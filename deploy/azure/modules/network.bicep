// The cluster's network, and the private names of what it talks to.
param location string
param tags object

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: 'vnet-overworld'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.40.0.0/16'] }
    subnets: [
      { name: 'nodes', properties: { addressPrefix: '10.40.0.0/21' } }
      {
        name: 'endpoints'
        // deploy/k8s/azure/network.yaml lets pods out to this range and to no other of the network.
        properties: { addressPrefix: '10.40.8.0/24', privateEndpointNetworkPolicies: 'Enabled' }
      }
      {
        name: 'apps'
        // For container-app.bicep alone.
        properties: {
          addressPrefix: '10.40.9.0/24'
          delegations: [{ name: 'apps', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
    ]
  }
}

var zones = [
  'privatelink.redis.azure.net'
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink${environment().suffixes.keyvaultDns}'
]

resource dns 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zones: {
  name: replace(zone, 'vault', 'vaultcore')
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, i) in zones: {
  parent: dns[i]
  name: 'overworld'
  location: 'global'
  properties: { registrationEnabled: false, virtualNetwork: { id: network.id } }
}]

output nodesSubnetId string = network.properties.subnets[0].id
output endpointsSubnetId string = network.properties.subnets[1].id
output appsSubnetId string = network.properties.subnets[2].id
output redisZoneId string = dns[0].id
output blobZoneId string = dns[1].id
output vaultZoneId string = dns[2].id
