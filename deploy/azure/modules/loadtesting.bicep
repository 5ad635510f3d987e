// Azure Load Testing: runs loadtest/azure's Locust file against a staging deployment.
param location string
param tags object
param suffix string
param operatorsObjectId string
param operatorsType string

resource tests 'Microsoft.LoadTestService/loadTests@2022-12-01' = {
  name: 'lt-overworld-${take(suffix, 8)}'
  location: location
  tags: tags
  properties: { description: 'Load tests of Overworld' }
}

// Load Test Contributor.
resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: tests
  name: guid(tests.id, operatorsObjectId, 'load-test-contributor')
  properties: {
    principalId: operatorsObjectId
    principalType: operatorsType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '749a398d-560b-491b-bb21-08924219302e')
  }
}
