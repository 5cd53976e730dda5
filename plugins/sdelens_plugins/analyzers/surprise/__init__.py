"""Out-of-distribution detection from the surprise of states under the fit."""
