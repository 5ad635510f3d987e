"""The admin HTTP API, served on the internal port of every worker and gateway: `tokens` says who may, `api` is the HTTP
of it, `cluster` finds the process that can do what is asked.
"""
