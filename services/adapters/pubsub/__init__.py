"""Google Cloud Pub/Sub: publishing and pulling over raw gRPC, looking on, and the topics themselves."""
