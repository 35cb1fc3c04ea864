"""Dashboards as code: `python -m observability.grafana.generate` generates them."""
