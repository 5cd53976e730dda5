"""What tests ask of findings."""


def value(finding, name):
    """The estimate of that name, or else the one whose name starts so."""
    exact = [e for e in finding.estimates if e.name == name]
    (found,) = exact or [e for e in finding.estimates if e.name.startswith(name)]
    return found
