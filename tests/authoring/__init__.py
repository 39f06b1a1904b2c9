"""How workflow files are read, checked and told about."""
