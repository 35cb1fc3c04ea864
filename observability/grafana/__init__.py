"""What Grafana is given: data sources, dashboards, and the code that makes the dashboards."""
