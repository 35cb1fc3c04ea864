"""Dashboards as code: `python -m observability.grafana.generate` writes them anew."""
