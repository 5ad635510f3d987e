using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'dev')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param profile = 'dev'
param operatorsObjectId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param operatorsType = 'User'
