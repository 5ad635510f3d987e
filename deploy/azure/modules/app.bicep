// One replica with everything that a developer shows around: gateway, worker and Valkey are containers of one app and
// talk on 127.0.0.1. Container Apps cannot address one replica among several, so there are never two.
param location string
param tags object
param appsSubnetId string
param workloadId string
param workloadClientId string
param registryServer string
param blobUrl string
param logsName string

@description('What is built by up.sh; empty: there is no image yet, and no app.')
param image string

@secure()
param clusterKey string

resource logs 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = {
  name: logsName
}

resource environment 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: 'cae-overworld'
  location: location
  tags: tags
  properties: {
    // A network of its own: a second port from outside needs one, and storage is reached by its private endpoint.
    vnetConfiguration: { infrastructureSubnetId: appsSubnetId, internal: false }
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
  }
}

var name = 'overworld'
var host = '${name}.${environment.properties.defaultDomain}'
var shared = [
  { name: 'OVERWORLD_CLUSTER_KEY', secretRef: 'cluster-key' }
  { name: 'OVERWORLD_REDIS_URL', value: 'redis://127.0.0.1:6379/0' }
  { name: 'OVERWORLD_BLOB_URL', value: blobUrl }
  { name: 'OVERWORLD_WORLD', value: 'main' }
  { name: 'OVERWORLD_TITLE', value: 'frontier' }
  { name: 'OVERWORLD_SHARDS', value: '2x2' }
  { name: 'OVERWORLD_LOG_FORMAT', value: 'json' }
  // Which of the app's identities the Azure library asks for: the one that may write the container.
  { name: 'AZURE_CLIENT_ID', value: workloadClientId }
]

resource app 'Microsoft.App/containerApps@2025-01-01' = if (!empty(image)) {
  name: name
  location: location
  tags: tags
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${workloadId}': {} } }
  properties: {
    environmentId: environment.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      registries: [{ server: registryServer, identity: workloadId }]
      secrets: [{ name: 'cluster-key', value: clusterKey }]
      ingress: {
        // The game socket, with TLS. The pages beside it, without: a page may open a socket that is safer than itself.
        external: true
        transport: 'http'
        targetPort: 7000
        allowInsecure: false
        additionalPortMappings: [{ external: true, targetPort: 8080, exposedPort: 8080 }]
      }
    }
    template: {
      terminationGracePeriodSeconds: 90
      scale: { minReplicas: 1, maxReplicas: 1 }
      containers: [
        {
          name: 'gateway'
          image: image
          args: ['gateway']
          resources: { cpu: json('0.5'), memory: '1Gi' }
          env: concat(shared, [
            { name: 'OVERWORLD_GATEWAY_HOST', value: '0.0.0.0' }
            { name: 'OVERWORLD_GATEWAY_PORT', value: '7000' }
            { name: 'OVERWORLD_GATEWAY_HTTP_HOST', value: '0.0.0.0' }
            { name: 'OVERWORLD_GATEWAY_HTTP_PORT', value: '8080' }
            { name: 'OVERWORLD_GATEWAY_INTERNAL_HOST', value: '0.0.0.0' }
            { name: 'OVERWORLD_GATEWAY_INTERNAL_PORT', value: '9090' }
            { name: 'OVERWORLD_GATEWAY_GUEST_LOGINS', value: 'true' }
            { name: 'OVERWORLD_GATEWAY_SOCKET_URL', value: 'wss://${host}/play' }
            { name: 'OVERWORLD_GATEWAY_ORIGINS', value: 'http://${host}:8080' }
          ])
          probes: [
            { type: 'Liveness', httpGet: { path: '/livez', port: 9090 }, periodSeconds: 10, timeoutSeconds: 3 }
            { type: 'Readiness', httpGet: { path: '/readyz', port: 9090 }, periodSeconds: 5, timeoutSeconds: 2 }
          ]
        }
        {
          name: 'worker'
          image: image
          args: ['worker']
          resources: { cpu: json('1.0'), memory: '2Gi' }
          env: concat(shared, [
            { name: 'OVERWORLD_WORKER_PORT', value: '7100' }
            { name: 'OVERWORLD_WORKER_HTTP_HOST', value: '0.0.0.0' }
            { name: 'OVERWORLD_WORKER_HTTP_PORT', value: '9100' }
          ])
          probes: [
            { type: 'Liveness', httpGet: { path: '/livez', port: 9100 }, periodSeconds: 10, timeoutSeconds: 3 }
            { type: 'Readiness', httpGet: { path: '/readyz', port: 9100 }, periodSeconds: 5, timeoutSeconds: 2 }
          ]
        }
        {
          // Not Azure Managed Redis: its smallest costs more than the rest together, and here it would guard nothing, as
          // one replica is no failover. What it forgets at a restart, the newest snapshots in blob storage know.
          name: 'redis'
          image: 'docker.io/valkey/valkey:8.1-alpine'
          args: ['--bind', '127.0.0.1', '--save', '', '--maxmemory-policy', 'noeviction']
          resources: { cpu: json('0.25'), memory: '0.5Gi' }
        }
      ]
    }
  }
}

output url string = 'http://${host}:8080'
