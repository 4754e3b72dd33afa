"""What Vigil remembers: schema, migrations, the store, retention. SQL stands in .sql files."""
