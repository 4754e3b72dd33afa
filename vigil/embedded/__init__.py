"""A broker and a database to try Vigil and to test it with, as child processes; not a place to keep data in."""
