"""Metrics of recording for Prometheus and OpenTelemetry, and answers to health probes."""
