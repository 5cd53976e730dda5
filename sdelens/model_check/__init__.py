"""What a model must satisfy before its states are used."""
