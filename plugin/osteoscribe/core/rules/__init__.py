"""The management rules: a table as data, proved complete, decided first match wins."""
