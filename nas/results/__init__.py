"""Results of a search as tables, figures, one HTML page and an exported neck.

For others: `report.write_report`, `export.export`, `summary`, `confirmed`.
"""
