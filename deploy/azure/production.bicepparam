using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'production')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param profile = 'production'
param operatorsObjectId = readEnvironmentVariable('AZURE_OPERATORS_GROUP_ID', '')
param apiServerRanges = split(readEnvironmentVariable('AZURE_OPERATORS_RANGES', '203.0.113.0/24'), ',')
param actionGroupId = readEnvironmentVariable('AZURE_ACTION_GROUP_ID', '')
