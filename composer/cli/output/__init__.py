"""What commands print: tables, Go templates, progress, quantities."""
