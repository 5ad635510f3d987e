// Kubernetes vouches for the pods, and Entra ID believes the cluster's issuer.
param workloadName string
param kedaName string
param oidcIssuer string

resource workload 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: workloadName
}

resource keda 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: kedaName
}

var accounts = ['overworld-gateway', 'overworld-worker']

// One at a time: Entra ID refuses two changes of an identity at once.
@batchSize(1)
resource trust 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = [for account in accounts: {
  parent: workload
  name: account
  properties: {
    issuer: oidcIssuer
    subject: 'system:serviceaccount:overworld:${account}'
    audiences: ['api://AzureADTokenExchange']
  }
}]

resource kedaTrust 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {
  parent: keda
  name: 'keda-operator'
  properties: {
    issuer: oidcIssuer
    subject: 'system:serviceaccount:kube-system:keda-operator'
    audiences: ['api://AzureADTokenExchange']
  }
}
