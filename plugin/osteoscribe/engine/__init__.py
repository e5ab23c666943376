"""The durable workflow of one job."""
