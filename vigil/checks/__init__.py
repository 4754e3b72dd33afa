"""What `vigil doctor` looks at: one module an area, each telling findings and what to do about them."""
