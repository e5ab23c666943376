"""Use cases: take one instance, turn marks into one report, push a delivery on."""
