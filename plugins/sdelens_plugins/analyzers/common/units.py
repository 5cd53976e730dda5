"""Units of figures and estimates."""

NATS = "nats per dimension"
