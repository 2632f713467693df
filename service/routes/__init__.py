"""The service's views, one blueprint a file."""
