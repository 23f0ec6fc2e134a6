"""Files with tasks: written as CSV, and read from CSV and from exports of other systems."""
