"""The technologies behind the ports: one folder for each technology, one file for each port."""
