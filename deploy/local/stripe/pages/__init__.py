"""What people see: the pay page, the portal, and the dashboard. Forms only, no JavaScript."""
