"""What `make check-deploy` runs: deploy/ and the Dockerfile against schemas and against the code, on no cloud."""
