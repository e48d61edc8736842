"""OTHER PEOPLE'S FILES: GeoJSON outlines, heatmap pictures, tables of tiles."""
