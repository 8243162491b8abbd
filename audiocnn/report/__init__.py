"""All pictures and pages."""
