"""Object stores as the file system sees them, one module an implementation."""
