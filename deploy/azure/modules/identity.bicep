// Who the pods are. They have no secret: see trust.bicep.
param location string
param tags object

resource workload 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-overworld-workload'
  location: location
  tags: tags
}

resource keda 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-overworld-keda'
  location: location
  tags: tags
}

output workloadPrincipalId string = workload.properties.principalId
output workloadClientId string = workload.properties.clientId
output kedaPrincipalId string = keda.properties.principalId
output kedaClientId string = keda.properties.clientId
output workloadName string = workload.name
output kedaName string = keda.name
output workloadId string = workload.id
